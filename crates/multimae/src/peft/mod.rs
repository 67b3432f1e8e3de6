//! A MultiViT and what tuning adds to it: prompts, prompts of tasks, norms before the heads, and
//! changes of the encoder's layers.

mod attention;
mod pass;
mod prefix;
mod prompt_init;
mod side;
mod unprompted;

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::encoder::Phase;
use crate::encoder_output::EncoderOutput;
use crate::multivit::{MultiVit, MultiVitConfig};
use crate::nn::{Block, LayerNorm, LoraConfig, LoraTarget, ModuleMap};
use crate::output_adapters::Prediction;
use crate::prompts::{
    self, PromptConfig, PromptNorms, PromptSource, Query, ReinPrompts, Selection,
};
use crate::tokens::Inputs;
use crate::{Error, Result};

pub use attention::BlockAttention;
pub use pass::forward_batched;
use pass::{ModelBatch, PassOutput, SourceSelection};
pub use prefix::{FrozenPrefix, PrefixFeatures};
pub use prompt_init::{random_prompts, self_prompts};
pub use side::{SideConfig, SideNetwork, SideRung};

/// The name of the norms that the prompts of all tasks condition.
const SHARED: &str = "shared";

/// The PEFT modules of a model. The default has none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeftConfig {
    /// Prompts of the encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompts: Option<PromptConfig>,
    /// The block from which on every task has prompts, and with them tokens, of its own. With 0
    /// the encoder runs once per task, with the number of blocks once for all; absent, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch_at: Option<usize>,
    /// Rank of scale and shift behind the norms of the blocks, made from the prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_norms: Option<usize>,
    /// Low-rank adaptation of linear layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// Scale and shift behind every linear layer and every norm of the blocks.
    #[serde(default)]
    pub ssf: bool,
    /// A ladder beside the frozen encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<SideConfig>,
    /// A LayerNorm per task on every layer that its head reads.
    #[serde(default)]
    pub entry_norms: bool,
}

/// A [`MultiVit`] with additions. Its own parameters keep their names; those of additions are
/// `prompts.*`, `branch_prompts.*`, `task_prompts.<task>.*`, `prompt_norms.<task>.*`, `side.*`, `entry_norms.<task>.<block>.*`, and
/// `lora.*` and `ssf.*` behind the name of their layer.
#[derive(Module, Debug)]
pub struct PeftModel {
    /// The model itself; no part of a parameter's name.
    pub vit: MultiVit,
    /// Prompts of the blocks that all tasks share.
    pub prompts: Option<PromptSource>,
    /// Tokens of the blocks from the branch on that all tasks share, where tasks have further ones.
    pub branch_prompts: Option<ReinPrompts>,
    /// Prompts of the blocks from the branch on, by task.
    pub task_prompts: ModuleMap<PromptSource>,
    /// Norms that prompts condition: `shared` before the branch, by task behind it.
    pub prompt_norms: ModuleMap<PromptNorms>,
    /// Changes what heads read, by the frozen encoder's outputs.
    pub side: Option<SideNetwork>,
    /// By task and by the block whose output they normalise.
    pub entry_norms: ModuleMap<ModuleMap<LayerNorm>>,
    branch: usize,
    #[module(skip)]
    peft: PeftConfig,
}

/// The output of a model with PEFT modules.
#[derive(Debug, Clone, Default)]
pub struct PeftOutput {
    /// By task.
    pub predictions: IndexMap<String, Prediction>,
    /// The selections from pools: `shared` for the pool of all tasks, and by task.
    pub selections: IndexMap<String, Selection>,
    /// The loss terms of pools, with their weights, `(1)` each.
    pub terms: IndexMap<String, Tensor<1>>,
}

/// The encoder's part of a pass.
#[derive(Debug, Clone, Default)]
pub struct PeftEncoding {
    /// The input of each head, before its entry norms.
    pub outputs: IndexMap<String, EncoderOutput>,
    /// As in [`PeftOutput`].
    pub selections: IndexMap<String, Selection>,
    /// As in [`PeftOutput`].
    pub terms: IndexMap<String, Tensor<1>>,
}

