//! A ladder beside an encoder.
//!
//! It reads the outputs that some blocks have without prompts, and changes what heads read of them. No gradient flows
//! from it into the encoder: where nothing else is trained, blocks store nothing for a backward pass, and their outputs
//! can be kept (ladder side-tuning: Sung et al.,
//! arXiv 2206.06522; with convolutions of every channel by itself, as E3VA has them, arXiv 2306.09729). Beside prompts
//! of the last blocks it is the other half of a split encoder, which tunes a copy of them and reads the frozen ones
//! too (ViT-Split, arXiv 2506.03433).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use multimae_kernels::ops;
use serde::{Deserialize, Serialize};

use crate::encoder_output::{maps_to_tokens, tokens_to_maps};
use crate::limits::check_width;
use crate::nn::{Conv2d, LayerNorm, Linear};
use crate::tokens::TokenLayout;
use crate::{Error, Result};

/// The sizes of a side network.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideConfig {
    /// Channels of the ladder.
    #[serde(default = "default_width")]
    pub width: usize,
    /// The blocks whose outputs it reads, counted from 0, besides those that heads read.
    #[serde(default)]
    pub taps: Vec<usize>,
}

impl Default for SideConfig {
    fn default() -> Self {
        Self { width: default_width(), taps: Vec::new() }
    }
}

fn default_width() -> usize {
    32
}

impl SideConfig {
    /// # Errors
    /// Names the size that does not fit an encoder of `depth` blocks.
    pub fn check(&self, depth: usize) -> Result<()> {
        if self.width == 0 {
            return Err(Error::Config("`side.width`: at least 1".to_owned()));
        }
        check_width("side network", self.width)?;
        match self.taps.iter().find(|tap| **tap >= depth) {
            Some(tap) => Err(Error::Config(format!(
                "`side.taps`: {tap} is no block of an encoder of {depth} blocks, which are counted from 0"
            ))),
            None => Ok(()),
        }
    }
}

/// The part of a side network at one block: `s = s + down(norm(x))`, then
/// `s + pointwise(gelu(depthwise 3x3(s)))`.
#[derive(Module, Debug)]
pub struct SideRung {
    /// Layers of an encoder differ in scale.
    pub norm: LayerNorm,
    /// The encoder's width to the ladder's.
    pub down: Linear,
    /// 3x3 over the map of patches.
    pub depthwise: Conv2d,
    /// Over the channels.
    pub pointwise: Linear,
    /// The ladder's width to the encoder's, where a head reads the block; zero at the beginning.
    pub up: Option<Linear>,
}

impl SideRung {
    fn new((encoder, width): (usize, usize), is_read: bool, device: &Device) -> Self {
        Self {
            norm: LayerNorm::new(encoder, device),
            down: Linear::new(encoder, width, device),
            depthwise: Conv2d::depthwise(width, 3, device),
            pointwise: Linear::new(width, width, device),
            up: is_read.then(|| Linear::new(width, encoder, device)),
        }
    }
}

/// A ladder of [rungs](SideRung), one per block that it reads. Each modality's patches are a map of their own.
#[derive(Module, Debug)]
pub struct SideNetwork {
    /// In the order of their blocks.
    pub rungs: Vec<SideRung>,
    blocks: Vec<usize>,
}

impl SideNetwork {
    /// A ladder of zeros for an encoder of this width whose blocks `read` are read by heads.
    #[must_use]
    pub fn new(config: &SideConfig, encoder: usize, read: &[usize], device: &Device) -> Self {
        let mut blocks = [read, config.taps.as_slice()].concat();
        blocks.sort_unstable();
        blocks.dedup();
        let rung = |block| SideRung::new((encoder, config.width), read.contains(block), device);
        Self { rungs: blocks.iter().map(rung).collect(), blocks }
    }

    /// The blocks whose outputs it reads, in order.
    #[must_use]
    pub fn blocks(&self) -> &[usize] {
        &self.blocks
    }

    /// The changes of the outputs that heads read, with their blocks; `layer` gives the output of a block without
    /// prompts, into which no gradient flows.
    ///
    /// # Shapes
    /// `(B, S + G, width)` to `(B, S, width)`.
    ///
    /// # Errors
    /// Those of `layer`.
    pub(super) fn changes(
        &self,
        layer: impl Fn(usize) -> Result<Tensor<3>>,
        layout: &TokenLayout,
    ) -> Result<Vec<(usize, Tensor<3>)>> {
        let (patches, grid) = (layout.num_tokens(), layout.grid);
        let mut state: Option<Tensor<3>> = None;
        let mut changes = Vec::new();
        for (rung, &block) in self.rungs.iter().zip(&self.blocks) {
            let tokens = layer(block)?.detach().narrow(1, 0, patches);
            let [batch, _, width] = tokens.dims();
            let maps = [batch * patches / grid.area().max(1), grid.area()];
            let own = rung.down.forward_normed(&rung.norm, tokens);
            let [_, _, narrow] = own.dims();
            let own = own.reshape([maps[0], maps[1], narrow]);
            let sum = match state.take() {
                Some(state) => state + own,
                None => own,
            };
            let mixed = rung.depthwise.forward(tokens_to_maps(sum.clone(), grid));
            let next = sum + rung.pointwise.forward(maps_to_tokens(ops::gelu(mixed)));
            if let Some(up) = &rung.up {
                changes.push((block, up.forward(next.clone()).reshape([batch, patches, width])));
            }
            state = Some(next);
        }
        Ok(changes)
    }
}
