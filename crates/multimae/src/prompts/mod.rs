//! Prompts: tokens, or keys and values, that a frozen encoder is given besides its own tokens, or changes of
//! these.
//!
//! To the encoder prompts are an input, one per sample ([`Prompts`]). Everything that makes prompts
//! produces that input: parameters that all samples share ([`PromptTokens`], [`PrefixPrompts`], [`CrossPrompts`]) or a
//! pool from which every sample takes its own ([`PromptPool`], [`DualPrompt`], [`CodaPrompts`]); tokens from which every
//! patch takes its own ([`ReinPrompts`]), or the image itself ([`EvpPrompts`]). Heads never see prompt tokens: the
//! encoder's layers come without them.

mod checks;
mod coda;
mod config;
mod cross;
mod dual;
mod evp;
mod norms;
mod orthonormal;
mod pool;
mod pool_config;
mod prompted_sequence;
mod query;
mod rein;
mod selection;
mod shared;
mod source;
mod usage;

use burn::tensor::Tensor;

pub use coda::{CodaConfig, CodaPrompts};
pub(crate) use config::EncoderPart;
pub use config::{PrefixConfig, PromptConfig, TokensConfig};
pub use cross::CrossPrompts;
pub use dual::{DualConfig, DualPrompt};
pub use evp::{EVP_BLUR, EvpConfig, EvpPrompts, ImagePatches, details};
pub use norms::PromptNorms;
pub use pool::{PoolKeys, PromptPool};
pub use pool_config::{PoolConfig, PoolForm, PoolKeySharing};
pub use prompted_sequence::encode_with_prompts;
pub(crate) use prompted_sequence::{PromptedSequence, changed_part};
pub use query::{Query, pool_query};
pub use rein::{ReinConfig, ReinEntries, ReinPrompts, WidthMap};
pub use selection::{EntryChoice, PoolLosses, Selection};
pub use shared::{PrefixPrompts, PromptTokens};
pub use source::{PromptSource, SourceInput, SourceOutput};
pub use usage::{EntryUsage, PoolUsage};

use crate::{Error, Result};
use prompted_sequence::PromptState;

/// Prompts of a batch, of one source; an encoder takes several.
///
/// They belong to the blocks from `first` on, as many as they have layers.
#[derive(Debug, Clone)]
pub enum Prompts {
    /// Tokens behind the sequence (Jia et al., 2022). Before each of their blocks they take the
    /// place of what the block before made of the last ones; behind their last block they are
    /// carried along. One layer is a shallow prompt, as many as there are blocks are deep ones.
    Tokens {
        /// The block of the first layer.
        first: usize,
        /// `(B, layers, P, width)`.
        tokens: Tensor<4>,
        /// `(B, gates)` in `[0, 1]`, of the blocks from `first` on, as many as there are (Yoo et
        /// al., 2023). A gate of 1 keeps what its block made of the prompts, 0 gives the next block
        /// its own prompts or, where it has none, those that this block got; between, a mixture.
        gates: Option<Tensor<2>>,
    },
    /// Keys and values that every token attends to besides those of the sequence (Li and Liang,
    /// 2021). No tokens are added.
    Prefix {
        /// The block of the first layer.
        first: usize,
        /// `(B, layers, P, width)`, the heads side by side.
        keys: Tensor<4>,
        /// As `keys`.
        values: Tensor<4>,
    },
    /// Scale and shift behind the norms of blocks (adaptive LayerNorm; Peebles and Xie, 2023).
    Norms {
        /// The block of the first layer.
        first: usize,
        /// `(B, layers, 4, width)`, see [`BlockConditioning::modulation`](crate::nn::BlockConditioning::modulation).
        modulation: Tensor<4>,
    },
    /// Values that are added to tokens in front of blocks ([`EvpPrompts`]).
    Additive {
        /// The block of the first layer.
        first: usize,
        /// The first of the tokens.
        start: usize,
        /// `(B, N, width)` per layer.
        values: Vec<Tensor<3>>,
    },
    /// Tokens that every patch attends to behind blocks, and is changed by ([`ReinPrompts`]).
    Regions {
        /// The block of the first layer.
        first: usize,
        /// `(B, layers, P, 2 width)`, `[k | v]`.
        keys_and_values: Tensor<4>,
        /// From what a patch found to its change.
        change: Box<WidthMap>,
    },
    /// Tokens that every token attends to inside blocks, apart from the sequence ([`CrossPrompts`]).
    Cross {
        /// The block of the first layer.
        first: usize,
        /// `(layers, P, width)`, of all samples.
        tokens: Tensor<3>,
    },
}

