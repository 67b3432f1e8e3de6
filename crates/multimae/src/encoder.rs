//! The transformer encoder: tokens in, the outputs of every layer out.

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::limits::{check_depth, check_width};
use crate::nn::{Block, BlockConditioning, BlockConfig};
pub use crate::phase::Phase;
use crate::{Error, Result};

/// The sizes of an encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderConfig {
    /// Embedding dimension.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden dimension of the MLPs divided by the embedding dimension.
    pub mlp_ratio: f64,
    /// Stochastic depth of the last block; it rises linearly from 0 at the first.
    pub drop_path: f64,
}

impl EncoderConfig {
    /// Embedding dimension, depth and heads; MLPs with four times the dimension, no stochastic
    /// depth.
    #[must_use]
    pub fn new(width: usize, depth: usize, heads: usize) -> Self {
        Self { width, depth, heads, mlp_ratio: 4.0, drop_path: 0.0 }
    }

    /// ViT-Tiny: 192 wide, 12 blocks, 3 heads.
    #[must_use]
    pub fn tiny() -> Self {
        Self::new(192, 12, 3)
    }

    /// ViT-Small: 384 wide, 12 blocks, 6 heads.
    #[must_use]
    pub fn small() -> Self {
        Self::new(384, 12, 6)
    }

    /// ViT-Base: 768 wide, 12 blocks, 12 heads.
    #[must_use]
    pub fn base() -> Self {
        Self::new(768, 12, 12)
    }

    /// ViT-Large: 1024 wide, 24 blocks, 16 heads.
    #[must_use]
    pub fn large() -> Self {
        Self::new(1024, 24, 16)
    }

    /// The sizes of one block.
    ///
    /// # Errors
    /// If the heads do not divide the width, or a size is larger than that of any known model.
    pub fn block(&self) -> Result<BlockConfig> {
        check_heads("encoder", self.width, self.heads)?;
        check_depth("encoder", self.depth)?;
        check_width("encoder", self.width)?;
        let block = BlockConfig { width: self.width, heads: self.heads, mlp_ratio: self.mlp_ratio };
        check_width("encoder, hidden", block.hidden())?;
        Ok(block)
    }

    /// All blocks, of zeros.
    ///
    /// # Errors
    /// If the heads do not divide the width.
    pub(crate) fn blocks(&self, device: &Device) -> Result<Vec<Block>> {
        let block = self.block()?;
        Ok((0..self.depth).map(|_| Block::new(block, device)).collect())
    }

    /// Stochastic depth of every block: `linspace(0, drop_path, depth)`.
    #[must_use]
    pub fn drop_path_rates(&self) -> Vec<f64> {
        drop_path_ramp(self.drop_path, self.depth)
    }
}

/// Stochastic depth of a stack of blocks: `linspace(0, last, depth)`.
pub(crate) fn drop_path_ramp(last: f64, depth: usize) -> Vec<f64> {
    let steps = depth.saturating_sub(1).max(1) as f64;
    (0..depth).map(|i| last * i as f64 / steps).collect()
}

pub(crate) fn check_heads(part: &str, width: usize, heads: usize) -> Result<()> {
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err(Error::Config(format!(
            "{part}: {heads} heads do not divide the width {width}"
        )));
    }
    Ok(())
}

/// Runs blocks over tokens and returns the output of every block. There is no final norm.
///
/// # Shapes
/// `(B, N, width)` to one `(B, N, width)` per block.
#[must_use]
pub fn encode(
    blocks: &[Block],
    tokens: Tensor<3>,
    drop_path_rates: &[f64],
    phase: &mut Phase<'_>,
) -> Vec<Tensor<3>> {
    let mut layers: Vec<Tensor<3>> = Vec::with_capacity(blocks.len());
    let mut x = tokens;
    for (block, &rate) in blocks.iter().zip(drop_path_rates) {
        x = block.forward_conditioned(x, BlockConditioning::default(), rate, phase);
        layers.push(x.clone());
    }
    layers
}
