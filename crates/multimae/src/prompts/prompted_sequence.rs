//! A batch with its prompts between the blocks of an encoder.

use burn::tensor::Tensor;

use super::Prompts;
use crate::Result;
use crate::encoder::Phase;
use crate::nn::{Block, BlockConditioning};

/// The prompt tokens of a source at the last block.
#[derive(Debug, Clone)]
pub(super) struct PromptState {
    pub(super) input: Tensor<3>,
    pub(super) output: Tensor<3>,
}

/// A batch with its prompts between two blocks. It gives every block its [input](Self::block_input)
/// and takes its [output](Self::push_output), so that the caller can run the blocks for several
/// batches.
#[derive(Debug, Clone)]
pub(crate) struct PromptedSequence {
    tokens: Tensor<3>,
    prompts: Vec<Prompts>,
    /// The tokens of each source behind the last block; inside a block, its input.
    carried: Vec<Option<PromptState>>,
    /// The number of the next block.
    index: usize,
}

impl PromptedSequence {
    /// Creates a batch before the first of `blocks` blocks.
    ///
    /// # Shapes
    /// `(B, N, width)`.
    ///
    /// # Errors
    /// If the prompts are of other samples, of another width, or of blocks that do not exist.
    pub(crate) fn new(tokens: Tensor<3>, prompts: Vec<Prompts>, blocks: usize) -> Result<Self> {
        prompts.iter().try_for_each(|prompts| prompts.check(blocks, tokens.dims()))?;
        let carried = prompts.iter().map(|_| None).collect();
        Ok(Self { tokens, prompts, carried, index: 0 })
    }

    /// The batch without its prompts.
    ///
    /// # Shapes
    /// `(B, N, width)`.
    pub(crate) fn tokens(&self) -> &Tensor<3> {
        &self.tokens
    }

    /// Returns the input of the next block: the tokens with those of prompts behind them, and the
    /// further inputs.
    pub(crate) fn block_input(&self) -> (Tensor<3>, BlockConditioning) {
        let slots = self.slots().flatten();
        let sequence = joined(std::iter::once(self.tokens.clone()).chain(slots));
        let prefixes = self.prompts.iter().filter_map(|prompts| prompts.prefix_of(self.index));
        let modulations =
            self.prompts.iter().filter_map(|prompts| prompts.modulation_of(self.index));
        let conditioning = BlockConditioning {
            prefix: concatenated(prefixes),
            modulation: modulations.reduce(|sum, more| sum + more),
        };
        (sequence, conditioning)
    }

    /// Takes what the block made of the sequence that [`Self::enter`] gave.
    pub(crate) fn push_output(&mut self, sequence: Tensor<3>) {
        let [_, own, _] = self.tokens.dims();
        let mut start = own;
        let of_slot = |slot: Option<Tensor<3>>| {
            slot.map(|input| {
                let [_, count, _] = input.dims();
                start += count;
                let output = sequence.clone().narrow(1, start - count, count);
                PromptState { input, output }
            })
        };
        self.carried = self.slots().map(of_slot).collect();
        self.tokens = if start == own { sequence } else { sequence.narrow(1, 0, own) };
        self.index += 1;
    }

    /// The prompt tokens of every source for the next block.
    fn slots(&self) -> impl Iterator<Item = Option<Tensor<3>>> {
        let sources = self.prompts.iter().zip(&self.carried);
        sources.map(|(prompts, carried)| prompts.tokens_of(self.index, carried.as_ref()))
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
    prompts: &[Prompts],
    drop_path_rates: &[f64],
    phase: &mut Phase<'_>,
) -> Result<Vec<Tensor<3>>> {
    let mut prompted = PromptedSequence::new(tokens, prompts.to_vec(), blocks.len())?;
    let outputs = blocks.iter().zip(drop_path_rates).map(|(block, &rate)| {
        let (sequence, conditioning) = prompted.block_input();
        prompted.push_output(block.forward_conditioned(sequence, conditioning, rate, phase));
        prompted.tokens().clone()
    });
    Ok(outputs.collect())
}

/// Sequences one behind the other.
fn joined(sequences: impl Iterator<Item = Tensor<3>>) -> Tensor<3> {
    let mut sequences: Vec<Tensor<3>> = sequences.collect();
    if sequences.len() == 1 { sequences.remove(0) } else { Tensor::cat(sequences, 1) }
}

/// The keys and the values of all prefixes of a block.
fn concatenated(
    prefixes: impl Iterator<Item = (Tensor<3>, Tensor<3>)>,
) -> Option<(Tensor<3>, Tensor<3>)> {
    let (keys, values): (Vec<_>, Vec<_>) = prefixes.unzip();
    (!keys.is_empty()).then(|| (joined(keys.into_iter()), joined(values.into_iter())))
}
