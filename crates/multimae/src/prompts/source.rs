//! A source of prompts of any kind.

use burn::module::Module;
use burn::tensor::Tensor;

use super::{
    CodaPrompts, CrossPrompts, DualPrompt, EvpPrompts, ImagePatches, PrefixPrompts, PromptPool,
    PromptTokens, Prompts, Query, ReinEntries, ReinPrompts, Selection,
};
use crate::encoder::Phase;
use crate::{Error, Result};

/// A generator of a batch's prompts.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a model has a handful of them")]
pub enum PromptSource {
    /// Tokens that all samples share.
    Tokens(PromptTokens),
    /// Keys and values that all samples share.
    Prefix(PrefixPrompts),
    /// The selections of every sample from a pool.
    Pool(PromptPool),
    /// Keys and values that all samples share, and others from a pool.
    Dual(DualPrompt),
    /// A mixture of all entries of a pool.
    Coda(CodaPrompts),
    /// Tokens from which every patch takes its own.
    Rein(ReinPrompts),
    /// Further ones of a task, beside those that all tasks share.
    Entries(ReinEntries),
    /// Additions that are made of the image.
    Evp(EvpPrompts),
    /// Tokens that all samples share and that are no part of the sequence.
    Cross(CrossPrompts),
}

/// The facts of a batch that its prompts are made of.
#[derive(Debug, Clone, Default)]
pub struct SourceInput {
    /// Samples.
    pub batch: usize,
    /// The queries of pools, `(B, width)`.
    pub queries: Option<Tensor<2>>,
    /// The patches that [`PromptSource::modality`] asks for.
    pub patches: Option<ImagePatches>,
    /// The tokens that [`PromptSource::Entries`] stand beside.
    pub shared: Option<ReinPrompts>,
}

/// The prompts of a batch, and how they were chosen if they were.
#[derive(Debug, Clone)]
pub struct SourceOutput {
    /// The prompts for the encoder.
    pub prompts: Vec<Prompts>,
    /// The selections from a pool; its prompts are moved to `prompts`.
    pub selection: Option<Selection>,
}

impl PromptSource {
    /// The kind of query that selects the prompts; none where all samples have the same.
    #[must_use]
    pub fn query(&self) -> Option<Query> {
        match self {
            Self::Tokens(_)
            | Self::Prefix(_)
            | Self::Rein(_)
            | Self::Entries(_)
            | Self::Evp(_)
            | Self::Cross(_) => None,
            Self::Pool(pool) => Some(pool.config().query),
            Self::Dual(dual) => Some(dual.config().query),
            Self::Coda(coda) => Some(coda.config().query),
        }
    }

    /// The first block that the prompts change, counted from the first of its part of the encoder.
    #[must_use]
    pub fn first(&self) -> usize {
        match self {
            Self::Tokens(prompts) => prompts.first(),
            Self::Prefix(prompts) => prompts.first(),
            Self::Pool(pool) => pool.config().first,
            Self::Dual(dual) => dual.config().general_first.min(dual.config().expert_first),
            Self::Coda(coda) => coda.config().first,
            Self::Rein(prompts) => prompts.first(),
            Self::Entries(entries) => entries.first(),
            Self::Evp(prompts) => prompts.first(),
            Self::Cross(prompts) => prompts.first(),
        }
    }

    /// The modality whose patches the prompts are made of, if they are.
    #[must_use]
    pub fn modality(&self) -> Option<&str> {
        match self {
            Self::Evp(prompts) => Some(prompts.modality()),
            _ => None,
        }
    }

    /// Returns the prompts of a batch.
    ///
    /// # Errors
    /// If queries, patches or shared tokens are needed and are not given or do not fit.
    pub fn forward(&self, input: SourceInput, phase: &mut Phase<'_>) -> Result<SourceOutput> {
        let SourceInput { batch, queries, patches, shared: beside } = input;
        let missing = |what: &str| Error::Config(format!("prompts of this kind need {what}"));
        let query = || queries.ok_or_else(|| missing("queries"));
        let chosen = |mut selection: Selection| SourceOutput {
            prompts: std::mem::take(&mut selection.prompts),
            selection: Some(selection),
        };
        let shared = |prompts| SourceOutput { prompts: vec![prompts], selection: None };
        Ok(match self {
            Self::Tokens(prompts) => shared(prompts.forward(batch, phase)),
            Self::Prefix(prompts) => shared(prompts.forward(batch, phase)),
            Self::Pool(pool) => chosen(pool.forward(query()?)?),
            Self::Dual(dual) => chosen(dual.forward(query()?)?),
            Self::Coda(coda) => chosen(coda.forward(query()?)?),
            Self::Rein(prompts) => shared(prompts.forward(batch)),
            Self::Entries(entries) => {
                let beside = beside.ok_or_else(|| missing("the tokens that all tasks share"))?;
                shared(beside.forward_with(entries, batch))
            }
            Self::Evp(prompts) => {
                let patches = patches.ok_or_else(|| missing("the patches of the image"))?;
                shared(prompts.forward(&patches))
            }
            Self::Cross(prompts) => shared(prompts.forward(phase)),
        })
    }

    /// The terms that a selection of this source adds to the loss of the task, with their weights.
    ///
    /// # Shapes
    /// `(1)` each.
    #[must_use]
    pub fn terms(&self, selection: &Selection) -> Vec<(&'static str, Tensor<1>)> {
        let weight = |term: &str| match (self, term) {
            (Self::Pool(pool), "pull") => pool.config().pull_weight,
            (Self::Pool(pool), "diversity") => pool.config().diversity_weight,
            (Self::Dual(dual), "pull") => dual.config().pull_weight,
            (Self::Dual(dual), "diversity") => dual.config().diversity_weight,
            (Self::Coda(coda), "orthogonality") => coda.config().orthogonality_weight,
            _ => 0.0,
        };
        let weighted = |(name, term): (&'static str, &Tensor<1>)| {
            Some((name, term.clone().mul_scalar(weight(name))))
        };
        selection
            .losses
            .iter()
            .filter(|(name, _)| weight(name) > 0.0)
            .filter_map(weighted)
            .collect()
    }
}
