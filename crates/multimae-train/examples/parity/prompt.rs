//! Cases of prompts on a frozen encoder, with trained heads.

use multimae::burn::module::Module;
use multimae::burn::tensor::{Device, Gradients, Tensor, TensorData};
use multimae::encoder::Phase;
use multimae::encoder_output::EncoderOutput;
use multimae::input_adapters::ModalityTensor;
use multimae::losses::{RegressionLoss, SupervisedLoss, SupervisedTarget};
use multimae::modality::Size;
use multimae::model::Inputs;
use multimae::multivit::{MultiVit, MultiVitConfig};
use multimae::output_adapters::{
    ConvNeXtConfig, DptConfig, DptOutput, HeadConfig, Prediction, TaskHead, merge_aliases,
};
use multimae::positions::NonSquareTables;
use multimae::prompts::{
    EntryChoice, PoolConfig, PrefixPrompts, PromptPool, PromptTokens, Query, Selection,
};
use multimae::state::{AllowedKeys, StateDict, load, take_gradients, with_trained};

use crate::case::{Case, Files, ParityError, Tensors, encode};
use crate::shared::{encoder, insert_gradients, modality};

/// Pixels with this label do not count.
const IGNORE: i64 = 255;

/// One of the ways to prompt.
#[expect(clippy::large_enum_variant, reason = "there is one per case")]
enum Source {
    Tokens(PromptTokens),
    Prefix(PrefixPrompts),
    Pool(PromptPool),
}

/// Computes the forward and backward pass.
pub(crate) fn compute(case: &Case) -> Result<Files, ParityError> {
    let device = Device::default().autodiff();
    let weights = merge_aliases(case.tensors("weights.safetensors")?.tensors)?;
    let model = MultiVit::new(&model_config(case)?, &device)?;
    let model = load(model, weights, &AllowedKeys::default())?;
    let model = with_trained(model, |name, _| name.starts_with("output_adapters."));
    let source = source(case, &device)?;
    let batch = case.tensors("forward_backward.safetensors")?;
    let inputs = || {
        let names = case.names("in_domains")?.into_iter();
        names.map(|name| Ok((name.clone(), batch.input(&name, &device)?))).collect()
    };

    let mut out = StateDict::new();
    let (layers, selection) = encode_prompted(&model, &source, &inputs, &mut out)?;
    let predictions = model.forward_heads(&layers, &mut Phase::Evaluation)?;
    let mut total: Option<Tensor<1>> = None;
    for (task, prediction) in &predictions {
        let loss = loss(task, prediction, &batch, &device)?;
        if let Prediction::Maps(maps) = prediction {
            out.insert(format!("pred.{task}"), maps.clone().inner().into_data());
        }
        out.insert(format!("loss.{task}"), loss.clone().inner().into_data());
        total = Some(total.map_or(loss.clone(), |total| total + loss));
    }
    let mut total = total.ok_or_else(|| case.config_error("heads_used", "is empty"))?;
    if let Some(pull) = selection.and_then(|selection| selection.losses.pull) {
        total = total + pull.mul_scalar(case.number("pull_weight").unwrap_or_default());
    }
    for (index, layer) in layers.layers.iter().enumerate() {
        out.insert(format!("encoder_layer.{index}"), layer.clone().inner().into_data());
    }
    out.insert("loss.total".to_owned(), total.clone().inner().into_data());
    let mut gradients = total.backward();
    insert_gradients(&mut out, &take_gradients(&model, &mut gradients), &model);
    match &source {
        Source::Tokens(module) => insert_prompt_gradients(&mut out, module, &mut gradients),
        Source::Prefix(module) => insert_prompt_gradients(&mut out, module, &mut gradients),
        Source::Pool(module) => insert_prompt_gradients(&mut out, module, &mut gradients),
    }
    Ok(vec![("forward_backward.safetensors", encode(&out)?)])
}

fn insert_prompt_gradients(out: &mut StateDict, module: &impl Module, gradients: &mut Gradients) {
    let mut own = StateDict::new();
    insert_gradients(&mut own, &take_gradients(module, gradients), module);
    for (name, data) in own {
        out.insert(name.replace("grad.", "grad.prompts."), data);
    }
}

fn model_config(case: &Case) -> Result<MultiVitConfig, ParityError> {
    let in_domains = case.names("in_domains")?;
    let inputs =
        in_domains.iter().map(|name| modality(case, name)).collect::<Result<Vec<_>, _>>()?;
    let head = |kind: &String| {
        let (name, head) = match kind.as_str() {
            "dpt" => ("depth", dpt(case)?),
            "convnext" => ("semseg", convnext(case)?),
            other => return Err(case.config_error("heads_used", &format!("`{other}`?"))),
        };
        Ok(TaskHead { name: name.to_owned(), main_tasks: in_domains.clone(), head })
    };
    Ok(MultiVitConfig {
        encoder: encoder(case)?,
        patch_size: case.count("patch")?,
        image_size: Size::square(case.count("image")?),
        num_global_tokens: case.count_or("global_tokens", 1)?,
        inputs,
        heads: case.names("heads_used")?.iter().map(head).collect::<Result<_, _>>()?,
        tables: NonSquareTables::default(),
    })
}

