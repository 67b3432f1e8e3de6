//! The kinds of prompts and their sizes, as recipes and model files name them.

use std::ops::Range;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{
    CodaConfig, CodaPrompts, CrossPrompts, DualConfig, DualPrompt, EvpConfig, EvpPrompts,
    PoolConfig, PrefixPrompts, PromptPool, PromptSource, PromptTokens, ReinConfig, ReinEntries,
    ReinPrompts,
};
use crate::modality::{Modality, ModalityKind};
use crate::{Error, Result};

/// A kind of prompts and its sizes.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum PromptConfig {
    /// Tokens before the first of the blocks, carried through the others.
    Shallow(TokensConfig),
    /// Tokens of its own for every block.
    Deep(TokensConfig),
    /// Keys and values of its own for every block.
    Prefix(PrefixConfig),
    /// A pool; every sample takes the top-k entries by key-query similarity (L2P).
    L2p(PoolConfig),
    /// Keys and values for all samples, and others from a pool (DualPrompt).
    Dual(DualConfig),
    /// A mixture of all entries of a pool (CODA-Prompt).
    Coda(CodaConfig),
    /// Tokens that every patch attends to behind every block, and is changed by (Rein).
    Rein(ReinConfig),
    /// Additions to patches in front of every block, made of their own pixels and edges (EVP).
    Evp(EvpConfig),
    /// Tokens that every token attends to inside every block, apart from the sequence (CVPT).
    Cross(PrefixConfig),
}

/// The sizes of prompt tokens.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokensConfig {
    /// Prompts of a block.
    #[serde(default = "default_count")]
    pub count: usize,
    /// The first block with prompts, counted from 0.
    #[serde(default)]
    pub first: usize,
    /// The number of blocks; all from the first on if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// Share of the values that training sets to zero.
    #[serde(default)]
    pub dropout: f64,
    /// Rank of the tokens, which a projection brings to the encoder's width; the width itself and
    /// no projection if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// Rank of the tokens, which a matrix of each block brings to the encoder's width, without bias (BPT); in
    /// the place of `rank`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bilinear: Option<usize>,
    /// Gates between the blocks, whose logits begin with this value; none if absent. -5 is nearly
    /// closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<f64>,
}

/// The sizes of prefix prompts.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixConfig {
    /// Keys and values of a block.
    #[serde(default = "default_count")]
    pub count: usize,
    /// The first block with prompts, counted from 0.
    #[serde(default)]
    pub first: usize,
    /// The number of blocks; all from the first on if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// Share of the values that training sets to zero.
    #[serde(default)]
    pub dropout: f64,
}

fn default_count() -> usize {
    10
}

/// Consecutive blocks of an encoder that prompts are built for, its width, and its inputs.
#[derive(Debug, Clone)]
pub(crate) struct EncoderPart<'a> {
    pub(crate) blocks: Range<usize>,
    pub(crate) width: usize,
    pub(crate) inputs: &'a [Modality],
    /// Side of a patch at full resolution.
    pub(crate) patch_size: usize,
}

impl PromptConfig {
    /// The blocks that get prompts: the first, counted from 0, and their number if that is said. A
    /// kind can have several such ranges.
    fn ranges(&self) -> Vec<(usize, Option<usize>)> {
        match self {
            Self::Shallow(config) | Self::Deep(config) => vec![(config.first, config.layers)],
            Self::Prefix(config) | Self::Cross(config) => vec![(config.first, config.layers)],
            Self::Rein(config) => vec![(config.first, config.layers)],
            Self::Evp(config) => vec![(config.first, config.layers)],
            Self::L2p(config) => vec![(config.first, Some(config.layers))],
            Self::Dual(config) => vec![
                (config.general_first, Some(config.general_layers)),
                (config.expert_first, Some(config.expert_layers)),
            ],
            Self::Coda(config) => vec![(config.first, Some(config.layers))],
        }
    }

