//! The pass of batches through the encoder: a block at a time, the batches of all models together,
//! behind a branch once per task.

use std::ops::Range;

use burn::tensor::Tensor;
use indexmap::IndexMap;

use super::unprompted::UnpromptedPass;
use super::{FrozenPrefix, PeftModel, PrefixFeatures, SHARED};
use crate::encoder::Phase;
use crate::encoder_output::EncoderOutput;
use crate::input_adapters::ModalityTensor;
use crate::multivit::Embedded;
use crate::nn::{Block, BlockInput};
use crate::output_adapters::Prediction;
use crate::prompts::{
    ImagePatches, PromptSource, PromptedSequence, Prompts, Selection, SourceInput, SourceOutput,
    changed_part,
};
use crate::tokens::Inputs;
use crate::{Error, Result};

/// Predicts batches of several models in one pass through the encoder, whose linear layers run one
/// GEMM for all of them: inputs, prompts, norms and low-rank updates are each model's own.
///
/// # Errors
/// If the models' encoders are not alike (see [`PeftModel::can_batch_with`]), or inputs,
/// prompts or heads do not fit.
pub fn forward_batched(
    batches: Vec<(&PeftModel, Inputs)>,
    phase: &mut Phase<'_>,
) -> Result<Vec<IndexMap<String, Prediction>>> {
    let mut model_batches: Vec<ModelBatch<'_>> = batches
        .into_iter()
        .map(|(model, inputs)| ModelBatch::new(model, inputs))
        .collect::<Result<_>>()?;
    let Some(first) = model_batches.first() else { return Ok(Vec::new()) };
    if !model_batches.iter().all(|batch| first.model.can_batch_with(batch.model)) {
        return Err(Error::Config("models of one pass: their encoders are not alike".to_owned()));
    }
    let passes = encode(&mut model_batches, (phase, &mut |_| {}))?;
    let models = model_batches.iter().map(|batch| batch.model);
    models
        .zip(passes)
        .map(|(model, pass)| {
            let heads = model.vit.output_adapters.names().zip(pass.outputs);
            heads
                .map(|(task, output)| Ok((task.to_owned(), model.predict(task, output, phase)?)))
                .collect()
        })
        .collect()
}

/// A batch of a model.
pub(super) struct ModelBatch<'a> {
    pub(super) model: &'a PeftModel,
    pub(super) embedded: Embedded,
    /// The queries of pools, `(B, width)`; computed on demand unless given.
    pub(super) queries: Option<Tensor<2>>,
    /// The patches that sources of prompts ask for.
    pub(super) patches: Option<ImagePatches>,
    /// The outputs of the blocks that are not computed any more; `embedded` is behind them.
    pub(super) layers: Vec<Tensor<3>>,
    /// The outputs of blocks behind those without prompts, which a side network reads; computed on demand unless
    /// given.
    pub(super) unprompted: Vec<(usize, Tensor<3>)>,
}

impl<'a> ModelBatch<'a> {
    /// # Errors
    /// If the inputs do not fit.
    pub(super) fn new(model: &'a PeftModel, inputs: Inputs) -> Result<Self> {
        let modality = model.sources().find_map(PromptSource::modality);
        let patches = modality.map(|name| model.vit.patches(&inputs, name)).transpose()?;
        let embedded = model.vit.embed(inputs)?;
        let (layers, unprompted) = (Vec::new(), Vec::new());
        Ok(Self { model, embedded, queries: None, patches, layers, unprompted })
    }
}

impl ModelBatch<'_> {
    /// Tokens of patches in a sequence.
    fn num_patches(&self) -> usize {
        self.embedded.layout.num_tokens()
    }
}

