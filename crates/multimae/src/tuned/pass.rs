//! One pass of a batch through the encoder: shared blocks once, those behind a branch once per task.

use std::ops::Range;

use burn::tensor::Tensor;
use indexmap::IndexMap;

use super::{SHARED, TunedMultiVit};
use crate::encoder::Phase;
use crate::encoder_output::EncoderOutput;
use crate::multivit::Embedded;
use crate::output_adapters::Prediction;
use crate::prompts::{Given, PromptNorms, PromptSource, Prompts, Selection, Watched};
use crate::tokens::Inputs;
use crate::{Error, Result};

/// Predicts a batch whose samples belong to several tuned models with one pass through the encoder
/// that they share: prompts are an input of every sample. Each model has the next so many samples.
///
/// # Errors
/// If the models cannot share a pass, their samples are not those of the batch, or inputs, prompts
/// or heads do not fit.
pub fn forward_together(
    models: &[(&TunedMultiVit, usize)],
    inputs: Inputs,
    phase: &mut Phase<'_>,
) -> Result<Vec<IndexMap<String, Prediction>>> {
    let error = |problem: &str| Err(Error::Config(format!("models of one pass: {problem}")));
    let Some((first, _)) = models.first() else { return Ok(Vec::new()) };
    if !models.iter().skip(1).all(|(model, _)| first.shares_passes_with(model)) {
        return error("they add different things to the encoder");
    }
    let embedded = first.vit.embed(inputs)?;
    let [batch, _, _] = embedded.sequence.dims();
    let mut start = 0;
    let parts: Vec<Samples<'_>> = models
        .iter()
        .map(|&(model, count)| {
            start += count;
            Samples { model, samples: start - count..start }
        })
        .collect();
    if start != batch {
        return error(&format!("they have {start} samples, the batch has {batch}"));
    }
    let pass = encode(&parts, &embedded, None, (phase, &mut |_| {}))?;
    models
        .iter()
        .zip(pass.outputs)
        .map(|((model, _), outputs)| model.predict(outputs, phase))
        .collect()
}

/// The samples of a batch that belong to a model.
pub(super) struct Samples<'a> {
    pub(super) model: &'a TunedMultiVit,
    pub(super) samples: Range<usize>,
}

impl Samples<'_> {
    /// The source of the prompts that all tasks share.
    fn shared(&self) -> Option<Source<'_>> {
        let source = self.model.prompts.as_ref()?;
        let norms = self.model.prompt_norms.get(SHARED);
        Some(Source { part: self, name: SHARED, source, norms })
    }

    /// The sources of the tasks' own prompts.
    fn of_tasks(&self) -> impl Iterator<Item = Source<'_>> {
        self.model.task_prompts.iter().map(|(task, source)| Source {
            part: self,
            name: task,
            source,
            norms: self.model.prompt_norms.get(task),
        })
    }
}

/// What came out of a pass.
#[derive(Default)]
pub(super) struct Pass {
    /// What the heads of every model read, in their order.
    pub(super) outputs: Vec<Vec<EncoderOutput>>,
    /// What samples chose, in the order of the sources.
    pub(super) chosen: Vec<Chosen>,
}

/// What the samples of a source chose.
pub(super) struct Chosen {
    /// The source: [`SHARED`] or a task.
    pub(super) source: String,
    pub(super) selection: Selection,
    /// What it adds to the loss, with its weight.
    pub(super) terms: Vec<(&'static str, Tensor<1>)>,
}

/// Runs the blocks. `queries` are those of the samples, `(B, width)`; they are computed where they
/// are needed and not given.
pub(super) fn encode(
    parts: &[Samples<'_>],
    embedded: &Embedded,
    queries: Option<Tensor<2>>,
    (phase, watch): (&mut Phase<'_>, &mut dyn FnMut(Watched<'_>)),
) -> Result<Pass> {
    let Some(Samples { model: first, .. }) = parts.first() else { return Ok(Pass::default()) };
    let (branch, depth) = (first.branch, first.vit.encoder.len());
    let queries = match queries {
        Some(queries) => Some(queries),
        None => first.queries(embedded)?,
    };
    let mut chosen = Vec::new();
    let mut given = Prompting { queries, chosen: &mut chosen };
    let trunk = given.prompts(parts.iter().filter_map(Samples::shared), phase)?;
    let shared = first.run(0..branch, embedded.sequence.clone(), &trunk, (phase, watch))?;
    let front = shared.last().unwrap_or(&embedded.sequence);
    let of = |layer: &Tensor<3>, range: &Range<usize>| {
        let whole = range.len() == layer.dims()[0];
        if whole { layer.clone() } else { layer.clone().narrow(0, range.start, range.len()) }
    };
    // One pass behind the branch per task that has prompts of its own.
    let tasks: Vec<Source<'_>> = parts.iter().flat_map(Samples::of_tasks).collect();
    let own = given.prompts(tasks.iter().copied(), phase)?;
    let rest = match tasks.as_slice() {
        [] => first.run(branch..depth, front.clone(), &[], (phase, watch))?,
        tasks => {
            let fronts = tasks.iter().map(|task| of(front, &task.part.samples)).collect();
            first.run(branch..depth, Tensor::cat(fronts, 0), &own, (phase, watch))?
        }
    };
    let mut start = 0;
    let outputs = parts
        .iter()
        .map(|Samples { model, samples }| {
            let heads = model.vit.output_adapters.names().map(|_| {
                let place = if tasks.is_empty() {
                    samples.clone()
                } else {
                    start += samples.len();
                    start - samples.len()..start
                };
                let before = shared.iter().map(|layer| of(layer, samples));
                let behind = rest.iter().map(|layer| of(layer, &place));
                model.vit.output(embedded, before.chain(behind).collect())
            });
            heads.collect()
        })
        .collect();
    Ok(Pass { outputs, chosen })
}

/// What makes prompts for the samples of a model, and the norms that they condition.
#[derive(Clone, Copy)]
struct Source<'a> {
    part: &'a Samples<'a>,
    name: &'a str,
    source: &'a PromptSource,
    norms: Option<&'a PromptNorms>,
}

/// Makes the prompts of a batch.
struct Prompting<'a> {
    queries: Option<Tensor<2>>,
    chosen: &'a mut Vec<Chosen>,
}

impl Prompting<'_> {
    /// The prompts of several sources, one behind the other.
    fn prompts<'a>(
        &mut self,
        sources: impl Iterator<Item = Source<'a>>,
        phase: &mut Phase<'_>,
    ) -> Result<Vec<Prompts>> {
        Prompts::of_all(sources.map(|source| self.of(source, phase)).collect::<Result<_>>()?)
    }

    fn of(&mut self, source: Source<'_>, phase: &mut Phase<'_>) -> Result<Vec<Prompts>> {
        let Source { part: Samples { samples, .. }, name, source, norms } = source;
        let queries = self.queries.as_ref();
        let queries = queries.map(|all| all.clone().narrow(0, samples.start, samples.len()));
        let Given { mut prompts, selection } = source.forward(samples.len(), queries, phase)?;
        if let Some(selection) = selection {
            let terms = source.terms(&selection);
            self.chosen.push(Chosen { source: name.to_owned(), selection, terms });
        }
        prompts.extend(norms.and_then(|norms| norms.forward(&prompts)));
        Ok(prompts)
    }
}