impl Prompts {
    /// Tokens without gates.
    ///
    /// # Shapes
    /// `(B, layers, P, width)`.
    #[must_use]
    pub fn tokens(first: usize, tokens: Tensor<4>) -> Self {
        Self::Tokens { first, tokens, gates: None }
    }

    /// The mean of a sample's prompts over layers and places; of a prefix, of its keys and values. `None` of
    /// forms that norms are not made of.
    ///
    /// # Shapes
    /// `(B, width)`.
    #[must_use]
    pub fn mean(&self) -> Option<Tensor<2>> {
        let of = |prompts: &Tensor<4>| {
            let [batch, layers, count, width] = prompts.dims();
            let rows = prompts.clone().reshape([batch, layers * count, width]);
            rows.mean_dim(1).reshape([batch, width])
        };
        match self {
            Self::Tokens { tokens, .. } => Some(of(tokens)),
            Self::Prefix { keys, values, .. } => Some((of(keys) + of(values)).div_scalar(2.0)),
            Self::Norms { .. }
            | Self::Additive { .. }
            | Self::Regions { .. }
            | Self::Cross { .. } => None,
        }
    }

    /// The first block, and the extents `[B, layers, P, width]`; 1 sample where all have the same.
    fn extents(&self) -> (usize, [usize; 4]) {
        match self {
            Self::Tokens { first, tokens, .. } => (*first, tokens.dims()),
            Self::Prefix { first, keys, .. } => (*first, keys.dims()),
            Self::Norms { first, modulation } => (*first, modulation.dims()),
            Self::Additive { first, values, .. } => {
                let [batch, count, width] = values.first().map_or([0; 3], Tensor::dims);
                (*first, [batch, values.len(), count, width])
            }
            Self::Regions { first, keys_and_values, .. } => {
                let [batch, layers, count, width] = keys_and_values.dims();
                (*first, [batch, layers, count, width / 2])
            }
            Self::Cross { first, tokens } => {
                let [layers, count, width] = tokens.dims();
                (*first, [1, layers, count, width])
            }
        }
    }

    /// Checks that the prompts fit a sequence and an encoder.
    fn check(&self, blocks: usize, [batch, length, width]: [usize; 3]) -> Result<()> {
        let (first, dims) = self.extents();
        let [samples, layers, count, prompt_width] = dims;
        let of_all = matches!(self, Self::Cross { .. });
        match self {
            Self::Additive { start, .. } if start + count > length => {
                return Err(Error::Config(format!(
                    "prompts for tokens {start} to {}, and there are {length}",
                    start + count
                )));
            }
            Self::Prefix { keys, values, .. } if keys.dims() != values.dims() => {
                return Err(Error::Config(format!(
                    "prefix keys are {:?}, its values {:?}",
                    keys.dims(),
                    values.dims()
                )));
            }
            Self::Tokens { gates: Some(gates), .. } if gates.dims()[0] != samples => {
                return Err(Error::Config(format!(
                    "gates {:?} (samples, blocks) for prompts {dims:?}",
                    gates.dims()
                )));
            }
            _ => {}
        }
        if (samples != batch && !of_all) || prompt_width != width {
            return Err(Error::Config(format!(
                "prompts {dims:?} (samples, layers, prompts, width) for {batch} samples of width \
                 {width}"
            )));
        }
        if layers == 0 || first + layers > blocks {
            return Err(Error::Config(format!(
                "prompts for {layers} blocks from block {first} on, and the encoder has {blocks}"
            )));
        }
        Ok(())
    }

    /// The prompts of a block, if it has its own.
    ///
    /// # Shapes
    /// `(B, P, width)`.
    fn of_block(&self, prompts: &Tensor<4>, block: usize) -> Option<Tensor<3>> {
        let (first, [batch, layers, count, width]) = self.extents();
        let layer = block.checked_sub(first).filter(|layer| *layer < layers)?;
        Some(prompts.clone().narrow(1, layer, 1).reshape([batch, count, width]))
    }

    /// Prompt tokens that a block gets, from its own and from what the blocks before made of
    /// earlier ones; none before the first block.
    fn tokens_of(&self, block: usize, carried: Option<&PromptState>) -> Option<Tensor<3>> {
        let Self::Tokens { first, tokens, gates } = self else { return None };
        let own = self.of_block(tokens, block);
        let Some(PromptState { input, output }) = carried else { return own };
        let gate = gates.as_ref().and_then(|gates| gate(gates, (block - 1).checked_sub(*first)?));
        match (gate, own) {
            (None, own) => Some(own.unwrap_or_else(|| output.clone())),
            (Some(gate), own) => {
                let fresh = own.unwrap_or_else(|| input.clone());
                Some(fresh.clone() + (output.clone() - fresh) * gate)
            }
        }
    }

