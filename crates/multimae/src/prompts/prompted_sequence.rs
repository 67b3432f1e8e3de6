//! A batch with its prompts between the blocks of an encoder.

use burn::tensor::Tensor;

use super::{Prompts, WidthMap, rein};
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
    /// The number of tokens of patches; they are the first.
    patches: usize,
    prompts: Vec<Prompts>,
    /// The tokens of each source behind the last block; inside a block, its input.
    carried: Vec<Option<PromptState>>,
    /// The number of the next block.
    index: usize,
}

impl PromptedSequence {
    /// Creates a batch before the first of `blocks` blocks; its first `patches` tokens are of patches.
    ///
    /// # Shapes
    /// `(B, N, width)`.
    ///
    /// # Errors
    /// If the prompts are of other samples, of another width, or of blocks that do not exist.
    pub(crate) fn new(
        (tokens, patches): (Tensor<3>, usize),
        prompts: Vec<Prompts>,
        blocks: usize,
    ) -> Result<Self> {
        prompts.iter().try_for_each(|prompts| prompts.check(blocks, tokens.dims()))?;
        let carried = prompts.iter().map(|_| None).collect();
        Ok(Self { tokens, patches, prompts, carried, index: 0 })
    }

    /// The same batch behind the first blocks, which have no prompts.
    pub(crate) fn behind(self, blocks: usize) -> Self {
        Self { index: blocks, ..self }
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
        let additions = self.prompts.iter().filter_map(|prompts| prompts.added_to(self.index));
        let own = additions.fold(self.tokens.clone(), |tokens, (start, values)| {
            let [_, count, _] = values.dims();
            changed_part(tokens, (start, count), |part| part + values)
        });
        let sequence = joined(std::iter::once(own).chain(slots));
        let prefixes = self.prompts.iter().filter_map(|prompts| prompts.prefix_of(self.index));
        let modulations =
            self.prompts.iter().filter_map(|prompts| prompts.modulation_of(self.index));
        let conditioning = BlockConditioning {
            prefix: concatenated(prefixes),
            modulation: modulations.reduce(|sum, more| sum + more),
            cross: self.prompts.iter().filter_map(|prompts| prompts.cross_of(self.index)).collect(),
        };
        (sequence, conditioning)
    }

    /// Takes what the block made of the sequence that [`Self::block_input`] gave.
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
        let tokens = if start == own { sequence } else { sequence.narrow(1, 0, own) };
        let tokens = self.regions().fold(tokens, |tokens, (keys_and_values, change)| {
            changed_part(tokens, (0, self.patches), |patches| {
                rein::changed(patches, keys_and_values, change)
            })
        });
        self.tokens = tokens;
        self.index += 1;
    }

    /// The shares of the tokens that patches attend to behind the next block, of whose output `output` gives
    /// the whole sequence; `None` if there are no such tokens.
    ///
    /// # Shapes
    /// `(B, N, width)` to `(B, S, P)`.
    pub(crate) fn region_shares(&self, output: impl FnOnce() -> Tensor<3>) -> Option<Tensor<3>> {
        let (keys_and_values, _) = self.regions().next()?;
        Some(rein::shares(output().narrow(1, 0, self.patches), keys_and_values))
    }

    /// The tokens that patches attend to behind the block, and their changes.
    fn regions(&self) -> impl Iterator<Item = (Tensor<3>, &WidthMap)> {
        self.prompts.iter().filter_map(|prompts| prompts.regions_of(self.index))
    }

    /// The prompt tokens of every source for the next block.
    fn slots(&self) -> impl Iterator<Item = Option<Tensor<3>>> {
        let sources = self.prompts.iter().zip(&self.carried);
        sources.map(|(prompts, carried)| prompts.tokens_of(self.index, carried.as_ref()))
    }
}

/// Runs blocks over tokens, of which the first `patches` are of patches, with prompts and returns the output
/// of every block without them.
///
/// # Shapes
/// `(B, N, width)` to one `(B, N, width)` per block.
///
/// # Errors
/// If the prompts are of other samples, of another width, or of blocks that do not exist.
pub fn encode_with_prompts(
    blocks: &[Block],
    (tokens, patches): (Tensor<3>, usize),
    prompts: &[Prompts],
    drop_path_rates: &[f64],
    phase: &mut Phase<'_>,
) -> Result<Vec<Tensor<3>>> {
    let mut prompted = PromptedSequence::new((tokens, patches), prompts.to_vec(), blocks.len())?;
    let outputs = blocks.iter().zip(drop_path_rates).map(|(block, &rate)| {
        let (sequence, conditioning) = prompted.block_input();
        prompted.push_output(block.forward_conditioned(sequence, conditioning, rate, phase));
        prompted.tokens().clone()
    });
    Ok(outputs.collect())
}

/// Tokens of which `count` from `start` on are changed.
pub(crate) fn changed_part(
    tokens: Tensor<3>,
    (start, count): (usize, usize),
    change: impl FnOnce(Tensor<3>) -> Tensor<3>,
) -> Tensor<3> {
    let [_, all, _] = tokens.dims();
    let part = |start: usize, end: usize| {
        (end > start).then(|| tokens.clone().narrow(1, start, end - start))
    };
    let Some(inside) = part(start, start + count) else { return tokens };
    let parts = [part(0, start), Some(change(inside)), part(start + count, all)];
    joined(parts.into_iter().flatten())
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
