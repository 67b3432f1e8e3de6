//! The kinds of prompts and their sizes, as recipes and model files name them.

use std::ops::Range;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{PrefixPrompts, PromptSource, PromptTokens};
use crate::{Error, Result};

/// A kind of prompts and its sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum PromptConfig {
    /// Tokens before the first of the blocks, carried through the others.
    Shallow(TokensConfig),
    /// Tokens of its own for every block.
    Deep(TokensConfig),
    /// Keys and values of its own for every block.
    Prefix(PrefixConfig),
}

/// The sizes of prompt tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokensConfig {
    /// Prompts of a block.
    #[serde(default = "default_count")]
    pub count: usize,
    /// The first block with prompts, counted from 0.
    #[serde(default)]
    pub first: usize,
    /// So many blocks; all from the first on if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// Share of the values that training sets to zero.
    #[serde(default)]
    pub dropout: f64,
    /// Rank of the tokens, which a projection brings to the encoder's width; the width itself and
    /// no projection if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// Gates between the blocks, whose logits begin with this value; none if absent. -5 is nearly
    /// closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<f64>,
}

/// The sizes of prefix prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixConfig {
    /// Keys and values of a block.
    #[serde(default = "default_count")]
    pub count: usize,
    /// The first block with prompts, counted from 0.
    #[serde(default)]
    pub first: usize,
    /// So many blocks; all from the first on if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// Share of the values that training sets to zero.
    #[serde(default)]
    pub dropout: f64,
}

fn default_count() -> usize {
    10
}

/// Consecutive blocks of an encoder that prompts are built for, and its width.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) blocks: Range<usize>,
    pub(crate) width: usize,
}

impl PromptConfig {
    /// The first block, counted from 0, and the number of blocks if that is said.
    fn range(&self) -> (usize, Option<usize>) {
        match self {
            Self::Shallow(config) | Self::Deep(config) => (config.first, config.layers),
            Self::Prefix(config) => (config.first, config.layers),
        }
    }

    /// Checks the sizes against an encoder of so many blocks.
    ///
    /// # Errors
    /// Says which size does not fit.
    pub fn check(&self, depth: usize) -> Result<()> {
        let error = |problem: String| Err(Error::Config(format!("prompts: {problem}")));
        let (first, layers) = self.range();
        if first >= depth || layers.is_some_and(|layers| layers == 0 || first + layers > depth) {
            return error(format!(
                "blocks from {first} on, {} of them, and the encoder has {depth}, counted from 0",
                layers.map_or("all".to_owned(), |layers| layers.to_string())
            ));
        }
        let (count, dropout) = match self {
            Self::Shallow(config) | Self::Deep(config) => (config.count, config.dropout),
            Self::Prefix(config) => (config.count, config.dropout),
        };
        if count == 0 {
            return error("`count` must be at least 1".to_owned());
        }
        if !(0.0..1.0).contains(&dropout) {
            return error(format!("`dropout` {dropout} must be in [0, 1)"));
        }
        match self {
            Self::Shallow(config) | Self::Deep(config) if config.rank == Some(0) => {
                error("`rank` must be at least 1".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The prompts for a part of the encoder, of zeros; none if they belong to other blocks.
    pub(crate) fn build(&self, part: &Part, device: &Device) -> Option<PromptSource> {
        let (first, layers) = self.range();
        let end = layers.map_or(part.blocks.end, |layers| part.blocks.end.min(first + layers));
        let first = first.max(part.blocks.start);
        let layers = end.checked_sub(first).filter(|layers| *layers > 0)?;
        // Counted from the part's first block.
        let first = first - part.blocks.start;
        let width = part.width;
        Some(match self {
            Self::Shallow(config) => PromptSource::Tokens(tokens(config, first, 1, part, device)),
            Self::Deep(config) => PromptSource::Tokens(tokens(config, first, layers, part, device)),
            Self::Prefix(config) => {
                let prompts = PrefixPrompts::new(first, [layers, config.count, width], device);
                PromptSource::Prefix(prompts.with_dropout(config.dropout))
            }
        })
    }
}

fn tokens(
    config: &TokensConfig,
    first: usize,
    layers: usize,
    part: &Part,
    device: &Device,
) -> PromptTokens {
    let prompts = PromptTokens::new(first, [layers, config.count, part.width], device);
    let prompts = prompts.with_dropout(config.dropout);
    let prompts = match config.rank {
        Some(rank) => prompts.with_rank(rank, device),
        None => prompts,
    };
    match config.gate {
        Some(_) => prompts.with_gates(part.blocks.len() - first, device),
        None => prompts,
    }
}
