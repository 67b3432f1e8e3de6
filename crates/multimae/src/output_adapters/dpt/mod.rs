//! The head of dense prediction transformers (Ranftl et al., 2021, arXiv 2103.13413).

mod aliases;
mod fusion;

pub use aliases::{merge_aliases, with_aliases};
pub use fusion::{FusionBlock, ResidualUnit};

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation};
use serde::{Deserialize, Serialize};

use super::{HeadContext, Prediction};
use crate::Result;
use crate::encoder::Phase;
use crate::encoder_output::{EncoderOutput, Source};
use crate::interpolate::{Interpolation, resize};
use crate::modality::Size;
use crate::nn::{Conv2d, ModuleMap, Upconv2d, dropout};
use fusion::double;

/// Hidden channels before the last map of values.
const REGRESSION_HIDDEN: usize = 32;
/// Dropout before the last map of classes.
const SEMSEG_DROPOUT: f64 = 0.1;

/// The last layers of a [`DptHead`].
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DptOutput {
    /// Real values, without activation.
    Regression,
    /// Logits of classes.
    Semseg,
}

/// The sizes of a [`DptHead`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DptConfig {
    /// Channels of the values, or number of classes.
    pub num_classes: usize,
    /// The last layers.
    pub head_type: DptOutput,
    /// The four blocks whose outputs are fused, counted from 0, early to late.
    #[serde(default = "default_hooks")]
    pub hooks: [usize; 4],
    /// Channels of the four maps before they are brought to the same width.
    #[serde(default = "default_layer_dims")]
    pub layer_dims: [usize; 4],
    /// Channels of the fusion, an even number.
    #[serde(default = "default_feature_dim")]
    pub feature_dim: usize,
}

fn default_hooks() -> [usize; 4] {
    [2, 5, 8, 11]
}

fn default_layer_dims() -> [usize; 4] {
    [96, 192, 384, 768]
}

fn default_feature_dim() -> usize {
    256
}

impl DptConfig {
    /// The published sizes, for an encoder of twelve blocks.
    #[must_use]
    pub fn new(num_classes: usize, head_type: DptOutput) -> Self {
        Self {
            num_classes,
            head_type,
            hooks: default_hooks(),
            layer_dims: default_layer_dims(),
            feature_dim: default_feature_dim(),
        }
    }
}

/// A layer that brings tokens to a map of another size.
#[derive(Module, Debug)]
pub enum Reassembly {
    /// 1x1, or 3x3 with stride 2.
    Conv(Conv2d),
    /// Upwards by its kernel.
    Up(Upconv2d),
}

impl Reassembly {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(conv) => conv.forward(x),
            Self::Up(conv) => conv.forward(x),
        }
    }
}

/// The layers that bring the four maps to one width and fuse them.
#[derive(Module, Debug)]
pub struct Scratch {
    /// 3x3 without bias, of the finest map.
    pub layer1_rn: Conv2d,
    /// 3x3 without bias.
    pub layer2_rn: Conv2d,
    /// 3x3 without bias.
    pub layer3_rn: Conv2d,
    /// 3x3 without bias, of the coarsest map.
    pub layer4_rn: Conv2d,
    /// The last fusion.
    pub refinenet1: FusionBlock,
    /// The third fusion.
    pub refinenet2: FusionBlock,
    /// The second fusion.
    pub refinenet3: FusionBlock,
    /// The first, of the coarsest map alone.
    pub refinenet4: FusionBlock,
}

impl Scratch {
    fn new(layer_dims: [usize; 4], features: usize, device: &Device) -> Self {
        let [layer1_rn, layer2_rn, layer3_rn, layer4_rn] =
            layer_dims.map(|channels| Conv2d::new(channels, features, 3, device).without_bias());
        let fusion = || FusionBlock::new(features, device);
        Self {
            layer1_rn,
            layer2_rn,
            layer3_rn,
            layer4_rn,
            refinenet1: fusion(),
            refinenet2: fusion(),
            refinenet3: fusion(),
            refinenet4: fusion(),
        }
    }

    /// # Shapes
    /// Maps of 4, 2, 1 and 1/2 times the token grid to `(B, features, 8 h, 8 w)`.
    fn forward(&self, [x1, x2, x3, x4]: [Tensor<4>; 4]) -> Tensor<4> {
        let x = self.refinenet4.forward(self.layer4_rn.forward(x4), None);
        let x = self.refinenet3.forward(x, Some(self.layer3_rn.forward(x3)));
        let x = self.refinenet2.forward(x, Some(self.layer2_rn.forward(x2)));
        self.refinenet1.forward(x, Some(self.layer1_rn.forward(x1)))
    }
}

/// Maps of four layers at four sizes, fused from coarse to fine.
#[derive(Module, Debug)]
pub struct DptHead {
    /// Bringing to one width, and fusion.
    pub scratch: Scratch,
    /// The last convolutions, under their index in the published sequence.
    pub head: ModuleMap<Conv2d>,
    /// First hook to 4 times the grid.
    pub act_1_postprocess: Vec<Reassembly>,
    /// Second hook to 2 times the grid.
    pub act_2_postprocess: Vec<Reassembly>,
    /// Third hook, as large as the grid.
    pub act_3_postprocess: Vec<Reassembly>,
    /// Fourth hook to half the grid.
    pub act_4_postprocess: Vec<Reassembly>,
    hooks: [usize; 4],
    #[module(skip)]
    output: DptOutput,
    #[module(skip)]
    source: Source,
}

