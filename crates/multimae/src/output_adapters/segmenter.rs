//! The mask transformer head of semantic segmentation (Strudel et al., 2021, arXiv 2105.05633).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{HeadContext, Prediction};
use crate::Result;
use crate::encoder::{Phase, check_heads, drop_path_ramp, encode};
use crate::encoder_output::{EncoderOutput, Source, tokens_to_maps};
use crate::interpolate::{Interpolation, resize};
use crate::limits::check_depth;
use crate::nn::{Block, BlockConfig, LayerNorm, Linear, parameter};

/// Vectors shorter than this are not scaled up to length one.
const NORM_EPS: f64 = 1e-12;

/// The sizes of a [`SegmenterHead`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmenterConfig {
    /// Number of classes.
    pub num_classes: usize,
    /// Transformer blocks.
    #[serde(default = "default_depth")]
    pub depth: usize,
    /// Attention heads.
    #[serde(default = "default_heads")]
    pub heads: usize,
    /// Width of the head's tokens.
    #[serde(default = "default_width")]
    pub embed_dim: usize,
    /// Hidden dimension of the MLPs divided by the embedding dimension.
    #[serde(default = "default_mlp_ratio")]
    pub mlp_ratio: f64,
    /// Stochastic depth of the last block; it rises linearly from 0 at the first.
    #[serde(default = "default_drop_path")]
    pub drop_path: f64,
}

fn default_depth() -> usize {
    2
}

fn default_heads() -> usize {
    12
}

fn default_width() -> usize {
    768
}

fn default_mlp_ratio() -> f64 {
    4.0
}

fn default_drop_path() -> f64 {
    0.1
}

impl SegmenterConfig {
    /// The published sizes.
    #[must_use]
    pub fn new(num_classes: usize) -> Self {
        Self {
            num_classes,
            depth: default_depth(),
            heads: default_heads(),
            embed_dim: default_width(),
            mlp_ratio: default_mlp_ratio(),
            drop_path: default_drop_path(),
        }
    }
}

/// Blocks over patches and class tokens together; a mask is how alike a class token is to every
/// patch.
#[derive(Module, Debug)]
pub struct SegmenterHead {
    /// `(1, classes, width)`.
    pub cls_emb: Param<Tensor<3>>,
    /// Of the patches, no bias.
    pub patch_proj: Linear,
    /// Of the class tokens, no bias.
    pub classes_proj: Linear,
    /// Over patches and class tokens.
    pub blocks: Vec<Block>,
    /// After the blocks.
    pub decoder_norm: LayerNorm,
    /// Over the classes of a patch.
    pub mask_norm: LayerNorm,
    /// The encoder's width to the head's.
    pub proj_dec: Linear,
    drop_path: f64,
    #[module(skip)]
    source: Source,
}

impl SegmenterHead {
    /// A head of zeros.
    ///
    /// # Errors
    /// If the heads do not divide the width, or there is no class.
    pub fn new(config: &SegmenterConfig, around: HeadContext<'_>, device: &Device) -> Result<Self> {
        let (width, classes) = (config.embed_dim, config.num_classes);
        check_heads(&format!("head `{}`", around.name), width, config.heads)?;
        check_depth(&format!("head `{}`", around.name), config.depth)?;
        if classes == 0 {
            return Err(around.error("num_classes must be at least 1"));
        }
        let block = BlockConfig { width, heads: config.heads, mlp_ratio: config.mlp_ratio };
        Ok(Self {
            cls_emb: parameter([1, classes, width], device),
            patch_proj: Linear::new(width, width, device).without_bias(),
            classes_proj: Linear::new(width, width, device).without_bias(),
            blocks: (0..config.depth).map(|_| Block::new(block, device)).collect(),
            decoder_norm: LayerNorm::new(width, device),
            mask_norm: LayerNorm::new(classes, device),
            proj_dec: Linear::new(around.channels(), width, device),
            drop_path: config.drop_path,
            source: around.source(),
        })
    }

    /// # Shapes
    /// Last layer `(B, S + G, encoder width)` to logits `(B, classes, H, W)`.
    ///
    /// # Errors
    /// If a main modality is not among the inputs.
    pub fn forward(&self, output: &EncoderOutput, phase: &mut Phase<'_>) -> Result<Prediction> {
        let tokens = self.source.tokens(output, self.source.last(output)?)?;
        let patches = self.proj_dec.forward(tokens);
        let [batch, count, width] = patches.dims();
        let [_, classes, _] = self.cls_emb.dims();
        let class_tokens = self.cls_emb.val().expand([batch, classes, width]);
        let x = Tensor::cat(vec![patches, class_tokens], 1);
        let rates = drop_path_ramp(self.drop_path, self.blocks.len());
        let x = encode(&self.blocks, x.clone(), &rates, phase).pop().unwrap_or(x);
        let x = self.decoder_norm.forward(x);
        let patches = unit(self.patch_proj.forward(x.clone().narrow(1, 0, count)));
        let class_tokens = unit(self.classes_proj.forward(x.narrow(1, count, classes)));
        let masks = self.mask_norm.forward(patches.matmul(class_tokens.swap_dims(1, 2)));
        let maps = tokens_to_maps(masks, output.layout.grid);
        Ok(Prediction::Maps(resize(maps, output.image_size, Interpolation::Bilinear)))
    }
}

/// Every token scaled to length one.
fn unit(tokens: Tensor<3>) -> Tensor<3> {
    let length = tokens.clone().square().sum_dim(2).sqrt().clamp_min(NORM_EPS);
    tokens / length
}
