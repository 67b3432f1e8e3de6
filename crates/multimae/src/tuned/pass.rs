//! One pass of a batch through the encoder: shared blocks once, those behind a branch once per task.

use std::ops::Range;

use burn::tensor::Tensor;
use indexmap::IndexMap;

use super::{SHARED, TunedMultiVit};
use crate::encoder::Phase;
use crate::encoder_output::EncoderOutput;
use crate::multivit::Embedded;
use crate::output_adapters::Prediction;
use crate::prompts::{PromptNorms, PromptSource, Prompts};
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
    let outputs = encode(&parts, &embedded, phase)?;
    models.iter().zip(outputs).map(|((model, _), outputs)| model.predict(outputs, phase)).collect()
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
        Some(Source { part: self, source, norms: self.model.prompt_norms.get(SHARED) })
    }

    /// The sources of the tasks' own prompts.
    fn of_tasks(&self) -> impl Iterator<Item = Source<'_>> {
        self.model.task_prompts.iter().map(|(task, source)| Source {
            part: self,
            source,
            norms: self.model.prompt_norms.get(task),
        })
    }
}

/// What the heads of every model read, in their order.
pub(super) fn encode(
    parts: &[Samples<'_>],
    embedded: &Embedded,
    phase: &mut Phase<'_>,
) -> Result<Vec<Vec<EncoderOutput>>> {
    let Some(Samples { model: first, .. }) = parts.first() else { return Ok(Vec::new()) };
    let (branch, depth) = (first.branch, first.vit.encoder.len());
    let trunk = all_prompts(parts.iter().filter_map(Samples::shared), phase)?;
    let shared = first.run(0..branch, embedded.sequence.clone(), &trunk, phase)?;
    let front = shared.last().unwrap_or(&embedded.sequence);
    let of = |layer: &Tensor<3>, range: &Range<usize>| {
        let whole = range.len() == layer.dims()[0];
        if whole { layer.clone() } else { layer.clone().narrow(0, range.start, range.len()) }
    };
    // One pass behind the branch per task that has prompts of its own.
    let tasks: Vec<Source<'_>> = parts.iter().flat_map(Samples::of_tasks).collect();
    let own = all_prompts(tasks.iter().copied(), phase)?;
    let rest = match tasks.as_slice() {
        [] => first.run(branch..depth, front.clone(), &[], phase)?,
        tasks => {
            let fronts = tasks.iter().map(|task| of(front, &task.part.samples)).collect();
            first.run(branch..depth, Tensor::cat(fronts, 0), &own, phase)?
        }
    };
    let mut start = 0;
    Ok(parts
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
        .collect())
}

/// What makes prompts for the samples of a model, and the norms that they condition.
#[derive(Clone, Copy)]
struct Source<'a> {
    part: &'a Samples<'a>,
    source: &'a PromptSource,
    norms: Option<&'a PromptNorms>,
}

/// The prompts of several sources, one behind the other.
fn all_prompts<'a>(
    sources: impl Iterator<Item = Source<'a>>,
    phase: &mut Phase<'_>,
) -> Result<Vec<Prompts>> {
    let mut prompts_of = |source: Source<'_>| {
        let mut prompts = source.source.forward(source.part.samples.len(), phase)?;
        let norms = source.norms.and_then(|norms| norms.forward(&prompts));
        prompts.extend(norms);
        Ok(prompts)
    };
    Prompts::of_all(sources.map(&mut prompts_of).collect::<Result<_>>()?)
}