    /// Checks the sizes against an encoder with this number of blocks.
    ///
    /// # Errors
    /// Says which size does not fit.
    pub fn check(&self, depth: usize) -> Result<()> {
        for (first, layers) in self.ranges() {
            if first >= depth || layers.is_some_and(|layers| layers == 0 || first + layers > depth)
            {
                return error(format!(
                    "blocks from {first} on, {} of them, and the encoder has {depth}, counted from \
                     0",
                    layers.map_or("all".to_owned(), |layers| layers.to_string())
                ));
            }
        }
        match self {
            Self::Shallow(config) | Self::Deep(config) => {
                if config.rank == Some(0) || config.bilinear == Some(0) {
                    return error("`rank` and `bilinear` must be at least 1".to_owned());
                }
                if config.rank.is_some() && config.bilinear.is_some() {
                    return error("`rank` and `bilinear` exclude each other".to_owned());
                }
                check_shared(config.count, config.dropout)
            }
            Self::Prefix(config) | Self::Cross(config) => {
                check_shared(config.count, config.dropout)
            }
            Self::Rein(config) => config.check(),
            Self::Evp(config) => config.check(),
            Self::L2p(config) => {
                check_penalty(config.frequency_penalty)?;
                config.check()
            }
            Self::Dual(config) => {
                check_penalty(config.frequency_penalty)?;
                config.check()
            }
            Self::Coda(config) => config.check(),
        }
    }

    /// Whether norms can be made of the prompts: those that are tokens, or keys and values.
    pub(crate) fn conditions_norms(&self) -> bool {
        !matches!(self, Self::Rein(_) | Self::Evp(_) | Self::Cross(_))
    }

    /// The prompts for a part of the encoder, of zeros; none if they belong to other blocks.
    pub(crate) fn build(
        &self,
        part: &EncoderPart<'_>,
        device: &Device,
    ) -> Result<Option<PromptSource>> {
        let mut ranges = self.ranges().into_iter().map(|range| part.overlap(range));
        let range = ranges.next().flatten();
        if let Self::Dual(config) = self {
            return dual(config, (range, ranges.next().flatten()), part, device);
        }
        let Some((first, layers)) = range else { return Ok(None) };
        let width = part.width;
        Ok(Some(match self {
            Self::Shallow(config) => PromptSource::Tokens(tokens(config, first, 1, part, device)),
            Self::Deep(config) => PromptSource::Tokens(tokens(config, first, layers, part, device)),
            Self::Prefix(config) => {
                let prompts = PrefixPrompts::new(first, [layers, config.count, width], device);
                PromptSource::Prefix(prompts.with_dropout(config.dropout))
            }
            Self::L2p(config) => {
                let config = PoolConfig { first, layers, ..config.clone() };
                PromptSource::Pool(PromptPool::new(&config, width, device)?)
            }
            Self::Dual(_) => return Ok(None),
            Self::Rein(config) => {
                PromptSource::Rein(ReinPrompts::new(config, (first, layers), width, device))
            }
            Self::Evp(config) => {
                let sizes = (part.patch_values(&config.modality)?, width);
                PromptSource::Evp(EvpPrompts::new(config, (first, layers), sizes, device))
            }
            Self::Cross(config) => {
                let prompts = CrossPrompts::new(first, [layers, config.count, width], device);
                PromptSource::Cross(prompts.with_dropout(config.dropout))
            }
            Self::Coda(config) => {
                let config = CodaConfig { first, layers, ..config.clone() };
                PromptSource::Coda(CodaPrompts::new(&config, width, device)?)
            }
        }))
    }
}

impl PromptConfig {
    /// The tokens that a task has beside those of a part of the encoder that all tasks share, of zeros; none if
    /// tasks share nothing there.
    pub(crate) fn build_own(
        &self,
        part: &EncoderPart<'_>,
        device: &Device,
    ) -> Option<PromptSource> {
        let Self::Rein(config) = self else { return None };
        let range = part.overlap((config.first, config.layers))?;
        ReinEntries::new(config, range, part.width, device).map(PromptSource::Entries)
    }

