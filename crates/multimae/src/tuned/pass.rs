//! The pass of batches through the encoder: a block at a time, the batches of all models together,
//! behind a branch once per task.

use std::ops::Range;

use burn::tensor::Tensor;
use indexmap::IndexMap;

use super::{SHARED, TunedMultiVit};
use crate::encoder::Phase;
use crate::encoder_output::EncoderOutput;
use crate::multivit::Embedded;
use crate::nn::{Block, Guided};
use crate::output_adapters::Prediction;
use crate::prompts::{Given, Passage, PromptSource, Prompts, Selection};
use crate::tokens::Inputs;
use crate::{Error, Result};

/// Predicts batches of several tuned models with one pass through the encoder, whose linear layers
/// multiply once for all of them: inputs, prompts, norms and low-rank changes are each model's own.
///
/// # Errors
/// If the models' encoders are not alike (see [`TunedMultiVit::shares_passes_with`]), or inputs,
/// prompts or heads do not fit.
pub fn forward_together(
    batches: Vec<(&TunedMultiVit, Inputs)>,
    phase: &mut Phase<'_>,
) -> Result<Vec<IndexMap<String, Prediction>>> {
    let mut parts: Vec<Part<'_>> = batches
        .into_iter()
        .map(|(model, inputs)| Part::new(model, inputs))
        .collect::<Result<_>>()?;
    let Some(first) = parts.first() else { return Ok(Vec::new()) };
    if !parts.iter().all(|part| first.model.shares_passes_with(part.model)) {
        return Err(Error::Config("models of one pass: their encoders are not alike".to_owned()));
    }
    let passes = encode(&mut parts, (phase, &mut |_| {}))?;
    let models = parts.iter().map(|part| part.model);
    models.zip(passes).map(|(model, pass)| model.predict(pass.outputs, phase)).collect()
}

/// A batch of a model.
pub(super) struct Part<'a> {
    pub(super) model: &'a TunedMultiVit,
    pub(super) embedded: Embedded,
    /// What pools choose by, `(B, width)`; computed where it is needed and not given.
    pub(super) queries: Option<Tensor<2>>,
}

impl<'a> Part<'a> {
    /// # Errors
    /// If the inputs do not fit.
    pub(super) fn new(model: &'a TunedMultiVit, inputs: Inputs) -> Result<Self> {
        Ok(Self { model, embedded: model.vit.embed(inputs)?, queries: None })
    }
}

/// What came out of a pass for a part.
pub(super) struct Pass {
    /// What each head reads, in their order.
    pub(super) outputs: Vec<EncoderOutput>,
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

/// A batch that is about to go through a block.
pub(super) struct Watched<'a> {
    /// The number of the block.
    pub(super) index: usize,
    /// The task, behind the branch.
    pub(super) task: Option<&'a str>,
    /// Tokens without prompts.
    pub(super) own: usize,
    /// Block, tokens with those of prompts behind them, and what guides the block.
    pub(super) batch: &'a Guided<'a>,
}

/// Runs the blocks, under the eyes of somebody.
pub(super) fn encode(
    parts: &mut [Part<'_>],
    (phase, watch): (&mut Phase<'_>, &mut dyn FnMut(Watched<'_>)),
) -> Result<Vec<Pass>> {
    add_queries(parts)?;
    let mut ways: Vec<Way<'_>> =
        parts.iter().map(|part| Way::new(part, phase)).collect::<Result<_>>()?;
    for index in blocks(&ways) {
        ways.iter_mut().try_for_each(|way| way.branch(index, phase))?;
        step(&mut ways, index, (phase, watch));
    }
    Ok(ways.into_iter().map(Way::end).collect())
}

