//! The heads of downstream tasks: their kinds, and what they share.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{
    ConvNeXtConfig, ConvNeXtHead, DptConfig, DptHead, LightConfig, LightHead, LinearConfig,
    LinearHead, SegmenterConfig, SegmenterHead,
};
use crate::encoder::Phase;
use crate::encoder_output::{EncoderOutput, Source};
use crate::{Error, Result};

/// The prediction of a head.
#[derive(Debug, Clone)]
pub enum Prediction {
    /// `(B, C, H, W)` at the resolution of the image: values, or logits of classes.
    Maps(Tensor<4>),
    /// `(B, classes)`: logits.
    Classes(Tensor<2>),
}

/// A head by name: what it is and which tokens it reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskHead {
    /// The task's name, e.g. `depth`; a component of its parameters' names.
    pub name: String,
    /// The input modalities whose tokens it reads, side by side in its channels. A linear head
    /// reads all tokens and ignores this.
    pub main_tasks: Vec<String>,
    /// Its kind and sizes.
    pub head: HeadConfig,
}

/// The sizes that a head takes from the rest of the model.
#[derive(Debug, Clone, Copy)]
pub struct HeadContext<'a> {
    /// The task's name.
    pub name: &'a str,
    /// The modalities whose tokens it reads.
    pub main_tasks: &'a [String],
    /// Width of the encoder.
    pub encoder_width: usize,
    /// Blocks of the encoder.
    pub encoder_depth: usize,
}

impl HeadContext<'_> {
    /// Channels of the main modalities' tokens side by side.
    pub(super) fn channels(&self) -> usize {
        self.encoder_width * self.main_tasks.len()
    }

    pub(super) fn source(&self) -> Source {
        Source { head: self.name.to_owned(), main_tasks: self.main_tasks.to_vec() }
    }

    /// An error in the head's sizes.
    pub(super) fn error(&self, problem: &str) -> Error {
        Error::Config(format!("head `{}`: {problem}", self.name))
    }

    /// The blocks that a head reads, counted from 0.
    pub(super) fn check_hooks(&self, hooks: &[usize]) -> Result<()> {
        match hooks.iter().find(|&&hook| hook >= self.encoder_depth) {
            Some(hook) => Err(self.error(&format!(
                "hook {hook} is no block of an encoder of {} blocks, which are counted from 0",
                self.encoder_depth
            ))),
            None => Ok(()),
        }
    }
}

impl HeadConfig {
    /// Channels of its values, or number of its classes.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match self {
            Self::Linear(config) => config.num_classes,
            Self::Segmenter(config) => config.num_classes,
            Self::ConvNeXt(config) => config.num_classes,
            Self::Dpt(config) => config.num_classes,
            Self::Light(config) => config.num_classes,
        }
    }

    /// Returns the blocks whose outputs a head reads, each once, for an encoder with this number of
    /// blocks.
    #[must_use]
    pub fn layers(&self, depth: usize) -> Vec<usize> {
        let mut hooks = match self {
            Self::Dpt(config) => config.hooks.to_vec(),
            Self::Light(config) => config.hooks.clone(),
            Self::Linear(_) | Self::Segmenter(_) | Self::ConvNeXt(_) => Vec::new(),
        };
        if hooks.is_empty() {
            hooks.extend(depth.checked_sub(1));
        }
        hooks.sort_unstable();
        hooks.dedup();
        hooks
    }
}

/// One line per kind of head: its name in recipes and code, its module, its configuration.
macro_rules! heads {
    ($($(#[$doc:meta])* $kind:ident: $head:ident, $config:ident;)*) => {
        /// The kind and the sizes of a head.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "lowercase")]
        pub enum HeadConfig {
            $($(#[$doc])* $kind($config),)*
        }

        /// A head of any kind.
        #[derive(Module, Debug)]
        #[allow(clippy::large_enum_variant, reason = "a model has a handful of heads")]
        pub enum Head {
            $($(#[$doc])* $kind($head),)*
        }

        impl Head {
            /// A head of zeros; see [`crate::init::initialise`].
            ///
            /// # Errors
            /// If its sizes do not fit together or to the encoder.
            pub fn new(
                config: &HeadConfig,
                around: HeadContext<'_>,
                device: &Device,
            ) -> Result<Self> {
                Ok(match config {
                    $(HeadConfig::$kind(config) => {
                        Self::$kind($head::new(config, around, device)?)
                    })*
                })
            }

            /// Predicts from the outputs of the encoder's layers.
            ///
            /// # Errors
            /// If the layers, the modalities or the grid are not those the head needs.
            pub fn forward(
                &self,
                output: &EncoderOutput,
                phase: &mut Phase<'_>,
            ) -> Result<Prediction> {
                match self {
                    $(Self::$kind(head) => head.forward(output, phase),)*
                }
            }
        }
    };
}

heads! {
    /// Classes of the whole image.
    Linear: LinearHead, LinearConfig;
    /// Class tokens beside the patches (Segmenter).
    Segmenter: SegmenterHead, SegmenterConfig;
    /// ConvNeXt blocks over the last layer.
    ConvNeXt: ConvNeXtHead, ConvNeXtConfig;
    /// A dense prediction transformer's fusion of four layers.
    Dpt: DptHead, DptConfig;
    /// A narrow fusion of layers, for parameter-efficient tuning.
    Light: LightHead, LightConfig;
}
