//! The encoder's blocks with prompts, once per task behind a branch.

use multimae::burn::tensor::Tensor;
use multimae::modality::Size;
use multimae::peft::PeftModel;
use multimae::prompts::{PromptSource, Query};

use super::graph::{Extent, Graph, Value};
use super::inputs::InputValues;
use super::layers::{Conditioning, CrossMaps};
use super::prompts::{BlockPrompts, Form, PromptInput};
use crate::{Error, Result};

/// The name of the prompts that tasks share.
const SHARED: &str = "shared";

/// The outputs of all blocks for each task, without prompts: `(B, S + G, width)`.
pub(super) struct TaskLayers {
    /// The task; all of them if there is none.
    pub(super) task: Option<String>,
    /// By block.
    pub(super) layers: Vec<Value>,
}

/// Tokens between two blocks, with the prompts of the blocks that follow.
struct Stream {
    task: Option<String>,
    tokens: Value,
    patches: usize,
    prompts: Vec<BlockPrompts>,
    /// Input and output of each source's prompt tokens at the last block.
    carried: Vec<Option<(Value, Value)>>,
    /// The number of the next block, counted from the first with these prompts.
    index: usize,
    layers: Vec<Value>,
}

impl Graph<'_> {
    /// The passes of all tasks over embedded inputs.
    pub(super) fn encoder(
        &mut self,
        model: &PeftModel,
        (inputs, grid): (&[InputValues], Size),
    ) -> Result<Vec<TaskLayers>> {
        let sequence = self.sequence(inputs)?;
        let patches = inputs.iter().map(|input| input.tokens.extent(1)).sum();
        let queries = self.queries(model, &sequence, patches)?;
        let shared = model.branch_prompts.as_ref();
        let input = PromptInput { queries: queries.as_ref(), inputs, shared };
        let shared = match &model.prompts {
            Some(source) => self.with_norms(model, ("prompts", SHARED), source, input)?,
            None => Vec::new(),
        };
        let mut streams = vec![Stream::new(None, sequence, patches, shared, Vec::new())];
        let mut unprompted = None;
        for index in 0..model.vit.encoder.len() {
            if index == model.first_prompted() && model.side.is_some() {
                unprompted = streams.first().map(Stream::without_prompts);
            }
            if index == model.branch() {
                streams = self.branched(model, streams, input)?;
            }
            for stream in streams.iter_mut().chain(&mut unprompted) {
                self.step(model, index, stream)?;
            }
        }
        if let Some(side) = &model.side {
            let layers =
                unprompted.as_ref().or(streams.first()).map(|stream| stream.layers.clone());
            let changes = self.side(side, &layers.unwrap_or_default(), (inputs.len(), grid))?;
            self.add_changes(&mut streams, &changes)?;
        }
        let ends = streams.into_iter();
        Ok(ends.map(|Stream { task, layers, .. }| TaskLayers { task, layers }).collect())
    }

    /// Adds changes of patches to the outputs of blocks.
    fn add_changes(&mut self, streams: &mut [Stream], changes: &[(usize, Value)]) -> Result<()> {
        for stream in streams {
            for (block, change) in changes {
                let part = (0, stream.patches);
                let layer = stream.layers[*block].clone();
                stream.layers[*block] =
                    self.changed_part(&layer, part, |graph, part| Ok(graph.add(&part, change)))?;
            }
        }
        Ok(())
    }

    /// The streams of tasks with prompts of their own.
    fn branched(
        &mut self,
        model: &PeftModel,
        streams: Vec<Stream>,
        input: PromptInput<'_>,
    ) -> Result<Vec<Stream>> {
        let mut branched = Vec::new();
        for Stream { tokens, patches, layers, .. } in streams {
            for (task, source) in model.task_prompts.iter() {
                let name = format!("task_prompts.{task}");
                let prompts = self.with_norms(model, (&name, task), source, input)?;
                let (tokens, layers) = (tokens.clone(), layers.clone());
                branched.push(Stream::new(Some(task.to_owned()), tokens, patches, prompts, layers));
            }
        }
        Ok(branched)
    }

    /// The prompts of a source, and the norms that they condition.
    fn with_norms(
        &mut self,
        model: &PeftModel,
        (name, owner): (&str, &str),
        source: &PromptSource,
        input: PromptInput<'_>,
    ) -> Result<Vec<BlockPrompts>> {
        let mut prompts = self.prompts(name, source, input)?;
        if model.prompt_norms.get(owner).is_some() {
            let norms = self.prompt_norms(&format!("prompt_norms.{owner}"), &prompts)?;
            prompts.extend(norms);
        }
        Ok(prompts)
    }

    /// The queries of pools, `(B, width)`, if there are pools; some need a pass without prompts.
    fn queries(
        &mut self,
        model: &PeftModel,
        sequence: &Value,
        patches: usize,
    ) -> Result<Option<Value>> {
        let of_tasks = model.task_prompts.iter().map(|(_, source)| source);
        let mut sources = model.prompts.iter().chain(of_tasks);
        let Some(query) = sources.find_map(PromptSource::query) else { return Ok(None) };
        let global = sequence.extent(1) - patches;
        let (start, count) = match query {
            Query::Global => (patches, global),
            Query::Patches | Query::Embeddings => (0, patches),
        };
        if count == 0 {
            return Err(Error::Request("its pools ask for global tokens; it has none".to_owned()));
        }
        let mut tokens = sequence.clone();
        if query.needs_pass() {
            let heads = model.vit.config().encoder.heads;
            for index in 0..model.vit.encoder.len() {
                let name = format!("encoder.{index}");
                tokens = self.block(&name, &tokens, heads, &Conditioning::default())?;
            }
        }
        self.at("query");
        let tokens = self.slice(&tokens, 1, start, count)?;
        let mean = self.mean(&tokens, 1);
        self.reshape(&mean, &[mean.shape[0], mean.shape[2]]).map(Some)
    }

    /// One block over one stream.
    fn step(&mut self, model: &PeftModel, index: usize, stream: &mut Stream) -> Result<()> {
        let name = format!("encoder.{index}");
        self.at(&name);
        let slots = self.slots(stream)?;
        let own = stream.tokens.extent(1);
        let mut parts = vec![self.with_summands(stream)?];
        parts.extend(slots.iter().flatten().cloned());
        let sequence = self.concat(&parts, 1);
        let conditioning = self.conditioning(model, index, stream)?;
        let heads = model.vit.config().encoder.heads;
        let output = self.block(&name, &sequence, heads, &conditioning)?;
        stream.carried = self.carried(&output, own, slots)?;
        let tokens = self.slice(&output, 1, 0, own)?;
        stream.tokens = self.with_regions(stream, tokens)?;
        stream.layers.push(stream.tokens.clone());
        stream.index += 1;
        Ok(())
    }

    /// The prompt tokens of every source for the next block, `(B, P, width)`.
    fn slots(&mut self, stream: &Stream) -> Result<Vec<Option<Value>>> {
        let mut slots = Vec::new();
        for (prompts, carried) in stream.prompts.iter().zip(&stream.carried) {
            let Form::Tokens { layers, gates } = &prompts.form else {
                slots.push(None);
                continue;
            };
            let layer = prompts.layer(stream.index, layers.len());
            let own = match layer.and_then(|layer| layers.get(layer)) {
                Some(own) => Some(self.of_every_sample(own)?),
                None => None,
            };
            let Some((input, output)) = carried else {
                slots.push(own);
                continue;
            };
            let gate = stream.index.checked_sub(prompts.first + 1);
            let gate = gate.and_then(|at| gates.as_ref()?.get(at).copied());
            slots.push(Some(match (gate, own) {
                (None, own) => own.unwrap_or_else(|| output.clone()),
                (Some(gate), own) => {
                    let fresh = own.unwrap_or_else(|| input.clone());
                    let change = self.like_first("Sub", output, &fresh);
                    let change = self.scaled(&change, gate)?;
                    self.add(&fresh, &change)
                }
            }));
        }
        Ok(slots)
    }

    /// A constant of all samples for each of them; a value of each is already.
    fn of_every_sample(&mut self, value: &Value) -> Result<Value> {
        if value.shape[0] == Extent::Of(1) && self.batch() != Extent::Of(1) {
            return self.for_each_sample(value);
        }
        Ok(value.clone())
    }

    /// Input and output of prompt tokens behind a block.
    fn carried(
        &mut self,
        output: &Value,
        own: usize,
        slots: Vec<Option<Value>>,
    ) -> Result<Vec<Option<(Value, Value)>>> {
        let mut start = own;
        let mut carried = Vec::new();
        for slot in slots {
            carried.push(match slot {
                Some(input) => {
                    let count = input.extent(1);
                    let part = self.slice(output, 1, start, count)?;
                    start += count;
                    Some((input, part))
                }
                None => None,
            });
        }
        Ok(carried)
    }

    /// The tokens with the summands of their block.
    fn with_summands(&mut self, stream: &Stream) -> Result<Value> {
        let mut tokens = stream.tokens.clone();
        for prompts in &stream.prompts {
            let Form::Additive { start, layers } = &prompts.form else { continue };
            let layer = prompts.layer(stream.index, layers.len());
            let Some(values) = layer.and_then(|layer| layers.get(layer)) else { continue };
            let part = (*start, values.extent(1));
            tokens =
                self.changed_part(&tokens, part, |graph, part| Ok(graph.add(&part, values)))?;
        }
        Ok(tokens)
    }

    /// The tokens behind a block, with the patches changed by what they find at the block's regions.
    fn with_regions(&mut self, stream: &Stream, tokens: Value) -> Result<Value> {
        let mut tokens = tokens;
        for prompts in &stream.prompts {
            let Form::Regions { layers, change } = &prompts.form else { continue };
            let layer = prompts.layer(stream.index, layers.len());
            let Some((keys, values)) = layer.and_then(|layer| layers.get(layer)) else { continue };
            tokens = self.changed_part(&tokens, (0, stream.patches), |graph, patches| {
                graph.at(change);
                let width = patches.extent(2) as f32;
                let keys = graph.constant("keys", keys)?;
                let values = graph.constant("values", values)?;
                let scores = graph.matmul(&patches, &keys);
                let scores = graph.scaled(&scores, width.powf(-0.5))?;
                let shares = graph.softmax(&scores);
                let found = graph.matmul(&shares, &values);
                let found = graph.add(&found, &patches);
                let down = format!("{change}.down");
                let found = match graph.has(&format!("{down}.weight")) {
                    true => graph.linear(&down, &found)?,
                    false => found,
                };
                let change = graph.linear(&format!("{change}.up"), &found)?;
                Ok(graph.add(&patches, &change))
            })?;
        }
        Ok(tokens)
    }

    /// Tokens of which `count` from `start` on are changed.
    fn changed_part(
        &mut self,
        tokens: &Value,
        (start, count): (usize, usize),
        change: impl FnOnce(&mut Self, Value) -> Result<Value>,
    ) -> Result<Value> {
        let all = tokens.extent(1);
        let mut parts = Vec::new();
        if start > 0 {
            parts.push(self.slice(tokens, 1, 0, start)?);
        }
        let inside = self.slice(tokens, 1, start, count)?;
        parts.push(change(self, inside)?);
        if start + count < all {
            parts.push(self.slice(tokens, 1, start + count, all - start - count)?);
        }
        Ok(self.concat(&parts, 1))
    }

    /// Everything that a block takes besides its tokens.
    fn conditioning(
        &mut self,
        model: &PeftModel,
        index: usize,
        stream: &Stream,
    ) -> Result<Conditioning> {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        let mut conditioning = Conditioning::default();
        for prompts in &stream.prompts {
            match &prompts.form {
                Form::Prefix(layers) => {
                    let layer = prompts.layer(stream.index, layers.len());
                    if let Some((key, value)) = layer.and_then(|layer| layers.get(layer)) {
                        keys.push(self.of_every_sample(key)?);
                        values.push(self.of_every_sample(value)?);
                    }
                }
                Form::Norms(layers) => {
                    let layer = prompts.layer(stream.index, layers.len());
                    conditioning.modulation = layer.and_then(|layer| layers.get(layer).cloned());
                }
                Form::Cross(layers) => {
                    let layer = prompts.layer(stream.index, layers.len());
                    let tokens = layer.and_then(|layer| layers.get(layer));
                    conditioning
                        .cross
                        .extend(tokens.map(|tokens| cross_maps(model, index, tokens)));
                }
                Form::Tokens { .. } | Form::Additive { .. } | Form::Regions { .. } => {}
            }
        }
        if !keys.is_empty() {
            conditioning.prefix = Some((self.concat(&keys, 1), self.concat(&values, 1)));
        }
        Ok(conditioning)
    }
}

impl Stream {
    fn new(
        task: Option<String>,
        tokens: Value,
        patches: usize,
        prompts: Vec<BlockPrompts>,
        layers: Vec<Value>,
    ) -> Self {
        let carried = prompts.iter().map(|_| None).collect();
        Self { task, tokens, patches, prompts, carried, index: 0, layers }
    }

    /// The same before its first prompts.
    fn without_prompts(&self) -> Self {
        Self::new(None, self.tokens.clone(), self.patches, Vec::new(), self.layers.clone())
    }
}

/// The maps of attention to tokens apart, as a block's projections make them.
fn cross_maps(model: &PeftModel, index: usize, tokens: &Tensor<2>) -> CrossMaps {
    let maps = model.vit.encoder[index].attn.apart(tokens.clone());
    let right = |weight: Tensor<2>| weight.transpose().into_data();
    CrossMaps {
        scores: (right(maps.scores.0), maps.scores.1.map(Tensor::into_data)),
        found: (right(maps.found.0), maps.found.1.map(Tensor::into_data)),
        heads: model.vit.config().encoder.heads,
    }
}
