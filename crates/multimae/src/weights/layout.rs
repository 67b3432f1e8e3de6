//! The model whose names a file's tensors have.

use std::fmt;

use crate::state::StateDict;

/// The layout of a file of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// The pre-training model: input adapters, encoder, spatial decoders.
    MultiMae,
    /// The fine-tuning model: input adapters, encoder, heads or none.
    MultiVit,
    /// timm's `VisionTransformer`, also of MAE.
    TimmVit,
    /// The JAX names of big_vision's and augreg's files.
    JaxVit,
    /// Prompts or heads without an encoder.
    Adapter,
    /// None of these.
    Unknown,
}

impl Layout {
    /// Tells the layout by the names.
    #[must_use]
    pub fn of(weights: &StateDict) -> Self {
        let any = |test: &dyn Fn(&str) -> bool| weights.keys().any(|name| test(name));
        let starts = |prefix: &str| any(&|name| name.starts_with(prefix));
        if starts("encoder.0.") && starts("input_adapters.") {
            let decoder =
                |name: &str| name.starts_with("output_adapters.") && name.ends_with(".mask_token");
            return if any(&decoder) { Self::MultiMae } else { Self::MultiVit };
        }
        if starts("blocks.0.") && starts("patch_embed.") {
            return Self::TimmVit;
        }
        if any(&|name| name.contains("Transformer/encoderblock_") || name == "embedding/kernel") {
            return Self::JaxVit;
        }
        if starts("prompts.") || starts("output_adapters.") {
            return Self::Adapter;
        }
        Self::Unknown
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MultiMae => "MultiMAE (pre-training, with decoders)",
            Self::MultiVit => "MultiViT (fine-tuning)",
            Self::TimmVit => "timm ViT",
            Self::JaxVit => "JAX ViT",
            Self::Adapter => "adapter (no encoder)",
            Self::Unknown => "unknown",
        })
    }
}
