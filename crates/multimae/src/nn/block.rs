//! The pre-norm transformer block.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, RngExt};

use super::{Attention, LayerNorm, Linear, LoraConfig, LoraTarget, Mlp};
use crate::encoder::Phase;

/// The sizes of a block.
#[derive(Debug, Clone, Copy)]
pub struct BlockConfig {
    /// Width of the tokens.
    pub width: usize,
    /// Attention heads; must divide the width.
    pub heads: usize,
    /// Hidden width of the perceptron over the width.
    pub mlp_ratio: f64,
}

impl BlockConfig {
    /// The perceptron's hidden width.
    #[must_use]
    pub fn hidden(&self) -> usize {
        (self.width as f64 * self.mlp_ratio) as usize
    }
}

/// What guides a block besides its tokens, per sample.
#[derive(Debug, Clone, Default)]
pub struct Guidance {
    /// Keys and values that every token attends to besides those of the sequence, `(B, P, width)`
    /// each, the heads side by side.
    pub prefix: Option<(Tensor<3>, Tensor<3>)>,
    /// `(B, 4, width)`: scale and shift behind the first norm, `x (1 + scale) + shift`, and behind
    /// the second.
    pub modulation: Option<Tensor<3>>,
}

/// `x + Attn(LN(x))`, then `x + MLP(LN(x))` (Dosovitskiy et al., 2021).
#[derive(Module, Debug)]
pub struct Block {
    /// Before attention.
    pub norm1: LayerNorm,
    /// Self-attention.
    pub attn: Attention,
    /// Before the perceptron.
    pub norm2: LayerNorm,
    /// Perceptron.
    pub mlp: Mlp,
}

impl Block {
    /// A block of zeros.
    #[must_use]
    pub fn new(config: BlockConfig, device: &Device) -> Self {
        Self {
            norm1: LayerNorm::new(config.width, device),
            attn: Attention::new(config.width, config.heads, device),
            norm2: LayerNorm::new(config.width, device),
            mlp: Mlp::new(config.width, config.hidden(), device),
        }
    }

    /// The same with low-rank adaptation of some of its linear layers.
    #[must_use]
    pub fn with_lora(self, config: &LoraConfig, device: &Device) -> Self {
        self.map_linears(|target, linear| {
            if config.targets.contains(&target) { linear.with_lora(config, device) } else { linear }
        })
    }

    /// The same with scale and shift behind every linear layer and every norm.
    #[must_use]
    pub fn with_ssf(self, device: &Device) -> Self {
        self.map_linears(|_, linear| linear.with_ssf(device))
            .map_norms(|norm| norm.with_ssf(device))
    }

    /// The same map without additions: they are in the weights.
    #[must_use]
    pub fn merged(self) -> Self {
        self.map_linears(|_, linear| linear.merged()).map_norms(LayerNorm::merged)
    }

    fn map_linears(self, f: impl Fn(LoraTarget, Linear) -> Linear) -> Self {
        let Self { norm1, mut attn, norm2, mut mlp } = self;
        attn.qkv = f(LoraTarget::Qkv, attn.qkv);
        attn.proj = f(LoraTarget::Proj, attn.proj);
        mlp.fc1 = f(LoraTarget::Fc1, mlp.fc1);
        mlp.fc2 = f(LoraTarget::Fc2, mlp.fc2);
        Self { norm1, attn, norm2, mlp }
    }

    fn map_norms(self, f: impl Fn(LayerNorm) -> LayerNorm) -> Self {
        Self { norm1: f(self.norm1), norm2: f(self.norm2), ..self }
    }

    /// # Shapes
    /// `(B, N, width)` to `(B, N, width)`.
    #[must_use]
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.forward_guided(x, Guidance::default(), 0.0, &mut Phase::Evaluation)
    }

    /// [`Self::forward`] with what guides the block, in training with stochastic depth (Huang et
    /// al., 2016): per sample, each branch is left out with probability `rate` and otherwise scaled
    /// by `1 / (1 - rate)`.
    ///
    /// # Shapes
    /// `(B, N, width)` to `(B, N, width)`.
    #[must_use]
    pub fn forward_guided(
        &self,
        x: Tensor<3>,
        guidance: Guidance,
        rate: f64,
        phase: &mut Phase<'_>,
    ) -> Tensor<3> {
        let mut dropped = |branch: Tensor<3>| match phase {
            Phase::Training(rng) if rate > 0.0 => drop_path(branch, rate, &mut **rng),
            _ => branch,
        };
        let Guidance { prefix, modulation } = guidance;
        let normed = modulated(self.norm1.forward(x.clone()), modulation.as_ref(), 0);
        let branch = match prefix {
            Some((keys, values)) => self.attn.forward_prefixed(normed, keys, values),
            None => self.attn.forward(normed),
        };
        let x = x + dropped(branch);
        let normed = modulated(self.norm2.forward(x.clone()), modulation.as_ref(), 2);
        x + dropped(self.mlp.forward(normed))
    }
}

impl Block {
    /// How much every token of the block's input attends to every token and to a prefix.
    ///
    /// # Shapes
    /// `(B, N, width)` to `(B, heads, N, N + P)`; rows sum to 1.
    #[must_use]
    pub fn attention(&self, x: Tensor<3>, guidance: &Guidance) -> Tensor<4> {
        let normed = modulated(self.norm1.forward(x), guidance.modulation.as_ref(), 0);
        self.attn.weights(normed, guidance.prefix.as_ref().map(|(keys, _)| keys.clone()))
    }
}

/// `x (1 + scale) + shift` with the two rows of a modulation from `row` on.
fn modulated(x: Tensor<3>, modulation: Option<&Tensor<3>>, row: usize) -> Tensor<3> {
    let Some(modulation) = modulation else { return x };
    let of = |row: usize| modulation.clone().narrow(1, row, 1);
    let (scale, shift) = (of(row), of(row + 1));
    x.clone() + x * scale + shift
}

/// Multiplies every sample of a branch by `floor(keep + u) / keep`, `u` uniform in `[0, 1)`.
fn drop_path(branch: Tensor<3>, rate: f64, rng: &mut dyn Rng) -> Tensor<3> {
    let [batch, _, _] = branch.dims();
    let keep = 1.0 - rate;
    let factors: Vec<f32> =
        (0..batch).map(|_| ((keep + rng.random::<f64>()).floor() / keep) as f32).collect();
    let factors = Tensor::from_data(TensorData::new(factors, [batch, 1, 1]), &branch.device());
    branch * factors
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn drop_path_keeps_the_mean_and_drops_whole_samples() {
        let device = Device::default();
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let ones = Tensor::<3>::ones([4000, 1, 2], &device);
        let out = drop_path(ones, 0.25, &mut rng).into_data().try_to_vec::<f32>().unwrap();
        let dropped = out.chunks(2).filter(|pair| pair[0] == 0.0).count();
        assert!(out.chunks(2).all(|pair| pair[0] == pair[1]));
        assert!((900..1100).contains(&dropped), "{dropped}");
        assert!(out.iter().all(|&v| v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6));
    }
}
