//! The affine map.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use multimae_kernels::ops;

use super::parameter;

/// `y = x W^T + b`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `(outputs, inputs)`.
    pub weight: Param<Tensor<2>>,
    /// `(outputs)`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A layer with bias, of zeros.
    #[must_use]
    pub fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        Self {
            weight: parameter([outputs, inputs], device),
            bias: Some(parameter([outputs], device)),
        }
    }

    /// The same without bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: None, ..self }
    }

    /// Applies the layer to the last axis.
    ///
    /// # Shapes
    /// `(..., inputs)` to `(..., outputs)`.
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::linear(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }
}
