//! The ConvNeXt head of dense prediction (blocks of Liu et al., 2022, arXiv 2201.03545).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use multimae_kernels::ops;
use serde::{Deserialize, Serialize};

use super::{HeadContext, Prediction};
use crate::Result;
use crate::encoder::Phase;
use crate::encoder_output::{EncoderOutput, Source};
use crate::interpolate::{Interpolation, resize};
use crate::limits::check_depth;
use crate::modality::Size;
use crate::nn::{Conv2d, LayerNorm, Linear};

/// Side of the depthwise kernels.
const KERNEL: usize = 7;
/// Hidden channels of a block over its channels.
const EXPANSION: usize = 4;

/// The upsampling of the prediction to the image's resolution.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upsampling {
    /// Linear between pixel centres.
    #[default]
    Bilinear,
    /// Repeating pixels.
    Nearest,
}

/// The sizes of a [`ConvNeXtHead`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConvNeXtConfig {
    /// Number of classes, or channels of the values.
    pub num_classes: usize,
    /// Width that a token is projected to before it is spread over its sub-patches.
    #[serde(default = "default_width")]
    pub embed_dim: usize,
    /// Sub-patches per token, a square number; each has `embed_dim / preds_per_patch` channels.
    #[serde(default = "default_preds_per_patch")]
    pub preds_per_patch: usize,
    /// ConvNeXt blocks.
    #[serde(default = "default_depth")]
    pub depth: usize,
    /// The upsampling of the prediction to the image's resolution.
    #[serde(default)]
    pub interpolate_mode: Upsampling,
}

fn default_width() -> usize {
    6144
}

fn default_preds_per_patch() -> usize {
    16
}

fn default_depth() -> usize {
    4
}

impl ConvNeXtConfig {
    /// The published sizes.
    #[must_use]
    pub fn new(num_classes: usize) -> Self {
        Self {
            num_classes,
            embed_dim: default_width(),
            preds_per_patch: default_preds_per_patch(),
            depth: default_depth(),
            interpolate_mode: Upsampling::default(),
        }
    }
}

/// `x + MLP(LN(depthwise 7x7(x)))`, the norm and the MLP over the channels.
#[derive(Module, Debug)]
pub struct ConvNeXtBlock {
    /// Depthwise 7x7.
    pub dwconv: Conv2d,
    /// Over the channels.
    pub norm: LayerNorm,
    /// Channels to hidden channels.
    pub pwconv1: Linear,
    /// Hidden channels to channels.
    pub pwconv2: Linear,
}

impl ConvNeXtBlock {
    fn new(channels: usize, device: &Device) -> Self {
        let hidden = EXPANSION * channels;
        Self {
            dwconv: Conv2d::depthwise(channels, KERNEL, device),
            norm: LayerNorm::new(channels, device),
            pwconv1: Linear::new(channels, hidden, device),
            pwconv2: Linear::new(hidden, channels, device),
        }
    }

    /// # Shapes
    /// `(B, C, h, w)` to `(B, C, h, w)`.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        // One row per pixel: products of maps would be made row by row of the image, and the
        // gradient of a weight as often.
        let area = height * width;
        let maps = self.dwconv.forward(x.clone()).reshape([batch, channels, area, 1]);
        let pixels = ops::swap_axes(maps).reshape([batch * area, channels]);
        let y = Linear::norm_mlp(&self.norm, (&self.pwconv1, &self.pwconv2), pixels)
            .reshape([batch, area, channels, 1]);
        x + ops::swap_axes(y).reshape([batch, channels, height, width])
    }
}

/// Every token spread over a square of sub-patches, ConvNeXt blocks over those, a linear map per
/// sub-patch, and the resize to the image.
#[derive(Module, Debug)]
pub struct ConvNeXtHead {
    /// The blocks.
    pub blocks: Vec<ConvNeXtBlock>,
    /// 1x1, channels to classes.
    pub final_layer: Conv2d,
    /// The encoder's width to the width of a token's sub-patches together.
    pub proj_dec: Linear,
    /// Sub-patches per side of a patch.
    side: usize,
    #[module(skip)]
    upsampling: Upsampling,
    #[module(skip)]
    source: Source,
}

impl ConvNeXtHead {
    /// A head of zeros.
    ///
    /// # Errors
    /// If `preds_per_patch` is no square number or does not divide the width.
    pub fn new(config: &ConvNeXtConfig, around: HeadContext<'_>, device: &Device) -> Result<Self> {
        let (width, parts) = (config.embed_dim, config.preds_per_patch);
        let side = parts.isqrt();
        if parts == 0 || side * side != parts {
            return Err(around.error(&format!("preds_per_patch {parts} is no square number")));
        }
        if width == 0 || !width.is_multiple_of(parts) {
            return Err(around.error(&format!(
                "embed_dim {width} must be a multiple of preds_per_patch {parts}"
            )));
        }
        check_depth(&format!("head `{}`", around.name), config.depth)?;
        let channels = width / parts;
        Ok(Self {
            blocks: (0..config.depth).map(|_| ConvNeXtBlock::new(channels, device)).collect(),
            final_layer: Conv2d::new(channels, config.num_classes, 1, device),
            proj_dec: Linear::new(around.channels(), width, device),
            side,
            upsampling: config.interpolate_mode,
            source: around.source(),
        })
    }

    /// # Shapes
    /// Last layer `(B, S + G, encoder width)` to `(B, classes, H, W)`.
    ///
    /// # Errors
    /// If a main modality is not among the inputs.
    pub fn forward(&self, output: &EncoderOutput, _phase: &mut Phase<'_>) -> Result<Prediction> {
        let tokens = self.source.tokens(output, self.source.last(output)?)?;
        let x = self.spread(self.proj_dec.forward(tokens), output.layout.grid);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let method = match self.upsampling {
            Upsampling::Bilinear => Interpolation::Bilinear,
            Upsampling::Nearest => Interpolation::Nearest,
        };
        Ok(Prediction::Maps(resize(self.final_layer.forward(x), output.image_size, method)))
    }

    /// Tokens to maps of their sub-patches. A token's values are ordered
    /// `(row, column, channel)` of its sub-patches.
    ///
    /// # Shapes
    /// `(B, N, side * side * C)` to `(B, C, side * h, side * w)`.
    fn spread(&self, tokens: Tensor<3>, grid: Size) -> Tensor<4> {
        let [batch, _, width] = tokens.dims();
        let side = self.side;
        let channels = width / (side * side);
        let (height, width) = (grid.height * side, grid.width * side);
        let rows = tokens.reshape([batch * grid.height, grid.width, side, side * channels]);
        let pixels = ops::swap_axes(rows).reshape([batch, height * width, channels, 1]);
        ops::swap_axes(pixels).reshape([batch, channels, height, width])
    }
}