impl<'a> ModelBatch<'a> {
    /// A batch behind the blocks of a prefix, of which the outputs are known.
    ///
    /// # Errors
    /// If the inputs or the features do not fit.
    pub(super) fn behind(
        model: &'a PeftModel,
        inputs: &Inputs,
        (prefix, features): (&FrozenPrefix, &PrefixFeatures),
    ) -> Result<Self> {
        let layout = model.vit.layout(inputs)?;
        let batch = inputs.values().next().map_or(0, ModalityTensor::batch);
        let config = model.vit.config();
        let expected =
            [batch, layout.num_tokens() + config.num_global_tokens, config.encoder.width];
        let fit = features.len() == prefix.taps.len()
            && features.iter().all(|features| features.dims() == expected);
        let last = prefix.taps.iter().position(|tap| tap + 1 == prefix.blocks);
        let last = last.and_then(|place| features.get(place));
        let Some(sequence) = last.filter(|_| fit).cloned() else {
            return Err(Error::Config(format!(
                "features of {} blocks, where {:?} are of {expected:?}",
                features.len(),
                prefix.taps
            )));
        };
        let modality = model.sources().find_map(PromptSource::modality);
        let patches = modality.map(|name| model.vit.patches(inputs, name)).transpose()?;
        let layers = prefix.layers(features, &sequence.device());
        let unprompted = prefix.behind(features);
        let embedded = Embedded { sequence, layout };
        Ok(Self { model, embedded, queries: None, patches, layers, unprompted })
    }
}

/// The output of a pass for a batch.
pub(super) struct PassOutput {
    /// The input of each head, in their order.
    pub(super) outputs: Vec<EncoderOutput>,
    /// The selections of the samples, in the order of the sources.
    pub(super) selections: Vec<SourceSelection>,
}

/// The selections of a source's samples.
pub(super) struct SourceSelection {
    /// The source: [`SHARED`] or a task.
    pub(super) source: String,
    pub(super) selection: Selection,
    /// The loss terms of the selection, with their weights.
    pub(super) terms: Vec<(&'static str, Tensor<1>)>,
}

/// A function that is called before every block with its input.
pub(super) type BlockHook<'h> = dyn FnMut(HookInput<'_>) + 'h;

/// A batch that is about to go through a block.
pub(super) struct HookInput<'a> {
    /// The number of the block.
    pub(super) index: usize,
    /// The task, behind the branch.
    pub(super) task: Option<&'a str>,
    /// Tokens without prompts.
    pub(super) own: usize,
    /// Block, tokens with those of prompts behind them, and what guides the block.
    pub(super) batch: &'a BlockInput<'a>,
    /// The batch that the tokens are of.
    pub(super) sequence: &'a PromptedSequence,
}

