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
    /// timm's `VisionTransformer`, also of MAE and DeiT.
    TimmVit,
    /// The ViT of Hugging Face's transformers, also of its ViTMAE, DeiT and DPT.
    HfVit,
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
        let names: Vec<&str> = weights.keys().map(String::as_str).collect();
        Self::of_names(&names)
    }

    /// Tells the layout by these names.
    pub(super) fn of_names(names: &[&str]) -> Self {
        let any = |test: &dyn Fn(&str) -> bool| names.iter().any(|name| test(name));
        let starts = |prefix: &str| any(&|name| name.starts_with(prefix));
        if starts("encoder.0.") && starts("input_adapters.") {
            let decoder =
                |name: &str| name.starts_with("output_adapters.") && name.ends_with(".mask_token");
            return if any(&decoder) { Self::MultiMae } else { Self::MultiVit };
        }
        if starts("blocks.0.") && starts("patch_embed.") {
            return Self::TimmVit;
        }
        if starts("encoder.layer.0.") && starts("embeddings.patch_embeddings.") {
            return Self::HfVit;
        }
        if any(&|name| name.contains("Transformer/encoderblock_") || name == "embedding/kernel") {
            return Self::JaxVit;
        }
        if starts("prompts.") || starts("output_adapters.") {
            return Self::Adapter;
        }
        Self::Unknown
    }

    /// Whether it is one of a plain ViT, which [`from_timm`](super::from_timm) converts.
    #[must_use]
    pub fn is_vit(self) -> bool {
        matches!(self, Self::TimmVit | Self::HfVit | Self::JaxVit)
    }

    /// Whether it is one with an encoder.
    #[must_use]
    pub fn has_encoder(self) -> bool {
        self.is_vit() || matches!(self, Self::MultiMae | Self::MultiVit)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MultiMae => "MultiMAE (pre-training, with decoders)",
            Self::MultiVit => "MultiViT (fine-tuning)",
            Self::TimmVit => "timm ViT",
            Self::HfVit => "Hugging Face ViT",
            Self::JaxVit => "JAX ViT",
            Self::Adapter => "adapter (no encoder)",
            Self::Unknown => "unknown",
        })
    }
}
