//! The linear head of image classification.

use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{HeadContext, Prediction};
use crate::Result;
use crate::encoder::Phase;
use crate::encoder_output::{EncoderOutput, Source};
use crate::nn::{LayerNorm, Linear};

/// The sizes of a [`LinearHead`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearConfig {
    /// Number of classes.
    pub num_classes: usize,
    /// Classify the mean of all tokens, global ones included; otherwise the last token, which is
    /// a global one.
    #[serde(default = "default_mean_pooling")]
    pub use_mean_pooling: bool,
}

fn default_mean_pooling() -> bool {
    true
}

/// LayerNorm and one linear map over a summary of the last layer.
#[derive(Module, Debug)]
pub struct LinearHead {
    /// Of the summary.
    pub norm: LayerNorm,
    /// Width to classes.
    pub head: Linear,
    use_mean_pooling: bool,
    #[module(skip)]
    source: Source,
}

impl LinearHead {
    /// A head of zeros.
    ///
    /// # Errors
    /// If there is no class.
    pub fn new(config: &LinearConfig, around: HeadContext<'_>, device: &Device) -> Result<Self> {
        if config.num_classes == 0 {
            return Err(around.error("num_classes must be at least 1"));
        }
        Ok(Self {
            norm: LayerNorm::new(around.encoder_width, device),
            head: Linear::new(around.encoder_width, config.num_classes, device),
            use_mean_pooling: config.use_mean_pooling,
            source: around.source(),
        })
    }

    /// # Shapes
    /// Last layer `(B, S + G, width)` to `(B, classes)`.
    ///
    /// # Errors
    /// If the encoder has no layer.
    pub fn forward(&self, output: &EncoderOutput, _phase: &mut Phase<'_>) -> Result<Prediction> {
        let tokens = self.source.last(output)?;
        let [_, count, _] = tokens.dims();
        let summary =
            if self.use_mean_pooling { tokens.mean_dim(1) } else { tokens.narrow(1, count - 1, 1) };
        let summary = self.norm.forward(summary.squeeze_dim::<2>(1));
        Ok(Prediction::Classes(self.head.forward(summary)))
    }
}
