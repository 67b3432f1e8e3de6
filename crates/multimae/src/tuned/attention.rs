//! Where tokens look.

use burn::tensor::Tensor;

use super::TunedMultiVit;
use super::pass::{self, Samples};
use crate::encoder::Phase;
use crate::multivit::Embedded;
use crate::prompts::Watched;
use crate::tokens::{Inputs, TokenLayout};
use crate::{Error, Result};

/// How the tokens of a block attend to each other.
#[derive(Debug, Clone)]
pub struct BlockAttention {
    /// The block, from 0.
    pub block: usize,
    /// The task whose prompts the block was given, where every task has its own.
    pub task: Option<String>,
    /// `(B, heads, N + P, N + P + Q)`: rows look at columns, and sum to 1. The tokens in order: N of
    /// the patches and global ones, P of prompts; then Q keys of prefixes.
    pub weights: Tensor<4>,
    /// N: tokens of patches, modality by modality, and global tokens behind them.
    pub own: usize,
    /// P: tokens of prompts.
    pub prompts: usize,
    /// Q: keys of prefixes.
    pub prefix: usize,
}

impl TunedMultiVit {
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
        let embedded = self.vit.embed(inputs)?;
        let [batch, _, _] = embedded.sequence.dims();
        let mut seen = Vec::new();
        let mut watch = |watched: Watched<'_>| {
            if !blocks.contains(&watched.index) {
                return;
            }
            let weights = watched.block.attention(watched.sequence.clone(), watched.guidance);
            let [_, _, rows, columns] = weights.dims();
            seen.push(BlockAttention {
                block: watched.index,
                task: None,
                weights,
                own: watched.own,
                prompts: rows - watched.own,
                prefix: columns - rows,
            });
        };
        let part = [Samples { model: self, samples: 0..batch }];
        pass::encode(&part, &embedded, None, (&mut Phase::Evaluation, &mut watch))?;
        let tasks: Vec<String> =
            self.task_prompts.iter().map(|(task, _)| task.to_owned()).collect();
        let Embedded { layout, .. } = embedded;
        Ok((by_task(seen, &tasks, batch), layout))
    }
}

/// Takes the passes of several tasks apart, which were one batch.
fn by_task(seen: Vec<BlockAttention>, tasks: &[String], batch: usize) -> Vec<BlockAttention> {
    seen.into_iter()
        .flat_map(|attention| {
            let all = attention.weights.dims()[0];
            if all == batch || tasks.is_empty() {
                return vec![attention];
            }
            let one = |(at, task): (usize, &String)| BlockAttention {
                task: Some(task.clone()),
                weights: attention.weights.clone().narrow(0, at * batch, batch),
                ..attention.clone()
            };
            tasks.iter().enumerate().map(one).collect()
        })
        .collect()
}
