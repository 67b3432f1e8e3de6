//! The pre-norm transformer block.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use super::{Attention, LayerNorm, Linear, LoraConfig, LoraTarget, Mlp, Rows};
use crate::phase::Phase;

/// The sizes of a block.
#[derive(Debug, Clone, Copy)]
pub struct BlockConfig {
    /// Embedding dimension.
    pub width: usize,
    /// Attention heads; must divide the width.
    pub heads: usize,
    /// Hidden dimension of the MLP divided by the embedding dimension.
    pub mlp_ratio: f64,
}

impl BlockConfig {
    /// The MLP's hidden dimension.
    #[must_use]
    pub fn hidden(&self) -> usize {
        (self.width as f64 * self.mlp_ratio) as usize
    }
}

/// The inputs of a block besides its tokens, per sample.
#[derive(Debug, Clone, Default)]
pub struct BlockConditioning {
    /// Keys and values that every token attends to besides those of the sequence, `(B, P, width)`
    /// each, the heads side by side.
    pub prefix: Option<(Tensor<3>, Tensor<3>)>,
    /// `(B, 4, width)`: scale and shift behind the first norm, `x (1 + scale) + shift`, and behind
    /// the second.
    pub modulation: Option<Tensor<3>>,
    /// Tokens of all samples, `(P, width)`, that every token attends to between attention and MLP, apart from
    /// the sequence and from those of the other entries; see [`Attention::forward_apart`].
    pub cross: Vec<Tensor<2>>,
}

/// A batch before a block, `(B, N, width)`; see [`Block::forward_conditioned`].
#[derive(Debug, Clone)]
pub struct BlockInput<'a> {
    /// The block.
    pub block: &'a Block,
    /// The tokens.
    pub tokens: Tensor<3>,
    /// The further inputs of the block.
    pub conditioning: BlockConditioning,
    /// Its rate of stochastic depth.
    pub rate: f64,
}

/// `x + Attn(LN(x))`, then `x + MLP(LN(x))` (Dosovitskiy et al., 2021).
#[derive(Module, Debug)]
pub struct Block {
    /// Before attention.
    pub norm1: LayerNorm,
    /// Self-attention.
    pub attn: Attention,
    /// Before the MLP.
    pub norm2: LayerNorm,
    /// MLP.
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
        self.forward_conditioned(x, BlockConditioning::default(), 0.0, &mut Phase::Evaluation)
    }

    /// [`Self::forward`] with what guides the block, in training with stochastic depth (Huang et
    /// al., 2016): per sample, each branch is left out with probability `rate` and otherwise scaled
    /// by `1 / (1 - rate)`.
    ///
    /// # Shapes
    /// `(B, N, width)` to `(B, N, width)`.
    #[must_use]
    pub fn forward_conditioned(
        &self,
        x: Tensor<3>,
        conditioning: BlockConditioning,
        rate: f64,
        phase: &mut Phase<'_>,
    ) -> Tensor<3> {
        let BlockConditioning { prefix, modulation, cross } = conditioning;
        let branch = match &modulation {
            None => self.attn.forward_normed(&self.norm1, x.clone(), prefix),
            Some(rows) => {
                let normed = modulated(self.norm1.forward(x.clone()), Some(rows), 0);
                self.attn.forward(normed, prefix)
            }
        };
        let x = self.with_cross(x + drop_path(branch, rate, phase), &cross);
        let branch = match &modulation {
            None => self.mlp.forward_normed(&self.norm2, x.clone()),
            Some(rows) => self.mlp.forward(modulated(self.norm2.forward(x.clone()), Some(rows), 2)),
        };
        x + drop_path(branch, rate, phase)
    }

    /// [`Self::forward_conditioned`] of batches of any sizes, each through a block of its own. The linear
    /// layers must have the same weights and biases in all of them and multiply once; norms and what
    /// is added to layers are each block's own.
    ///
    /// # Shapes
    /// `(B, N, width)` to `(B, N, width)`, each.
    #[must_use]
    pub fn forward_batched(batches: Vec<BlockInput<'_>>, phase: &mut Phase<'_>) -> Vec<Tensor<3>> {
        if let [only] = batches.as_slice() {
            let BlockInput { block, tokens, conditioning, rate } = only.clone();
            return vec![block.forward_conditioned(tokens, conditioning, rate, phase)];
        }
        let attentions: Vec<&Attention> = batches.iter().map(|batch| &batch.block.attn).collect();
        let layers = |of: fn(&Attention) -> &Linear| -> Vec<&Linear> {
            attentions.iter().map(|&attention| of(attention)).collect()
        };
        let normed = batches.iter().map(|BlockInput { block, tokens, conditioning, .. }| {
            modulated(block.norm1.forward(tokens.clone()), conditioning.modulation.as_ref(), 0)
        });
        let qkv = Linear::forward_batched(&layers(|a| &a.qkv), &Rows::of(normed.collect()));
        let mixed =
            qkv.parts().zip(&batches).map(|(qkv, BlockInput { block, conditioning, .. })| {
                block.attn.mixed(qkv, conditioning.prefix.clone())
            });
        let branch = Linear::forward_batched(&layers(|a| &a.proj), &Rows::of(mixed.collect()));
        let tokens: Vec<Tensor<3>> = branch
            .parts()
            .zip(&batches)
            .map(|(branch, BlockInput { block, tokens, conditioning, rate })| {
                let tokens = tokens.clone() + drop_path(branch, *rate, phase);
                block.with_cross(tokens, &conditioning.cross)
            })
            .collect();
        let normed =
            tokens.iter().zip(&batches).map(|(x, BlockInput { block, conditioning, .. })| {
                modulated(block.norm2.forward(x.clone()), conditioning.modulation.as_ref(), 2)
            });
        let mlps: Vec<&Mlp> = batches.iter().map(|batch| &batch.block.mlp).collect();
        let branch = Mlp::forward_batched(&mlps, &Rows::of(normed.collect()));
        tokens
            .into_iter()
            .zip(branch.parts())
            .zip(&batches)
            .map(|((tokens, branch), batch)| tokens + drop_path(branch, batch.rate, phase))
            .collect()
    }

    /// Tokens with what they find at those apart from the sequence.
    fn with_cross(&self, x: Tensor<3>, cross: &[Tensor<2>]) -> Tensor<3> {
        cross.iter().fold(x, |x, tokens| x.clone() + self.attn.forward_apart(x, tokens.clone()))
    }
}