impl DptHead {
    /// A head of zeros.
    ///
    /// # Errors
    /// If a hook is no block of the encoder, or the width of the fusion is odd.
    pub fn new(config: &DptConfig, around: HeadContext<'_>, device: &Device) -> Result<Self> {
        around.check_hooks(&config.hooks)?;
        let features = config.feature_dim;
        if features == 0 || !features.is_multiple_of(2) {
            return Err(around.error(&format!("feature_dim {features} must be even")));
        }
        let dims = config.layer_dims;
        let point = |k: usize| Reassembly::Conv(Conv2d::new(around.channels(), dims[k], 1, device));
        let up = |k: usize, factor| Reassembly::Up(Upconv2d::new(dims[k], dims[k], factor, device));
        let down = Conv2d::new(dims[3], dims[3], 3, device).with_stride(2);
        Ok(Self {
            scratch: Scratch::new(dims, features, device),
            head: last_layers(config, device),
            act_1_postprocess: vec![point(0), up(0, 4)],
            act_2_postprocess: vec![point(1), up(1, 2)],
            act_3_postprocess: vec![point(2)],
            act_4_postprocess: vec![point(3), Reassembly::Conv(down)],
            hooks: config.hooks,
            output: config.head_type,
            source: around.source(),
        })
    }

    /// # Shapes
    /// Layers `(B, S + G, encoder width)` to `(B, channels, H, W)`.
    ///
    /// # Errors
    /// If a main modality is not among the inputs, or a side of the token grid is odd.
    pub fn forward(&self, output: &EncoderOutput, phase: &mut Phase<'_>) -> Result<Prediction> {
        self.check_grid(output)?;
        let [k1, k2, k3, k4] = self.hooks;
        let fused = self.scratch.forward([
            self.reassemble(output, k1, &self.act_1_postprocess)?,
            self.reassemble(output, k2, &self.act_2_postprocess)?,
            self.reassemble(output, k3, &self.act_3_postprocess)?,
            self.reassemble(output, k4, &self.act_4_postprocess)?,
        ]);
        let maps = self.finish(fused, phase);
        // The fusion ends at 16 times the grid: the image, but for patches of another size.
        Ok(Prediction::Maps(resize(maps, output.image_size, Interpolation::Bilinear)))
    }

    fn reassemble(
        &self,
        output: &EncoderOutput,
        hook: usize,
        layers: &[Reassembly],
    ) -> Result<Tensor<4>> {
        let maps = self.source.maps(output, hook)?;
        Ok(layers.iter().fold(maps, |x, layer| layer.forward(x)))
    }

    /// # Shapes
    /// `(B, features, 8 h, 8 w)` to `(B, channels, 16 h, 16 w)`.
    fn finish(&self, fused: Tensor<4>, phase: &mut Phase<'_>) -> Tensor<4> {
        let layer = |name: &str, x: Tensor<4>| match self.head.get(name) {
            Some(conv) => conv.forward(x),
            None => x,
        };
        match self.output {
            DptOutput::Regression => {
                let x = double(layer("0", fused));
                layer("4", activation::relu(layer("2", x)))
            }
            DptOutput::Semseg => {
                let x = activation::relu(layer("0", fused));
                double(layer("4", dropout(x, SEMSEG_DROPOUT, phase)))
            }
        }
    }

    /// Halving and doubling an odd side does not give the side back.
    fn check_grid(&self, output: &EncoderOutput) -> Result<()> {
        let (grid, image) = (output.layout.grid, output.image_size);
        if grid.height.is_multiple_of(2) && grid.width.is_multiple_of(2) {
            return Ok(());
        }
        let even = |cells: usize, side: usize| side / cells * cells.next_multiple_of(2);
        let fit = Size::new(even(grid.height, image.height), even(grid.width, image.width));
        Err(self.source.error(format!(
            "a DPT head needs an even number of patches on each side, an image of {image} has a \
             grid of {grid}; pad or resize the images, e.g. to {fit}"
        )))
    }
}

/// The convolutions after the fusion.
fn last_layers(config: &DptConfig, device: &Device) -> ModuleMap<Conv2d> {
    let (features, outputs) = (config.feature_dim, config.num_classes);
    let layers = match config.head_type {
        DptOutput::Regression => vec![
            ("0", Conv2d::new(features, features / 2, 3, device)),
            ("2", Conv2d::new(features / 2, REGRESSION_HIDDEN, 3, device)),
            ("4", Conv2d::new(REGRESSION_HIDDEN, outputs, 1, device)),
        ],
        DptOutput::Semseg => vec![
            ("0", Conv2d::new(features, features, 3, device).without_bias()),
            ("4", Conv2d::new(features, outputs, 1, device)),
        ],
    };
    layers.into_iter().map(|(name, layer)| (name.to_owned(), layer)).collect()
}