impl PeftModel {
    /// A model of zeros but for the position tables.
    ///
    /// # Errors
    /// If a part does not fit.
    pub fn new(config: &MultiVitConfig, peft: &PeftConfig, device: &Device) -> Result<Self> {
        let (depth, width) = (config.encoder.depth, config.encoder.width);
        let branch = peft.check(depth)?;
        let mut vit = MultiVit::new(config, device)?;
        vit.encoder = vit.encoder.into_iter().map(|block| peft.of_block(block, device)).collect();
        let part = |blocks: Range<usize>| {
            let (inputs, patch_size) = (config.inputs.as_slice(), config.patch_size);
            prompts::EncoderPart { blocks, width, inputs, patch_size }
        };
        let build = |blocks: Range<usize>| match &peft.prompts {
            Some(prompts) => prompts.build(&part(blocks), device),
            None => Ok(None),
        };
        let shared = build(0..branch)?;
        let beside_own = peft.prompts.as_ref().filter(|prompts| prompts.has_own());
        let branch_prompts = match (beside_own, build(branch..depth)?) {
            (Some(_), Some(PromptSource::Rein(prompts))) => Some(prompts),
            _ => None,
        };
        let mut tasks_own = Vec::new();
        for head in &config.heads {
            let own = match beside_own {
                Some(prompts) => prompts.build_own(&part(branch..depth), device),
                None => build(branch..depth)?,
            };
            tasks_own.extend(own.map(|prompts| (head.name.clone(), prompts)));
        }
        let tasks_own: ModuleMap<PromptSource> = tasks_own.into_iter().collect();
        if branch < depth && ModuleMap::names(&tasks_own).next().is_none() {
            return Err(Error::Config(format!(
                "`branch_at` {branch}: no block behind it has prompts, so tasks would not differ"
            )));
        }
        let norms = |layers: Vec<usize>| -> ModuleMap<LayerNorm> {
            layers.into_iter().map(|at| (at.to_string(), LayerNorm::new(width, device))).collect()
        };
        let prompt_norms = peft.prompt_norms.map_or_else(ModuleMap::default, |rank| {
            let norms = |name: &str, blocks: usize| {
                (name.to_owned(), PromptNorms::new(blocks, width, rank, device))
            };
            let shared = shared.iter().map(|_| norms(SHARED, branch));
            let of_tasks = ModuleMap::names(&tasks_own).map(|task| norms(task, depth - branch));
            shared.chain(of_tasks).collect()
        });
        let read = layers_read(config);
        let side = peft.side.as_ref().map(|side| SideNetwork::new(side, width, &read, device));
        let entry_norms = config.heads.iter().filter(|_| peft.entry_norms);
        Ok(Self {
            vit,
            prompts: shared,
            branch_prompts,
            task_prompts: tasks_own,
            prompt_norms,
            side,
            entry_norms: entry_norms
                .map(|head| (head.name.clone(), norms(head.head.layers(depth))))
                .collect(),
            branch,
            peft: peft.clone(),
        })
    }

    /// The same model with other sources of prompts.
    pub(crate) fn map_sources(
        self,
        change: impl Fn(PromptSource) -> Result<PromptSource>,
    ) -> Result<Self> {
        let Self { prompts, task_prompts, .. } = self;
        let prompts = prompts.map(&change).transpose()?;
        let task_prompts = task_prompts
            .into_iter()
            .map(|(task, source)| Ok((task, change(source)?)))
            .collect::<Result<_>>()?;
        Ok(Self { prompts, task_prompts, ..self })
    }

    /// The first block that prompts reach; the number of blocks if there are none.
    #[must_use]
    pub fn first_prompted(&self) -> usize {
        // Norms that prompts condition are those of all blocks.
        if self.peft.prompt_norms.is_some() {
            return 0;
        }
        let shared = self.prompts.as_ref().map(PromptSource::first);
        shared.unwrap_or(self.branch).min(self.branch)
    }

    /// The configuration of the PEFT modules.
    #[must_use]
    pub fn peft(&self) -> &PeftConfig {
        &self.peft
    }

    /// The block from which on every task has its own pass; the number of blocks if there is none.
    #[must_use]
    pub fn branch(&self) -> usize {
        self.branch
    }

    /// The predictions of all heads. The encoder's blocks before the branch run once, those behind
    /// it once per task. Pools choose by the encoder's output without prompts, for which it runs
    /// once more, unless their query is of the embeddings.
    ///
    /// # Errors
    /// If inputs, prompts or heads do not fit.
    pub fn forward(&self, inputs: Inputs, phase: &mut Phase<'_>) -> Result<PeftOutput> {
        self.forward_with_queries(inputs, None, phase)
    }

