//! Prompts: tokens, or keys and values, that a frozen encoder is given besides its own tokens.
//!
//! To the encoder prompts are an input, one per sample ([`Prompts`]). Everything that makes prompts
//! produces that input: parameters that all samples share ([`PromptTokens`], [`PrefixPrompts`]) or a
//! pool from which every sample takes its own ([`PromptPool`]). Heads never see prompts: the
//! encoder's layers come without them.

mod pool;
mod shared;

use burn::tensor::Tensor;

pub use pool::{PromptPool, Selection, pool_query};
pub use shared::{PrefixPrompts, PromptTokens};

use crate::encoder::Phase;
use crate::nn::Block;
use crate::{Error, Result};

/// The prompts of a batch.
///
/// They belong to the blocks from `first` on, as many as they have layers.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one of them per batch")]
pub enum Prompts {
    /// Tokens behind the sequence (Jia et al., 2022). Before each of their blocks they take the
    /// place of what the block before made of the last ones; behind their last block they are
    /// carried along. One layer is a shallow prompt, as many as there are blocks are deep ones.
    Tokens {
        /// The block of the first layer.
        first: usize,
        /// `(B, layers, P, width)`.
        tokens: Tensor<4>,
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
}

impl Prompts {
    /// The first block, and the extents `[B, layers, P, width]`.
    fn extents(&self) -> (usize, [usize; 4]) {
        match self {
            Self::Tokens { first, tokens } => (*first, tokens.dims()),
            Self::Prefix { first, keys, .. } => (*first, keys.dims()),
        }
    }

    /// Checks that the prompts fit a sequence and an encoder.
    fn check(&self, blocks: usize, [batch, _, width]: [usize; 3]) -> Result<()> {
        let (first, dims) = self.extents();
        let [samples, layers, _, prompt_width] = dims;
        if let Self::Prefix { keys, values, .. } = self
            && keys.dims() != values.dims()
        {
            return Err(Error::Config(format!(
                "prefix keys are {:?}, its values {:?}",
                keys.dims(),
                values.dims()
            )));
        }
        if samples != batch || prompt_width != width {
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

    /// The prompts of one block: `(B, P, width)`.
    fn of_block(prompts: &Tensor<4>, layer: usize) -> Tensor<3> {
        let [batch, _, count, width] = prompts.dims();
        prompts.clone().narrow(1, layer, 1).reshape([batch, count, width])
    }
}

/// Runs blocks over tokens with prompts and returns the output of every block without them.
///
/// # Shapes
/// `(B, N, width)` to one `(B, N, width)` per block.
///
/// # Errors
/// If the prompts are of other samples, of another width, or of blocks that do not exist.
pub fn encode_with_prompts(
    blocks: &[Block],
    tokens: Tensor<3>,
    prompts: &Prompts,
    drop_path_rates: &[f64],
    phase: &mut Phase<'_>,
) -> Result<Vec<Tensor<3>>> {
    prompts.check(blocks.len(), tokens.dims())?;
    let own = tokens.dims()[1];
    let (first, [_, layers, _, _]) = prompts.extents();
    let mut outputs: Vec<Tensor<3>> = Vec::with_capacity(blocks.len());
    let mut x = tokens;
    for (index, (block, &rate)) in blocks.iter().zip(drop_path_rates).enumerate() {
        let layer = index.checked_sub(first).filter(|layer| *layer < layers);
        let prefix = match (prompts, layer) {
            (Prompts::Tokens { tokens, .. }, Some(layer)) => {
                let sequence = x.narrow(1, 0, own);
                x = Tensor::cat(vec![sequence, Prompts::of_block(tokens, layer)], 1);
                None
            }
            (Prompts::Prefix { keys, values, .. }, Some(layer)) => {
                Some((Prompts::of_block(keys, layer), Prompts::of_block(values, layer)))
            }
            (_, None) => None,
        };
        x = block.forward_prefixed(x, prefix, rate, phase);
        outputs.push(x.clone().narrow(1, 0, own));
    }
    Ok(outputs)
}
