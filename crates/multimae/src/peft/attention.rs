//! Attention weights of blocks.

use burn::tensor::Tensor;

use super::PeftModel;
use super::pass::{self, HookInput, ModelBatch};
use crate::encoder::Phase;
use crate::tokens::{Inputs, TokenLayout};
use crate::{Error, Result};

/// The attention weights of a block.
#[derive(Debug, Clone)]
pub struct BlockAttention {
    /// The block, from 0.
    pub block: usize,
    /// The task whose prompts the block was given, where every task has its own.
    pub task: Option<String>,
    /// `(B, heads, N + P, N + P + Q)`: rows are queries, columns are keys, and rows sum to 1. The
    /// tokens in order: N of the patches and global ones, P of prompts; then Q keys of prefixes.
    pub weights: Tensor<4>,
    /// N: tokens of patches, modality by modality, and global tokens behind them.
    pub own: usize,
    /// P: tokens of prompts.
    pub prompts: usize,
    /// Q: keys of prefixes.
    pub prefix: usize,
    /// `(B, S, E)`: the shares of the E entries that every patch attends to behind the block, where there are
    /// any ([`ReinPrompts`](crate::prompts::ReinPrompts)). The first stands for no change.
    pub regions: Option<Tensor<3>>,
}

impl PeftModel {
    /// The attention of some blocks, and where the patches' tokens are. Blocks behind the branch occur
    /// once per task.
    ///
    /// # Errors
    /// If there is no such block, or inputs and prompts do not fit.
    pub fn attention(
        &self,
        inputs: Inputs,
        blocks: &[usize],
    ) -> Result<(Vec<BlockAttention>, TokenLayout)> {
        let depth = self.vit.encoder.len();
        if let Some(block) = blocks.iter().find(|block| **block >= depth) {
            return Err(Error::Config(format!(
                "there is no block {block}: the encoder's {depth} are numbered from 0"
            )));
        }
        let mut seen = Vec::new();
        let mut hook = |HookInput { index, task, own, batch, sequence }: HookInput<'_>| {
            if !blocks.contains(&index) {
                return;
            }
            let weights = batch.block.attention(batch.tokens.clone(), &batch.conditioning);
            let [_, _, rows, columns] = weights.dims();
            let regions = sequence.region_shares(|| {
                let (tokens, conditioning) = (batch.tokens.clone(), batch.conditioning.clone());
                let phase = &mut Phase::Evaluation;
                batch.block.forward_conditioned(tokens, conditioning, 0.0, phase)
            });
            seen.push(BlockAttention {
                block: index,
                task: task.map(str::to_owned),
                weights,
                own,
                prompts: rows - own,
                prefix: columns - rows,
                regions,
            });
        };
        let mut batch = [ModelBatch::new(self, inputs)?];
        pass::encode(&mut batch, (&mut Phase::Evaluation, &mut hook))?;
        let [ModelBatch { embedded, .. }] = batch;
        Ok((seen, embedded.layout))
    }
}
