//! The sizes and options of a pool of prompts.

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::{PoolLosses, PromptPool};
use super::{Query, checks};
use crate::Result;

/// The sizes and options of a [`PromptPool`].
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolConfig {
    /// Entries, M.
    pub entries: usize,
    /// Prompts per entry and layer, P; in the prefix form P keys and P values.
    pub length: usize,
    /// Entries that a sample takes, N.
    pub top_n: usize,
    /// The form of the prompts.
    pub form: PoolForm,
    /// The first block that gets prompts, counted from 0.
    pub first: usize,
    /// Blocks that get prompts of their own, from `first` on.
    pub layers: usize,
    /// Whether a sample chooses once, or in every layer anew.
    pub keys: PoolKeySharing,
    /// The query that is compared with the keys.
    pub query: Query,
    /// Weight of [`PoolLosses::pull`].
    pub pull_weight: f64,
    /// Weight of [`PoolLosses::diversity`].
    pub diversity_weight: f64,
    /// The term is `sum_m p_m ln(M p_m)`, the divergence of the mean choice from an even one, where
    /// `p` is the mean over the batch of `softmax(similarity / diversity_temperature)`; with keys
    /// per layer its mean over the layers. Only keys learn from it.
    pub diversity_temperature: f64,
    /// Whether training chooses by [`PromptPool::forward_penalised`].
    pub frequency_penalty: bool,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            entries: 10,
            length: 10,
            top_n: 4,
            form: PoolForm::default(),
            first: 0,
            layers: 1,
            keys: PoolKeySharing::default(),
            query: Query::default(),
            pull_weight: 0.1,
            diversity_weight: 0.0,
            diversity_temperature: 0.1,
            frequency_penalty: false,
        }
    }
}

/// The form of a pool's prompts.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolForm {
    /// Tokens behind the sequence.
    #[default]
    Tokens,
    /// Keys and values besides those of the sequence.
    Prefix,
}

/// The number of selections per sample.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolKeySharing {
    /// One set of keys and one choice for all layers.
    #[default]
    Shared,
    /// Every layer has keys and chooses for itself.
    PerLayer,
}

impl PoolConfig {
    /// Checks everything that does not depend on the encoder.
    ///
    /// # Errors
    /// Names the key that is wrong.
    pub fn check(&self) -> Result<()> {
        const WHAT: &str = "prompt pool";
        let sizes = [("entries", self.entries), ("length", self.length), ("layers", self.layers)];
        checks::sizes(WHAT, &sizes)?;
        checks::top_n(WHAT, self.top_n, self.entries)?;
        let weights =
            [("pull_weight", self.pull_weight), ("diversity_weight", self.diversity_weight)];
        checks::weights(WHAT, &weights)?;
        checks::temperature(WHAT, "diversity_temperature", self.diversity_temperature)
    }
}