    /// The summand of the tokens in front of a block, if there is one: the first token, and `(B, N, width)`.
    fn added_to(&self, block: usize) -> Option<(usize, Tensor<3>)> {
        let Self::Additive { first, start, values } = self else { return None };
        Some((*start, values.get(block.checked_sub(*first)?)?.clone()))
    }

    /// The tokens `[k | v]` that patches attend to behind a block, and their change, if there are any.
    fn regions_of(&self, block: usize) -> Option<(Tensor<3>, &WidthMap)> {
        let Self::Regions { first, keys_and_values, change } = self else { return None };
        let [batch, layers, count, width] = keys_and_values.dims();
        let layer = block.checked_sub(*first).filter(|layer| *layer < layers)?;
        let of_layer = keys_and_values.clone().narrow(1, layer, 1);
        Some((of_layer.reshape([batch, count, width]), change))
    }

    /// The tokens that a block's tokens attend to apart from each other, `(P, width)`, if there are any.
    fn cross_of(&self, block: usize) -> Option<Tensor<2>> {
        let Self::Cross { first, tokens } = self else { return None };
        let [layers, count, width] = tokens.dims();
        let layer = block.checked_sub(*first).filter(|layer| *layer < layers)?;
        Some(tokens.clone().narrow(0, layer, 1).reshape([count, width]))
    }

    /// Scale and shift of a block's norms, if it has any.
    fn modulation_of(&self, block: usize) -> Option<Tensor<3>> {
        let Self::Norms { modulation, .. } = self else { return None };
        self.of_block(modulation, block)
    }

    /// The keys and values that a block gets, if it has any.
    fn prefix_of(&self, block: usize) -> Option<(Tensor<3>, Tensor<3>)> {
        let Self::Prefix { keys, values, .. } = self else { return None };
        Some((self.of_block(keys, block)?, self.of_block(values, block)?))
    }
}