fn dpt(case: &Case) -> Result<HeadConfig, ParityError> {
    Ok(HeadConfig::Dpt(DptConfig {
        num_classes: 1,
        head_type: DptOutput::Regression,
        hooks: case.counts("hooks")?,
        layer_dims: [8, 12, 16, 24],
        feature_dim: 12,
    }))
}

fn convnext(case: &Case) -> Result<HeadConfig, ParityError> {
    Ok(HeadConfig::ConvNeXt(ConvNeXtConfig {
        embed_dim: 64,
        preds_per_patch: 16,
        depth: 1,
        ..ConvNeXtConfig::new(case.count("num_classes")?)
    }))
}

/// The prompts of the case with their values.
fn source(case: &Case, device: &Device) -> Result<Source, ParityError> {
    let values: StateDict = case
        .tensors("prompts.safetensors")?
        .tensors
        .into_iter()
        .map(|(name, data)| (name.trim_start_matches("prompts.").to_owned(), data))
        .collect();
    let (depth, width) = (case.count("depth")?, case.count("dim")?);
    let count = case.count("prompt_length")?;
    let strict = AllowedKeys::default();
    Ok(match case.required_text("prompt_mode")? {
        "deep" => Source::Tokens(load(
            PromptTokens::new(0, [depth, count, width], device),
            values,
            &strict,
        )?),
        "shallow" => {
            Source::Tokens(load(PromptTokens::new(0, [1, count, width], device), values, &strict)?)
        }
        "prefix" => {
            let prefix = PrefixPrompts::new(0, [depth, count, width], device);
            Source::Prefix(load(prefix, values, &strict)?)
        }
        "pool" => {
            let config = PoolConfig {
                entries: case.count("pool_size")?,
                length: count,
                top_n: case.count("pool_top_n")?,
                layers: depth,
                ..PoolConfig::default()
            };
            Source::Pool(load(PromptPool::new(&config, width, device)?, values, &strict)?)
        }
        other => return Err(case.config_error("prompt_mode", &format!("`{other}` is not known"))),
    })
}

/// The layers with the case's prompts, and what was taken from a pool.
fn encode_prompted(
    model: &MultiVit,
    source: &Source,
    inputs: &dyn Fn() -> Result<Inputs, ParityError>,
    out: &mut StateDict,
) -> Result<(EncoderOutput, Option<Selection>), ParityError> {
    let phase = &mut Phase::Evaluation;
    let batch = || Ok::<_, ParityError>(samples(&inputs()?));
    let (prompts, selection) = match source {
        Source::Tokens(tokens) => (vec![tokens.forward(batch()?, phase)], None),
        Source::Prefix(prefix) => (vec![prefix.forward(batch()?, phase)], None),
        Source::Pool(pool) => {
            let query = Query::Patches.of_output(&model.forward(inputs()?, phase)?)?;
            let selection = pool.forward(query.clone())?;
            out.insert("pool.query".to_owned(), query.inner().into_data());
            insert_selection(out, &selection);
            (selection.prompts.clone(), Some(selection))
        }
    };
    Ok((model.forward_with_prompts(inputs()?, &prompts, phase)?, selection))
}

fn insert_selection(out: &mut StateDict, selection: &Selection) {
    let [batch, _, entries] = selection.similarity.dims();
    let similarity = selection.similarity.clone().inner().reshape([batch, entries]);
    out.insert("pool.similarity".to_owned(), similarity.into_data());
    if let EntryChoice::Entries(chosen) = &selection.choice {
        let index: Vec<i64> = chosen.iter().flatten().map(|&entry| entry as i64).collect();
        let taken = index.len() / batch.max(1);
        out.insert("pool.index".to_owned(), TensorData::new(index, [batch, taken]));
    }
    if let Some(reduce_sim) = selection.reduce_sim() {
        out.insert("loss.reduce_sim".to_owned(), reduce_sim.inner().into_data());
    }
}

/// The number of samples.
fn samples(inputs: &Inputs) -> usize {
    inputs.values().next().map_or(0, |input| match input {
        ModalityTensor::Continuous(values) => values.dims()[0],
        ModalityTensor::Categorical(labels) => labels.dims()[0],
    })
}

/// Cross-entropy of labels, mean absolute error of depth.
fn loss(
    task: &str,
    prediction: &Prediction,
    batch: &Tensors,
    device: &Device,
) -> Result<Tensor<1>, ParityError> {
    let target = batch.get(&format!("target.{task}"))?.clone();
    let (loss, target) = if task == "semseg" {
        let loss = SupervisedLoss::CrossEntropy { label_smoothing: 0.0, ignore: Some(IGNORE) };
        (loss, SupervisedTarget::Labels(Tensor::from_data(target, device)))
    } else {
        let values = Tensor::from_data(target, device);
        let loss = SupervisedLoss::Regression(RegressionLoss::L1);
        (loss, SupervisedTarget::Values { values, valid: None })
    };
    Ok(loss.forward(task, prediction, &target)?.value)
}