impl Block {
    /// Computes the attention weights of every token of the block's input to every token and to a
    /// prefix.
    ///
    /// # Shapes
    /// `(B, N, width)` to `(B, heads, N, N + P)`; rows sum to 1.
    #[must_use]
    pub fn attention(&self, x: Tensor<3>, conditioning: &BlockConditioning) -> Tensor<4> {
        let normed = modulated(self.norm1.forward(x), conditioning.modulation.as_ref(), 0);
        self.attn.weights(normed, conditioning.prefix.as_ref().map(|(keys, _)| keys.clone()))
    }
}

/// `x (1 + scale) + shift` with the two rows of a modulation from `row` on.
fn modulated(x: Tensor<3>, modulation: Option<&Tensor<3>>, row: usize) -> Tensor<3> {
    let Some(modulation) = modulation else { return x };
    let of = |row: usize| modulation.clone().narrow(1, row, 1);
    let (scale, shift) = (of(row), of(row + 1));
    x.clone() + x * scale + shift
}

/// In training, multiplies every sample of a branch by `floor(keep + u) / keep`, `u` uniform in
/// `[0, 1)`.
fn drop_path(branch: Tensor<3>, rate: f64, phase: &mut Phase<'_>) -> Tensor<3> {
    let Phase::Training(rng) = phase else { return branch };
    if rate <= 0.0 {
        return branch;
    }
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
    use crate::state::update;
    use rand::SeedableRng;

    fn values<const D: usize>(dims: [usize; D], seed: f32) -> Tensor<D> {
        let count: usize = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|i| ((i as f32 + seed) * 1.3).sin()).collect();
        Tensor::from_data(TensorData::new(values, dims), &Device::default())
    }

    /// The block with numbers in the parameters for which `choose` gives a seed.
    fn with_values(block: Block, choose: impl Fn(&str) -> Option<f32>) -> Block {
        update(block, |name, value| choose(name).map(|seed| values(value.dims(), seed) * 0.3))
    }

    #[test]
    fn batched_blocks_agree_with_single_ones() {
        let device = Device::default();
        let config = BlockConfig { width: 8, heads: 2, mlp_ratio: 2.0 };
        let shared = |name: &str| Some(name.len() as f32);
        let plain = with_values(Block::new(config, &device), shared);
        let own = |seed: f32| {
            move |name: &str| {
                let own = name.contains("lora") || name.contains("ssf") || name.contains("norm");
                own.then_some(seed + name.len() as f32)
            }
        };
        let lora =
            LoraConfig { rank: 2, alpha: None, targets: vec![LoraTarget::Qkv, LoraTarget::Fc1] };
        let blocks = [
            plain.clone(),
            with_values(plain.clone(), own(5.0)),
            with_values(plain.clone().with_lora(&lora, &device), own(9.0)),
            with_values(plain.clone().with_ssf(&device), own(13.0)),
        ];
        let conditioning = |batch: usize, kind: usize| BlockConditioning {
            prefix: (kind == 1).then(|| (values([batch, 3, 8], 2.0), values([batch, 3, 8], 4.0))),
            modulation: (kind == 2).then(|| values([batch, 4, 8], 6.0)),
            cross: if kind == 3 { vec![values([3, 8], 7.0), values([1, 8], 8.0)] } else { vec![] },
        };
        let batches: Vec<BlockInput<'_>> = (blocks.iter().enumerate())
            .map(|(at, block)| {
                let [batch, tokens] = [[1, 5], [3, 2], [2, 7], [1, 1]][at];
                let tokens = values([batch, tokens, 8], at as f32);
                BlockInput { block, tokens, conditioning: conditioning(batch, at), rate: 0.0 }
            })
            .collect();
        let together = Block::forward_batched(batches.clone(), &mut Phase::Evaluation);
        assert_eq!(together.len(), batches.len());
        for (at, (batch, together)) in batches.into_iter().zip(together).enumerate() {
            let BlockInput { block, tokens, conditioning, rate } = batch;
            let alone =
                block.forward_conditioned(tokens, conditioning, rate, &mut Phase::Evaluation);
            let difference = (alone - together).abs().max().into_scalar::<f32>();
            assert!(difference < 1e-5, "batch {at}: {difference}");
        }
    }

    #[test]
    fn drop_path_keeps_the_mean_and_drops_whole_samples() {
        let device = Device::default();
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let ones = Tensor::<3>::ones([4000, 1, 2], &device);
        let out = drop_path(ones, 0.25, &mut Phase::Training(&mut rng))
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        let dropped = out.chunks(2).filter(|pair| pair[0] == 0.0).count();
        assert!(out.chunks(2).all(|pair| pair[0] == pair[1]));
        assert!((900..1100).contains(&dropped), "{dropped}");
        assert!(out.iter().all(|&v| v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6));
    }
}
