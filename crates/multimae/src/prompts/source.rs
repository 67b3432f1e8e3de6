//! A source of prompts of any kind.

use burn::module::Module;

use super::{PrefixPrompts, PromptTokens, Prompts};
use crate::Result;
use crate::encoder::Phase;

/// What makes the prompts of a batch.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a model has a handful of them")]
pub enum PromptSource {
    /// Tokens that all samples share.
    Tokens(PromptTokens),
    /// Keys and values that all samples share.
    Prefix(PrefixPrompts),
}

impl PromptSource {
    /// The prompts of a batch.
    ///
    /// # Errors
    /// If a query does not fit.
    pub fn forward(&self, batch: usize, phase: &mut Phase<'_>) -> Result<Vec<Prompts>> {
        Ok(match self {
            Self::Tokens(prompts) => vec![prompts.forward(batch, phase)],
            Self::Prefix(prompts) => vec![prompts.forward(batch, phase)],
        })
    }
}