/// Runs the blocks and calls the hook before each.
pub(super) fn encode(
    model_batches: &mut [ModelBatch<'_>],
    (phase, hook): (&mut Phase<'_>, &mut BlockHook<'_>),
) -> Result<Vec<PassOutput>> {
    add_queries(model_batches)?;
    let mut passes: Vec<EncoderPass<'_>> =
        model_batches.iter().map(|batch| EncoderPass::new(batch, phase)).collect::<Result<_>>()?;
    for index in blocks(&passes) {
        let begun = |pass: &&mut EncoderPass<'_>| pass.batch.layers.len() <= index;
        for pass in passes.iter_mut().filter(begun) {
            pass.split(index);
            pass.branch(index, phase)?;
        }
        step(&mut passes, index, (phase, hook));
    }
    passes.into_iter().map(EncoderPass::end).collect()
}

/// Computes the queries that parts need: those of the encoder's output in one pass without prompts.
pub(super) fn add_queries(model_batches: &mut [ModelBatch<'_>]) -> Result<()> {
    for batch in model_batches.iter_mut().filter(|batch| batch.queries.is_none()) {
        let Embedded { sequence, layout } = &batch.embedded;
        if let Some(query) = batch.model.query_kind().filter(|query| !query.needs_pass()) {
            batch.queries = Some(query.of_embeddings(sequence, layout)?);
        }
    }
    let (places, mut passes): (Vec<usize>, Vec<EncoderPass<'_>>) = model_batches
        .iter()
        .enumerate()
        .filter(|(_, batch)| batch.queries.is_none() && batch.model.query_kind().is_some())
        .map(|(place, batch)| Ok((place, EncoderPass::without_prompts(batch)?)))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .unzip();
    for index in blocks(&passes) {
        step(&mut passes, index, (&mut Phase::Evaluation, &mut |_| {}));
    }
    let queries = passes.into_iter().map(EncoderPass::queries).collect::<Result<Vec<_>>>()?;
    for (place, queries) in places.into_iter().zip(queries) {
        model_batches[place].queries = queries;
    }
    Ok(())
}

/// The blocks that at least one pass goes through.
fn blocks(passes: &[EncoderPass<'_>]) -> Range<usize> {
    let first = passes.iter().map(|pass| pass.batch.layers.len()).min().unwrap_or(0);
    first..passes.first().map_or(0, |pass| pass.batch.model.vit.encoder.len())
}

/// Takes all batches that are not behind a block through it.
fn step(
    passes: &mut [EncoderPass<'_>],
    index: usize,
    (phase, hook): (&mut Phase<'_>, &mut BlockHook<'_>),
) {
    let mut batches = Vec::new();
    let begun = |pass: &EncoderPass<'_>| pass.batch.layers.len() <= index;
    for pass in passes.iter().filter(|pass| begun(pass)) {
        for stream in &pass.streams {
            let (tokens, conditioning) = stream.sequence.block_input();
            let model = pass.batch.model;
            let (block, rate) = (&model.vit.encoder[index], model.drop_path_rate(index));
            let batch = BlockInput { block, tokens, conditioning, rate };
            let [_, own, _] = stream.sequence.tokens().dims();
            let sequence = &stream.sequence;
            hook(HookInput { index, task: stream.task, own, batch: &batch, sequence });
            batches.push(batch);
        }
    }
    let mut outputs = Block::forward_batched(batches, phase).into_iter();
    for pass in passes.iter_mut().filter(|pass| begun(pass)) {
        for (stream, tokens) in pass.streams.iter_mut().zip(outputs.by_ref()) {
            stream.sequence.push_output(tokens);
            stream.layers.push(stream.sequence.tokens().clone());
        }
        if let Some(unprompted) = &mut pass.unprompted {
            unprompted.step(&pass.batch.model.vit.encoder[index]);
        }
    }
}

/// The pass of a batch through the encoder: one stream, behind the branch one per task.
struct EncoderPass<'a> {
    batch: &'a ModelBatch<'a>,
    streams: Vec<TaskStream<'a>>,
    /// The blocks without prompts, where there are prompts and a side network reads what is without.
    unprompted: Option<UnpromptedPass>,
    selections: Vec<SourceSelection>,
}

struct TaskStream<'a> {
    task: Option<&'a str>,
    sequence: PromptedSequence,
    /// The outputs of the blocks so far.
    layers: Vec<Tensor<3>>,
}

impl<'a> EncoderPass<'a> {
    /// Before the first block.
    fn new(batch: &'a ModelBatch<'a>, phase: &mut Phase<'_>) -> Result<Self> {
        let PeftModel { prompts, branch, .. } = batch.model;
        let mut pass = Self::of(batch, Vec::new());
        let prompts = match prompts {
            Some(source) => pass.prompts((SHARED, source), phase)?,
            None => Vec::new(),
        };
        let tokens = batch.embedded.sequence.clone();
        let sequence = PromptedSequence::new((tokens, batch.num_patches()), prompts, *branch)?;
        let (sequence, layers) = (sequence.behind(batch.layers.len()), batch.layers.clone());
        pass.streams.push(TaskStream { task: None, sequence, layers });
        Ok(pass)
    }

    /// The same for queries, which have no gradient.
    fn without_prompts(batch: &'a ModelBatch<'a>) -> Result<Self> {
        let depth = batch.model.vit.encoder.len();
        let sequence = batch.embedded.sequence.clone().detach();
        let sequence = (sequence, batch.num_patches());
        let sequence = PromptedSequence::new(sequence, Vec::new(), depth)?;
        let stream = TaskStream { task: None, sequence, layers: Vec::new() };
        Ok(Self::of(batch, vec![stream]))
    }

    fn of(batch: &'a ModelBatch<'a>, streams: Vec<TaskStream<'a>>) -> Self {
        Self { batch, streams, unprompted: None, selections: Vec::new() }
    }

    /// Begins the pass without prompts if the block is the first that prompts reach, and a side network reads the
    /// blocks from there on.
    fn split(&mut self, index: usize) {
        let ModelBatch { model, unprompted, .. } = self.batch;
        if model.side.is_none() || !unprompted.is_empty() || index != model.first_prompted() {
            return;
        }
        let begin = |shared: &TaskStream<'_>| {
            UnpromptedPass::new(shared.sequence.tokens().clone(), shared.layers.clone())
        };
        self.unprompted = self.streams.first().map(begin);
    }

    /// Changes the outputs that heads read by the side network.
    fn add_side(&mut self) -> Result<()> {
        let ModelBatch { model, embedded, unprompted: kept, .. } = self.batch;
        let Some(side) = &model.side else { return Ok(()) };
        let computed = match &self.unprompted {
            Some(unprompted) => unprompted.layers(),
            None => self.streams.first().map_or(&[][..], |stream| &stream.layers),
        };
        let layer = |block: usize| {
            let kept = kept.iter().find(|(at, _)| *at == block).map(|(_, layer)| layer);
            kept.or_else(|| computed.get(block)).cloned().ok_or_else(|| {
                Error::Config(format!("the side network reads block {block}, which has no output"))
            })
        };
        let changes = side.changes(layer, &embedded.layout)?;
        let part = (0, self.batch.num_patches());
        for stream in &mut self.streams {
            for (block, change) in &changes {
                if let Some(layer) = stream.layers.get_mut(*block) {
                    *layer = changed_part(layer.clone(), part, |patches| patches + change.clone());
                }
            }
        }
        Ok(())
    }

    /// Opens a lane for every task if the block is the one where they part.
    fn branch(&mut self, index: usize, phase: &mut Phase<'_>) -> Result<()> {
        let PeftModel { task_prompts, branch, vit, .. } = self.batch.model;
        if index != *branch {
            return Ok(());
        }
        for shared in std::mem::take(&mut self.streams) {
            for (task, source) in task_prompts.iter() {
                let prompts = self.prompts((task, source), phase)?;
                let tokens = (shared.sequence.tokens().clone(), self.batch.num_patches());
                let sequence = PromptedSequence::new(tokens, prompts, vit.encoder.len() - branch)?;
                let layers = shared.layers.clone();
                self.streams.push(TaskStream { task: Some(task), sequence, layers });
            }
        }
        Ok(())
    }

    /// Returns the prompts of a source, and the modulation of the norms that they condition.
    fn prompts(
        &mut self,
        (name, source): (&str, &PromptSource),
        phase: &mut Phase<'_>,
    ) -> Result<Vec<Prompts>> {
        let ModelBatch { embedded, queries, patches, .. } = self.batch;
        let [batch, _, _] = embedded.sequence.dims();
        let shared = self.batch.model.branch_prompts.clone();
        let (queries, patches) = (queries.clone(), patches.clone());
        let input = SourceInput { batch, queries, patches, shared };
        let SourceOutput { mut prompts, selection } = source.forward(input, phase)?;
        if let Some(selection) = selection {
            let terms = source.terms(&selection);
            self.selections.push(SourceSelection { source: name.to_owned(), selection, terms });
        }
        let norms = self.batch.model.prompt_norms.get(name);
        prompts.extend(norms.and_then(|norms| norms.forward(&prompts)));
        Ok(prompts)
    }

    /// Behind the last block of a pass without prompts.
    fn queries(self) -> Result<Option<Tensor<2>>> {
        let ModelBatch { model, embedded, .. } = self.batch;
        let Some(query) = model.query_kind() else { return Ok(None) };
        let layers = self.streams.into_iter().flat_map(|stream| stream.layers).collect();
        query.of_output(&model.vit.output(embedded, layers)).map(Some)
    }

    /// Behind the last block.
    fn end(mut self) -> Result<PassOutput> {
        self.add_side()?;
        let ModelBatch { model, embedded, .. } = self.batch;
        let stream = |head: &str| {
            self.streams.iter().find(|stream| stream.task.is_none_or(|task| task == head))
        };
        let layers = |head| stream(head).map(|stream| stream.layers.clone()).unwrap_or_default();
        let heads = model.vit.output_adapters.names();
        let outputs = heads.map(|head| model.vit.output(embedded, layers(head))).collect();
        Ok(PassOutput { outputs, selections: self.selections })
    }
}
