//! Norms that prompts condition.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::Prompts;
use crate::nn::Linear;

/// Scale and shift behind the norms of some blocks, made from a sample's prompts: adaptive
/// LayerNorm that begins without effect (adaLN-Zero; Peebles and Xie, 2023), of low rank. With a
/// pool, samples that choose other prompts have other norms.
#[derive(Module, Debug)]
pub struct PromptNorms {
    /// The mean prompt to the rank.
    pub down: Linear,
    /// The rank to four rows per block; zero at the beginning.
    pub up: Linear,
    layers: usize,
}

impl PromptNorms {
    /// Norms of `layers` blocks from the first on.
    #[must_use]
    pub fn new(layers: usize, width: usize, rank: usize, device: &Device) -> Self {
        Self {
            down: Linear::new(width, rank, device).without_bias(),
            up: Linear::new(rank, layers * 4 * width, device).without_bias(),
            layers,
        }
    }

    /// The norms of samples with these prompts; none without prompts.
    #[must_use]
    pub fn forward(&self, prompts: &[Prompts]) -> Option<Prompts> {
        let means: Vec<Tensor<2>> = prompts.iter().filter_map(Prompts::mean).collect();
        let count = means.len() as f64;
        let mean = means.into_iter().reduce(|sum, more| sum + more)?.div_scalar(count);
        let [batch, width] = mean.dims();
        let rows = self.up.forward(self.down.forward(mean));
        Some(Prompts::Norms { first: 0, modulation: rows.reshape([batch, self.layers, 4, width]) })
    }
}