    /// Whether tasks have prompts of their own beside those that they share.
    pub(crate) fn has_own(&self) -> bool {
        matches!(self, Self::Rein(ReinConfig { own: Some(_), .. }))
    }
}

impl EncoderPart<'_> {
    /// Values of a patch of a modality.
    fn patch_values(&self, modality: &str) -> Result<usize> {
        let Some(own) = self.inputs.iter().find(|input| input.name == modality) else {
            return error(format!("`modality` `{modality}` is no input of the model"));
        };
        let ModalityKind::Continuous { channels } = own.kind else {
            return error(format!("`modality` `{modality}` holds classes, and no real values"));
        };
        let side = own.patch(self.patch_size)?;
        Ok(channels * side * side)
    }

    /// The blocks of a range that are in the part: the first, counted from the part's first block,
    /// and their number. None if there is none.
    fn overlap(&self, (first, layers): (usize, Option<usize>)) -> Option<Layers> {
        let Range { start, end } = self.blocks;
        let end = layers.map_or(end, |layers| end.min(first + layers));
        let first = first.max(start);
        let layers = end.checked_sub(first).filter(|layers| *layers > 0)?;
        Some((first - start, layers))
    }
}

/// A first block and the number of blocks.
type Layers = (usize, usize);

/// Both prefixes, or the one whose blocks are in the part.
fn dual(
    config: &DualConfig,
    (general, expert): (Option<Layers>, Option<Layers>),
    part: &EncoderPart<'_>,
    device: &Device,
) -> Result<Option<PromptSource>> {
    let width = part.width;
    let pool = |(first, layers): Layers| PoolConfig { first, layers, ..config.expert() };
    Ok(match (general, expert) {
        (None, None) => None,
        (Some((first, layers)), None) => {
            let sizes = [layers, config.general_length, width];
            Some(PromptSource::Prefix(PrefixPrompts::new(first, sizes, device)))
        }
        (None, Some(range)) => {
            Some(PromptSource::Pool(PromptPool::new(&pool(range), width, device)?))
        }
        (Some((general_first, general_layers)), Some((expert_first, expert_layers))) => {
            let config = DualConfig {
                general_first,
                general_layers,
                expert_first,
                expert_layers,
                ..config.clone()
            };
            Some(PromptSource::Dual(DualPrompt::new(&config, width, device)?))
        }
    })
}

fn error<T>(problem: String) -> Result<T> {
    Err(Error::Config(format!("prompts: {problem}")))
}

fn check_shared(count: usize, dropout: f64) -> Result<()> {
    if count == 0 {
        return error("`count` must be at least 1".to_owned());
    }
    if !(0.0..1.0).contains(&dropout) {
        return error(format!("`dropout` {dropout} must be in [0, 1)"));
    }
    Ok(())
}

/// A model that is trained from a recipe keeps no record of what was chosen.
fn check_penalty(frequency_penalty: bool) -> Result<()> {
    if frequency_penalty {
        return error(
            "`frequency_penalty` is for programs that keep a PoolUsage; use `diversity_weight`"
                .to_owned(),
        );
    }
    Ok(())
}

fn tokens(
    config: &TokensConfig,
    first: usize,
    layers: usize,
    part: &EncoderPart<'_>,
    device: &Device,
) -> PromptTokens {
    let prompts = PromptTokens::new(first, [layers, config.count, part.width], device);
    let prompts = prompts.with_dropout(config.dropout);
    let prompts = match config.rank {
        Some(rank) => prompts.with_rank(rank, device),
        None => prompts,
    };
    let prompts = match config.bilinear {
        Some(rank) => prompts.with_bilinear(rank, device),
        None => prompts,
    };
    match config.gate {
        Some(_) => prompts.with_gates(part.blocks.len() - first, device),
        None => prompts,
    }
}
