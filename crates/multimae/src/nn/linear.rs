//! The affine map.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use multimae_kernels::ops;

use super::{LayerNorm, Lora, LoraConfig, Rows, ScaleShift, parameter};

/// `y = x W^T + b`, with what tuning may add to it.
#[derive(Module, Debug)]
pub struct Linear {
    /// `(outputs, inputs)`.
    pub weight: Param<Tensor<2>>,
    /// `(outputs)`.
    pub bias: Option<Param<Tensor<1>>>,
    /// A low-rank update, added to the output.
    pub lora: Option<Lora>,
    /// Scale and shift of the output.
    pub ssf: Option<ScaleShift>,
}

impl Linear {
    /// A layer with bias, of zeros.
    #[must_use]
    pub fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        Self {
            weight: parameter([outputs, inputs], device),
            bias: Some(parameter([outputs], device)),
            lora: None,
            ssf: None,
        }
    }

    /// The same without bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: None, ..self }
    }

    /// The same with low-rank adaptation.
    #[must_use]
    pub fn with_lora(self, config: &LoraConfig, device: &Device) -> Self {
        Self { lora: Some(Lora::new(self.weight.dims(), config, device)), ..self }
    }

    /// The same with scale and shift.
    #[must_use]
    pub fn with_ssf(self, device: &Device) -> Self {
        let [outputs, _] = self.weight.dims();
        Self { ssf: Some(ScaleShift::new(outputs, device)), ..self }
    }

    /// Applies the layer to the last axis.
    ///
    /// # Shapes
    /// `(..., inputs)` to `(..., outputs)`.
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(Param::val);
        let change = self.lora.as_ref().map(|lora| lora.forward(x.clone()));
        let Some(ssf) = &self.ssf else {
            return added(ops::linear(x, self.weight.val(), bias), change);
        };
        let y = added(ops::linear(x, self.weight.val(), None), change);
        ops::scale_shift(y, ssf.scale.val(), ssf.bias(bias))
    }

    /// [`Self::forward`] of the exact GELU of `x`.
    ///
    /// # Shapes
    /// `(..., inputs)` to `(..., outputs)`.
    #[must_use]
    pub fn forward_gelu<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self.without_additions() {
            Some((weight, bias)) => ops::gelu_linear(x, weight, bias),
            None => self.forward(ops::gelu(x)),
        }
    }

    /// [`Self::forward`] behind a norm.
    ///
    /// # Shapes
    /// `(..., inputs)` to `(..., outputs)`.
    #[must_use]
    pub fn forward_normed<const D: usize>(&self, norm: &LayerNorm, x: Tensor<D>) -> Tensor<D> {
        match self.without_additions() {
            Some((weight, bias)) => ops::norm_linear(x, norm.affine(), weight, bias),
            None => self.forward(norm.forward(x)),
        }
    }

    /// `second(gelu(first(norm(x))))` with the exact GELU.
    ///
    /// # Shapes
    /// `(..., inputs)` to `(..., outputs)`.
    #[must_use]
    pub fn norm_mlp<const D: usize>(
        norm: &LayerNorm,
        (first, second): (&Self, &Self),
        x: Tensor<D>,
    ) -> Tensor<D> {
        match (first.without_additions(), second.without_additions()) {
            (Some(first), Some(second)) => ops::norm_mlp(x, norm.affine(), first, second),
            _ => second.forward_gelu(first.forward_normed(norm, x)),
        }
    }

    /// Weight and bias, if they are all that there is.
    fn without_additions(&self) -> Option<(Tensor<2>, Tensor<1>)> {
        let bias = self.bias.as_ref().filter(|_| self.lora.is_none() && self.ssf.is_none())?;
        Some((self.weight.val(), bias.val()))
    }

    /// Applies layers that have one weight and bias, each with its own additions, to their own rows:
    /// one product for all.
    ///
    /// # Shapes
    /// Rows of `inputs` to rows of `outputs`, as many parts as layers.
    pub(super) fn forward_batched(layers: &[&Self], x: &Rows) -> Rows {
        let Some(first) = layers.first() else { return x.clone() };
        let bias = first.bias.as_ref().map(Param::val);
        let y = x.map(|rows| ops::linear(rows, first.weight.val(), bias));
        if layers.iter().all(|layer| layer.lora.is_none() && layer.ssf.is_none()) {
            return y;
        }
        let parts = layers.iter().zip(x.parts()).zip(y.parts());
        Rows::of(parts.map(|((layer, x), y)| layer.added_to(y, x)).collect())
    }

    /// Returns the output for `x`, from the output of its weight and bias.
    fn added_to(&self, y: Tensor<3>, x: Tensor<3>) -> Tensor<3> {
        let y = added(y, self.lora.as_ref().map(|lora| lora.forward(x)));
        match &self.ssf {
            Some(ssf) => ops::scale_shift(y, ssf.scale.val(), ssf.shift.val()),
            None => y,
        }
    }

    /// The same map without additions: they are in its weight and bias.
    #[must_use]
    pub fn merged(self) -> Self {
        let Self { mut weight, mut bias, lora, ssf } = self;
        if let Some(lora) = lora {
            weight = changed(weight, |weight| weight + lora.weight());
        }
        if let Some(ssf) = ssf {
            let [outputs] = ssf.scale.dims();
            weight = changed(weight, |weight| weight * ssf.scale.val().reshape([outputs, 1]));
            bias = Some(match bias {
                Some(bias) => changed(bias, |bias| ssf.bias(Some(bias))),
                None => Param::from_tensor(ssf.shift.val()),
            });
        }
        Self { weight, bias, lora: None, ssf: None }
    }
}

