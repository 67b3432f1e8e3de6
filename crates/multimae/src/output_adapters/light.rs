//! A narrow head for parameter-efficient tuning; ours, not a published one.
//!
//! With a frozen encoder the heads are most of what is trained and stored per task. This one reads
//! the same four layers as DPT, and with a ViT-B has less than half a million parameters.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use multimae_kernels::ops;
use serde::{Deserialize, Serialize};

use super::{HeadContext, Prediction};
use crate::Result;
use crate::encoder::Phase;
use crate::encoder_output::{EncoderOutput, Source, tokens_to_maps};
use crate::interpolate::{Interpolation, resize};
use crate::limits::check_depth;
use crate::modality::Size;
use crate::nn::{Conv2d, LayerNorm, Linear};

/// The sizes of a [`LightHead`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LightConfig {
    /// Channels of the values, or number of classes.
    pub num_classes: usize,
    /// The blocks whose outputs are added up, counted from 0.
    #[serde(default = "default_hooks")]
    pub hooks: Vec<usize>,
    /// Channels of the head.
    #[serde(default = "default_width")]
    pub width: usize,
    /// Doublings of the resolution, each followed by a separable convolution.
    #[serde(default = "default_depth")]
    pub depth: usize,
}

fn default_hooks() -> Vec<usize> {
    vec![2, 5, 8, 11]
}

fn default_width() -> usize {
    128
}

fn default_depth() -> usize {
    2
}

impl LightConfig {
    /// The sizes for an encoder of twelve blocks.
    #[must_use]
    pub fn new(num_classes: usize) -> Self {
        Self { num_classes, hooks: default_hooks(), width: default_width(), depth: default_depth() }
    }
}

/// One layer's tokens, normalised and projected to the head's width.
#[derive(Module, Debug)]
pub struct LightInput {
    /// Layers of an encoder differ in scale.
    pub norm: LayerNorm,
    /// The encoder's width to the head's.
    pub linear: Linear,
}

/// `x + pointwise(gelu(depthwise 3x3(x)))` after doubling the size.
#[derive(Module, Debug)]
pub struct LightBlock {
    /// 3x3.
    pub depthwise: Conv2d,
    /// 1x1.
    pub pointwise: Conv2d,
}

impl LightBlock {
    fn new(width: usize, device: &Device) -> Self {
        Self {
            depthwise: Conv2d::depthwise(width, 3, device),
            pointwise: Conv2d::new(width, width, 1, device),
        }
    }

    /// # Shapes
    /// `(B, C, h, w)` to `(B, C, 2 h, 2 w)`.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let x = resize(x, Size::new(2 * height, 2 * width), Interpolation::Bilinear);
        let y = ops::gelu(self.depthwise.forward(x.clone()));
        x + self.pointwise.forward(y)
    }
}

/// The sum of projected layers, separable convolutions while the resolution grows, a linear map
/// per pixel, and the resize to the image.
#[derive(Module, Debug)]
pub struct LightHead {
    /// One per hook.
    pub inputs: Vec<LightInput>,
    /// One per doubling.
    pub blocks: Vec<LightBlock>,
    /// 1x1, channels to classes.
    pub output: Conv2d,
    hooks: Vec<usize>,
    #[module(skip)]
    source: Source,
}

impl LightHead {
    /// A head of zeros.
    ///
    /// # Errors
    /// If there is no hook, or one is no block of the encoder.
    pub fn new(config: &LightConfig, around: HeadContext<'_>, device: &Device) -> Result<Self> {
        if config.hooks.is_empty() {
            return Err(around.error("at least one hook is needed"));
        }
        around.check_hooks(&config.hooks)?;
        check_depth(&format!("head `{}`", around.name), config.depth)?;
        let (channels, width) = (around.channels(), config.width);
        let input = |_| LightInput {
            norm: LayerNorm::new(channels, device),
            linear: Linear::new(channels, width, device),
        };
        Ok(Self {
            inputs: config.hooks.iter().map(input).collect(),
            blocks: (0..config.depth).map(|_| LightBlock::new(width, device)).collect(),
            output: Conv2d::new(width, config.num_classes, 1, device),
            hooks: config.hooks.clone(),
            source: around.source(),
        })
    }

    /// # Shapes
    /// Layers `(B, S + G, encoder width)` to `(B, channels, H, W)`.
    ///
    /// # Errors
    /// If a main modality is not among the inputs.
    pub fn forward(&self, output: &EncoderOutput, _phase: &mut Phase<'_>) -> Result<Prediction> {
        let sum = self
            .inputs
            .iter()
            .zip(&self.hooks)
            .map(|(input, &hook)| {
                let tokens = self.source.tokens(output, self.source.layer(output, hook)?)?;
                Ok(input.linear.forward(input.norm.forward(tokens)))
            })
            .reduce(|sum: Result<Tensor<3>>, tokens| Ok(sum? + tokens?))
            .unwrap_or_else(|| Err(self.source.error("has no hook".to_owned())))?;
        let x = tokens_to_maps(sum, output.layout.grid);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let maps = self.output.forward(x);
        Ok(Prediction::Maps(resize(maps, output.image_size, Interpolation::Bilinear)))
    }
}