    /// [`Self::forward`] with queries that [`Self::query`] gave for the same samples.
    ///
    /// # Shapes
    /// `queries (B, width)`.
    ///
    /// # Errors
    /// If inputs, queries, prompts or heads do not fit.
    pub fn forward_with_queries(
        &self,
        inputs: Inputs,
        queries: Option<Tensor<2>>,
        phase: &mut Phase<'_>,
    ) -> Result<PeftOutput> {
        self.forward_batch(ModelBatch { queries, ..ModelBatch::new(self, inputs)? }, phase)
    }

    /// [`Self::forward`] with the outputs of the model's [prefix](Self::frozen_prefix) for the same inputs,
    /// which then is not computed.
    ///
    /// # Errors
    /// If inputs, features, prompts or heads do not fit.
    pub fn forward_from(
        &self,
        inputs: &Inputs,
        (prefix, features): (&FrozenPrefix, &PrefixFeatures),
        phase: &mut Phase<'_>,
    ) -> Result<PeftOutput> {
        self.forward_batch(ModelBatch::behind(self, inputs, (prefix, features))?, phase)
    }

    fn forward_batch(&self, batch: ModelBatch<'_>, phase: &mut Phase<'_>) -> Result<PeftOutput> {
        let PeftEncoding { outputs, selections, terms } = self.encode_batch(batch, phase)?;
        let predict = |(task, output): (String, EncoderOutput)| {
            Ok((task.clone(), self.predict(&task, output, phase)?))
        };
        let predictions = outputs.into_iter().map(predict).collect::<Result<_>>()?;
        Ok(PeftOutput { predictions, selections, terms })
    }

    /// The encoder's part of [`Self::forward_with_queries`].
    ///
    /// # Errors
    /// If inputs, queries or prompts do not fit.
    pub fn encode(
        &self,
        inputs: Inputs,
        queries: Option<Tensor<2>>,
        phase: &mut Phase<'_>,
    ) -> Result<PeftEncoding> {
        self.encode_batch(ModelBatch { queries, ..ModelBatch::new(self, inputs)? }, phase)
    }

    /// The encoder's part of [`Self::forward_from`].
    ///
    /// # Errors
    /// If inputs, features or prompts do not fit.
    pub fn encode_from(
        &self,
        inputs: &Inputs,
        (prefix, features): (&FrozenPrefix, &PrefixFeatures),
        phase: &mut Phase<'_>,
    ) -> Result<PeftEncoding> {
        self.encode_batch(ModelBatch::behind(self, inputs, (prefix, features))?, phase)
    }

    fn encode_batch(&self, batch: ModelBatch<'_>, phase: &mut Phase<'_>) -> Result<PeftEncoding> {
        let mut output = PeftEncoding::default();
        let Some(PassOutput { outputs, selections }) =
            pass::encode(&mut [batch], (phase, &mut |_| {}))?.pop()
        else {
            return Ok(output);
        };
        let heads = self.vit.output_adapters.names().map(str::to_owned);
        output.outputs = heads.zip(outputs).collect();
        for SourceSelection { source, selection, terms } in selections {
            for (name, term) in terms {
                let sum = match output.terms.swap_remove(name) {
                    Some(sum) => sum + term,
                    None => term,
                };
                output.terms.insert(name.to_owned(), sum);
            }
            output.selections.insert(source, selection);
        }
        Ok(output)
    }

    /// Computes the queries of pools; none if there is no pool.
    ///
    /// # Shapes
    /// To `(B, width)`.
    ///
    /// # Errors
    /// If the inputs do not fit.
    pub fn query(&self, inputs: Inputs) -> Result<Option<Tensor<2>>> {
        let mut part = [ModelBatch::new(self, inputs)?];
        pass::add_queries(&mut part)?;
        let [ModelBatch { queries, .. }] = part;
        Ok(queries)
    }

    /// The kind of the samples' queries, if a source takes prompts from a pool.
    fn query_kind(&self) -> Option<Query> {
        self.sources().find_map(PromptSource::query)
    }

    /// All sources of prompts.
    fn sources(&self) -> impl Iterator<Item = &PromptSource> {
        self.prompts.iter().chain(self.task_prompts.iter().map(|(_, source)| source))
    }