fn added<const D: usize>(y: Tensor<D>, change: Option<Tensor<D>>) -> Tensor<D> {
    match change {
        Some(change) => y + change,
        None => y,
    }
}

/// A parameter with another value.
pub(super) fn changed<const D: usize>(
    parameter: Param<Tensor<D>>,
    change: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Param<Tensor<D>> {
    Param::from_tensor(change(parameter.val()))
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::state::update;

    fn values<const D: usize>(dims: [usize; D], seed: f32) -> Tensor<D> {
        let count: usize = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|i| ((i as f32 + seed) * 1.3).sin()).collect();
        Tensor::from_data(TensorData::new(values, dims), &Device::default())
    }

    fn close<const D: usize>(a: Tensor<D>, b: Tensor<D>) {
        let difference: f32 = (a - b).abs().max().into_data().iter::<f32>().sum();
        assert!(difference < 1e-5, "{difference}");
    }

    #[test]
    fn merging_keeps_the_map() {
        let device = Device::default();
        let config = LoraConfig { rank: 2, alpha: Some(3.0), targets: Vec::new() };
        for bias in [true, false] {
            let layer = Linear::new(5, 4, &device).with_lora(&config, &device).with_ssf(&device);
            let layer = if bias { layer } else { layer.without_bias() };
            let mut seed = 0.0;
            let layer = update(layer, |_, value| {
                seed += 10.0;
                Some(values(value.dims(), seed))
            });
            let x = values([2, 3, 5], 0.7);
            let y = layer.forward(x.clone());
            let merged = layer.clone().merged();
            assert!(merged.lora.is_none() && merged.ssf.is_none());
            close(merged.forward(x.clone()), y.clone());
            // Each addition changes something.
            for part in ["lora", "ssf"] {
                let without = match part {
                    "lora" => Linear { lora: None, ..layer.clone() },
                    _ => Linear { ssf: None, ..layer.clone() },
                };
                let difference: f32 = (without.forward(x.clone()) - y.clone())
                    .abs()
                    .max()
                    .into_data()
                    .iter::<f32>()
                    .sum();
                assert!(difference > 1e-2, "{part}");
            }
        }
    }
}