/// `(B, 1, 1)`: the gate of a block, if it has one.
fn gate(gates: &Tensor<2>, index: usize) -> Option<Tensor<3>> {
    let [batch, blocks] = gates.dims();
    (index < blocks).then(|| gates.clone().narrow(1, index, 1).reshape([batch, 1, 1]))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::encoder::Phase;
    use crate::nn::{Block, BlockConfig};

    const BLOCKS: usize = 3;
    const WIDTH: usize = 8;

    fn blocks() -> Vec<Block> {
        let config = BlockConfig { width: WIDTH, heads: 2, mlp_ratio: 2.0 };
        (0..BLOCKS)
            .map(|index| {
                let block = Block::new(config, &Device::default());
                crate::init::initialise(block, |name| {
                    ChaCha8Rng::seed_from_u64((index * 1000 + name.len()) as u64)
                })
            })
            .collect()
    }

    /// Values that differ everywhere.
    fn values<const D: usize>(dims: [usize; D], seed: f32) -> Tensor<D> {
        let count: usize = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|i| ((i as f32 + seed) * 1.7).sin()).collect();
        Tensor::from_data(TensorData::new(values, dims), &Device::default())
    }

    fn gated(tokens: Tensor<4>, gate: f32) -> Prompts {
        let gates = Tensor::<2>::full([tokens.dims()[0], BLOCKS], gate, &Device::default());
        Prompts::Tokens { first: 0, tokens, gates: Some(gates) }
    }

    fn last(prompts: &[Prompts]) -> Vec<f32> {
        let tokens = values([2, 5, WIDTH], 0.5);
        let phase = &mut Phase::Evaluation;
        let mut outputs =
            encode_with_prompts(&blocks(), (tokens, 4), prompts, &[0.0; BLOCKS], phase).unwrap();
        assert_eq!(outputs.len(), BLOCKS);
        let output = outputs.pop().unwrap();
        assert_eq!(output.dims(), [2, 5, WIDTH]);
        output.into_data().iter().collect()
    }

    fn close(a: &[f32], b: &[f32]) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
    }

    #[test]
    fn gates_lie_between_deep_and_shallow() {
        let deep = values([2, BLOCKS, 4, WIDTH], 3.0);
        let shallow = deep.clone().narrow(1, 0, 1);
        let (of_deep, of_shallow) = (
            last(&[Prompts::tokens(0, deep.clone())]),
            last(&[Prompts::tokens(0, shallow.clone())]),
        );
        assert!(!close(&of_deep, &of_shallow));
        assert!(close(&last(&[gated(deep.clone(), 0.0)]), &of_deep));
        assert!(close(&last(&[gated(deep.clone(), 1.0)]), &of_shallow));
        assert!(close(&last(&[gated(shallow.clone(), 1.0)]), &of_shallow));
        // A closed gate behind a shallow prompt gives it to every block unchanged.
        let repeated = shallow.clone().expand([2, BLOCKS, 4, WIDTH]);
        let closed = last(&[gated(shallow, 0.0)]);
        assert!(close(&closed, &last(&[Prompts::tokens(0, repeated)])));
        let half = last(&[gated(deep, 0.5)]);
        assert!(!close(&half, &of_deep) && !close(&half, &of_shallow));
    }

    #[test]
    fn sources_add_up() {
        let (one, two) = (values([2, 2, 3, WIDTH], 1.0), values([2, 2, 2, WIDTH], 9.0));
        let both = Tensor::cat(vec![one.clone(), two.clone()], 2);
        let joined = last(&[Prompts::tokens(1, both.clone())]);
        let apart = last(&[Prompts::tokens(1, one.clone()), Prompts::tokens(1, two.clone())]);
        assert!(close(&joined, &apart));
        let prefix =
            |p: &Tensor<4>| Prompts::Prefix { first: 0, keys: p.clone(), values: p.clone() };
        assert!(close(&last(&[prefix(&both)]), &last(&[prefix(&one), prefix(&two)])));
        // Both forms together, of different blocks.
        let mixed = [Prompts::tokens(1, one), prefix(&two)];
        assert!(!close(&last(&mixed), &last(&mixed[..1])));
        assert!(!close(&last(&mixed), &last(&mixed[1..])));
    }

    #[test]
    fn norms_are_scaled_and_shifted_per_sample() {
        let none =
            Prompts::Norms { first: 0, modulation: values([2, BLOCKS, 4, WIDTH], 0.0) * 0.0 };
        assert!(close(&last(&[none]), &last(&[])));
        // The second norm of the last block of the second sample alone.
        let mut rows = vec![0.0_f32; 2 * 4 * WIDTH];
        let start = (4 + 2) * WIDTH;
        rows[start..start + 2 * WIDTH]
            .iter_mut()
            .enumerate()
            .for_each(|(i, v)| *v = i as f32 * 0.1);
        let modulation = TensorData::new(rows, [2, 1, 4, WIDTH]);
        let modulation = Tensor::from_data(modulation, &Device::default());
        let got = last(&[Prompts::Norms { first: BLOCKS - 1, modulation }]);
        let (plain, half) = (last(&[]), got.len() / 2);
        assert_eq!(got[..half], plain[..half]);
        assert!(!close(&got[half..], &plain[half..]));
    }

    #[test]
    fn no_prompts_are_no_change() {
        let tokens = values([2, 5, WIDTH], 0.5);
        let plain =
            crate::encoder::encode(&blocks(), tokens, &[0.0; BLOCKS], &mut Phase::Evaluation);
        let plain: Vec<f32> = plain.last().unwrap().clone().into_data().iter().collect();
        assert_eq!(last(&[]), plain);
    }

    #[test]
    fn prompts_that_do_not_fit_are_refused() {
        let refused = |prompts: Prompts| {
            let tokens = values([2, 5, WIDTH], 0.5);
            let phase = &mut Phase::Evaluation;
            encode_with_prompts(&blocks(), (tokens, 4), &[prompts], &[0.0; BLOCKS], phase)
                .unwrap_err()
        };
        refused(Prompts::tokens(1, values([2, BLOCKS, 1, WIDTH], 0.0)));
        refused(Prompts::tokens(0, values([1, BLOCKS, 1, WIDTH], 0.0)));
        refused(Prompts::tokens(0, values([2, BLOCKS, 1, WIDTH / 2], 0.0)));
        let gates = Some(values([1, BLOCKS], 0.0));
        let tokens = values([2, BLOCKS, 1, WIDTH], 0.0);
        refused(Prompts::Tokens { first: 0, tokens: tokens.clone(), gates });
        let added = vec![values([2, 5, WIDTH], 0.0)];
        refused(Prompts::Additive { first: 0, start: 1, values: added });
        let values = values([2, BLOCKS, 2, WIDTH], 0.0);
        refused(Prompts::Prefix { first: 0, keys: tokens, values });
    }
}