    /// The prediction of a task's head, of what [`Self::encode`] gave for it.
    ///
    /// # Errors
    /// If there is no such head, or it cannot read the output.
    pub fn predict(
        &self,
        task: &str,
        output: EncoderOutput,
        phase: &mut Phase<'_>,
    ) -> Result<Prediction> {
        let head = self.vit.output_adapters.get(task);
        let head = head.ok_or_else(|| Error::Config(format!("the model has no head `{task}`")))?;
        head.forward(&self.normed(task, output), phase)
    }

    /// Whether batches of both models can go through the encoder together: its blocks are alike. That
    /// their linear layers have the same weights and biases is up to the caller.
    #[must_use]
    pub fn can_batch_with(&self, other: &Self) -> bool {
        self.vit.config().encoder == other.vit.config().encoder
    }

    /// The rate of stochastic depth of a block. It is for blocks whose weights are trained: frozen
    /// ones are used as they are.
    fn drop_path_rate(&self, index: usize) -> f64 {
        let trained = self.vit.encoder[index].mlp.fc1.weight.is_require_grad();
        let rates = self.vit.config().encoder.drop_path_rates();
        if trained { rates[index] } else { 0.0 }
    }

    /// The output as a task's head reads it.
    fn normed(&self, task: &str, mut output: EncoderOutput) -> EncoderOutput {
        let Some(norms) = self.entry_norms.get(task) else { return output };
        for (index, layer) in output.layers.iter_mut().enumerate() {
            if let Some(norm) = norms.get(&index.to_string()) {
                *layer = norm.forward(layer.clone());
            }
        }
        output
    }

    /// The same model with low-rank adaptation and scale and shift in its weights. Prompts and
    /// norms before the heads stay what they are.
    #[must_use]
    pub fn merged(self) -> Self {
        let Self { mut vit, mut peft, .. } = self;
        vit.encoder = vit.encoder.into_iter().map(Block::merged).collect();
        peft.lora = None;
        peft.ssf = false;
        Self { vit, peft, ..self }
    }
}

impl PeftConfig {
    /// Checks the sizes against an encoder with this number of blocks. Returns the block at which
    /// tasks branch.
    fn check(&self, depth: usize) -> Result<usize> {
        let error = |problem: &str| Err(Error::Config(problem.to_owned()));
        if let Some(prompts) = &self.prompts {
            prompts.check(depth)?;
            if prompts.has_own() && self.branch_at.is_none_or(|branch| branch >= depth) {
                return error("`own` tokens are those of tasks from `branch_at` on: set it too");
            }
        } else if self.branch_at.is_some() {
            return error("`branch_at` is where tasks get prompts of their own: set `prompts` too");
        }
        if self.prompt_norms.is_some()
            && !self.prompts.as_ref().is_some_and(PromptConfig::conditions_norms)
        {
            return error(
                "`prompt_norms` are made from prompts: set `prompts` too, of a kind that is tokens or \
                 a prefix",
            );
        }
        let adapted = |lora: &LoraConfig| {
            lora.targets.iter().any(|target| matches!(target, LoraTarget::Qkv | LoraTarget::Proj))
        };
        if matches!(self.prompts, Some(PromptConfig::Cross(_)))
            && (self.ssf || self.lora.as_ref().is_some_and(adapted))
        {
            return error(
                "cross prompts read the projections of attention as they were pre-trained: use them \
                 without SSF and without LoRA of `qkv` and `proj`",
            );
        }
        if let Some(side) = &self.side {
            side.check(depth)?;
        }
        if self.prompt_norms == Some(0) {
            return error("`prompt_norms` is a rank: at least 1");
        }
        if let Some(lora) = &self.lora
            && (lora.rank == 0 || lora.targets.is_empty())
        {
            return error("low-rank adaptation needs a `rank` of at least 1 and a target");
        }
        match self.branch_at {
            Some(branch) if branch > depth => {
                Err(Error::Config(format!("`branch_at` {branch}: the encoder has {depth} blocks")))
            }
            branch => Ok(branch.unwrap_or(depth)),
        }
    }

    fn of_block(&self, block: Block, device: &Device) -> Block {
        let block = match &self.lora {
            Some(lora) => block.with_lora(lora, device),
            None => block,
        };
        if self.ssf { block.with_ssf(device) } else { block }
    }
}

/// The blocks whose outputs heads read, each once.
fn layers_read(config: &MultiVitConfig) -> Vec<usize> {
    let heads = config.heads.iter();
    let mut read: Vec<usize> =
        heads.flat_map(|head| head.head.layers(config.encoder.depth)).collect();
    read.sort_unstable();
    read.dedup();
    read
}