/// Computes the queries that parts need: those of the encoder's output in one pass without prompts.
pub(super) fn add_queries(parts: &mut [Part<'_>]) -> Result<()> {
    for part in parts.iter_mut().filter(|part| part.queries.is_none()) {
        let Embedded { sequence, layout } = &part.embedded;
        if let Some(query) = part.model.query_kind().filter(|query| !query.needs_pass()) {
            part.queries = Some(query.of_embeddings(sequence, layout)?);
        }
    }
    let (places, mut ways): (Vec<usize>, Vec<Way<'_>>) = parts
        .iter()
        .enumerate()
        .filter(|(_, part)| part.queries.is_none() && part.model.query_kind().is_some())
        .map(|(place, part)| Ok((place, Way::without_prompts(part)?)))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .unzip();
    for index in blocks(&ways) {
        step(&mut ways, index, (&mut Phase::Evaluation, &mut |_| {}));
    }
    let queries = ways.into_iter().map(Way::queries).collect::<Result<Vec<_>>>()?;
    for (place, queries) in places.into_iter().zip(queries) {
        parts[place].queries = queries;
    }
    Ok(())
}

fn blocks(ways: &[Way<'_>]) -> Range<usize> {
    0..ways.first().map_or(0, |way| way.part.model.vit.encoder.len())
}

/// Takes all batches through a block.
fn step(
    ways: &mut [Way<'_>],
    index: usize,
    (phase, watch): (&mut Phase<'_>, &mut dyn FnMut(Watched<'_>)),
) {
    let mut batches = Vec::new();
    for way in &*ways {
        for lane in &way.lanes {
            let (tokens, guidance) = lane.passage.enter();
            let model = way.part.model;
            let (block, rate) = (&model.vit.encoder[index], model.drop_path_rate(index));
            let batch = Guided { block, tokens, guidance, rate };
            let [_, own, _] = lane.passage.tokens().dims();
            watch(Watched { index, task: lane.task, own, batch: &batch });
            batches.push(batch);
        }
    }
    let lanes = ways.iter_mut().flat_map(|way| &mut way.lanes);
    for (lane, tokens) in lanes.zip(Block::forward_side_by_side(batches, phase)) {
        lane.passage.leave(tokens);
        lane.layers.push(lane.passage.tokens().clone());
    }
}

/// A part on its way through the encoder: in one lane, behind the branch in one per task.
struct Way<'a> {
    part: &'a Part<'a>,
    lanes: Vec<Lane<'a>>,
    chosen: Vec<Chosen>,
}

struct Lane<'a> {
    task: Option<&'a str>,
    passage: Passage,
    /// The outputs of the blocks so far.
    layers: Vec<Tensor<3>>,
}

impl<'a> Way<'a> {
    /// Before the first block.
    fn new(part: &'a Part<'a>, phase: &mut Phase<'_>) -> Result<Self> {
        let TunedMultiVit { prompts, branch, .. } = part.model;
        let mut way = Self { part, lanes: Vec::new(), chosen: Vec::new() };
        let prompts = match prompts {
            Some(source) => way.prompts((SHARED, source), phase)?,
            None => Vec::new(),
        };
        let passage = Passage::new(part.embedded.sequence.clone(), prompts, *branch)?;
        way.lanes.push(Lane { task: None, passage, layers: Vec::new() });
        Ok(way)
    }

    /// The same for queries, which have no gradient.
    fn without_prompts(part: &'a Part<'a>) -> Result<Self> {
        let depth = part.model.vit.encoder.len();
        let sequence = part.embedded.sequence.clone().detach();
        let passage = Passage::new(sequence, Vec::new(), depth)?;
        let lane = Lane { task: None, passage, layers: Vec::new() };
        Ok(Self { part, lanes: vec![lane], chosen: Vec::new() })
    }

    /// Opens a lane for every task if the block is the one where they part.
    fn branch(&mut self, index: usize, phase: &mut Phase<'_>) -> Result<()> {
        let TunedMultiVit { task_prompts, branch, vit, .. } = self.part.model;
        if index != *branch {
            return Ok(());
        }
        for trunk in std::mem::take(&mut self.lanes) {
            for (task, source) in task_prompts.iter() {
                let prompts = self.prompts((task, source), phase)?;
                let tokens = trunk.passage.tokens().clone();
                let passage = Passage::new(tokens, prompts, vit.encoder.len() - branch)?;
                let layers = trunk.layers.clone();
                self.lanes.push(Lane { task: Some(task), passage, layers });
            }
        }
        Ok(())
    }

    /// The prompts of a source, and what the norms that it conditions make of them.
    fn prompts(
        &mut self,
        (name, source): (&str, &PromptSource),
        phase: &mut Phase<'_>,
    ) -> Result<Vec<Prompts>> {
        let [samples, _, _] = self.part.embedded.sequence.dims();
        let Given { mut prompts, selection } =
            source.forward(samples, self.part.queries.clone(), phase)?;
        if let Some(selection) = selection {
            let terms = source.terms(&selection);
            self.chosen.push(Chosen { source: name.to_owned(), selection, terms });
        }
        let norms = self.part.model.prompt_norms.get(name);
        prompts.extend(norms.and_then(|norms| norms.forward(&prompts)));
        Ok(prompts)
    }

    /// Behind the last block of a pass without prompts.
    fn queries(self) -> Result<Option<Tensor<2>>> {
        let Part { model, embedded, .. } = self.part;
        let Some(query) = model.query_kind() else { return Ok(None) };
        let layers = self.lanes.into_iter().flat_map(|lane| lane.layers).collect();
        query.of_output(&model.vit.output(embedded, layers)).map(Some)
    }

    /// Behind the last block.
    fn end(self) -> Pass {
        let Part { model, embedded, .. } = self.part;
        let lane =
            |head: &str| self.lanes.iter().find(|lane| lane.task.is_none_or(|task| task == head));
        let layers = |head| lane(head).map(|lane| lane.layers.clone()).unwrap_or_default();
        let heads = model.vit.output_adapters.names();
        let outputs = heads.map(|head| model.vit.output(embedded, layers(head))).collect();
        Pass { outputs, chosen: self.chosen }
    }
}
