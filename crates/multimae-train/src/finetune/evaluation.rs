//! Losses and scores on samples that are not trained on.
//!
//! Samples are seen as `predict` and `evaluate` see frames: whole, at the scale of training. Losses
//! are those of training on that view, per sample and weighted by the number of valid pixels, so
//! that they do not depend on the batch size. Scores are those of the tasks' own rules at the
//! frames' own size: what `evaluate` prints for the same model without a named protocol.

use std::cell::RefCell;

use indexmap::IndexMap;
use multimae::burn::tensor::{Tensor, TensorData};
use multimae::encoder::Phase;
use multimae::modality::Size;
use multimae::model::Inputs;
use multimae::output_adapters::Prediction;
use multimae::peft::PeftModel;
use multimae::prompts::PoolUsage;
use multimae_data::{Loader, Map, Sample, Values};
use multimae_eval::TaskScorers;
use multimae_infer::predict::{ModelView, finish};
use multimae_tasks::{FrameSums, mask_values};

use super::FinetuneSetup;
use super::native::{NATIVE, all_inputs};
use super::targets::{loss, targets};
use crate::learner::Learner;
use crate::step::number;
use crate::{Error, Result};

/// Scores and losses of predictions on a set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluated {
    /// Unweighted losses by task.
    pub losses: IndexMap<String, f64>,
    /// By name, `<task>_<score>`, and `score`, the joint one.
    pub scores: IndexMap<String, f64>,
    /// Intersection over union of every class by name, by task of labels.
    pub classes: IndexMap<String, Vec<(String, Option<f64>)>>,
    /// Use of the entries of prompt pools: `shared`, or by task.
    pub usage: IndexMap<String, PoolUsage>,
    /// The sums behind the scores, frame by frame, by task.
    pub frames: IndexMap<String, FrameSums>,
}

impl Evaluated {
    /// The score that chooses the best model, higher is better: the mean over the tasks of their
    /// [joint scores](multimae_tasks::Outcome::joint).
    #[must_use]
    pub fn score(&self) -> f64 {
        self.scores.get("score").copied().unwrap_or_default()
    }
}

/// Predicts samples: every task's maps or classes by name.
pub type PredictFn<'a> = dyn Fn(&[Sample]) -> Result<IndexMap<String, Prediction>> + 'a;

/// Evaluates predictions on a set, which is one of the [setting's](FinetuneSetup::evaluation_data).
///
/// # Errors
/// If a sample cannot be read, or a task has no annotation in the set.
pub fn evaluate(
    setup: &FinetuneSetup,
    data: &Loader,
    predict: &PredictFn<'_>,
) -> Result<Evaluated> {
    let mut losses: IndexMap<String, (f64, f64)> = IndexMap::new();
    let mut scorers = TaskScorers::new(&setup.card.tasks)?;
    for batch in data.batches((0, 0), 1) {
        for samples in by_size(batch?.samples) {
            let predictions = predict(&samples)?;
            add_losses(setup, &samples, &predictions, &mut losses)?;
            add_scores(setup, &samples, predictions, &mut scorers)?;
        }
    }
    let mean = |(task, (sum, count)): (String, (f64, f64))| (task, sum / count);
    let mut evaluated =
        Evaluated { losses: losses.into_iter().map(mean).collect(), ..Evaluated::default() };
    let outcomes = scorers.outcomes()?;
    evaluated.frames = scorers.frame_sums();
    let joint = outcomes.values().map(|outcome| outcome.joint).sum::<f64>();
    for (task, outcome) in &outcomes {
        let named = outcome.scores.iter().map(|(name, value)| (format!("{task}_{name}"), *value));
        evaluated.scores.extend(named);
        if !outcome.classes.is_empty() {
            evaluated.classes.insert(task.clone(), outcome.classes.clone());
        }
    }
    evaluated.scores.insert("score".to_owned(), joint / outcomes.len().max(1) as f64);
    Ok(evaluated)
}

/// Samples of one size together, in their order: models see frames of different shapes at
/// different sizes.
fn by_size(samples: Vec<Sample>) -> Vec<Vec<Sample>> {
    let size = |sample: &Sample| {
        let model_view = sample.maps.iter().find(|(name, _)| !name.starts_with(NATIVE));
        model_view.map(|(_, map)| (map.height, map.width))
    };
    let mut groups: IndexMap<_, Vec<Sample>> = IndexMap::new();
    for sample in samples {
        groups.entry(size(&sample)).or_default().push(sample);
    }
    groups.into_values().collect()
}

/// One sample's share of the predictions of a batch.
fn of_sample(
    predictions: &IndexMap<String, Prediction>,
    index: usize,
) -> IndexMap<String, Prediction> {
    let one = |prediction: &Prediction| match prediction {
        Prediction::Maps(maps) => Prediction::Maps(maps.clone().narrow(0, index, 1)),
        Prediction::Classes(logits) => Prediction::Classes(logits.clone().narrow(0, index, 1)),
    };
    predictions.iter().map(|(task, prediction)| (task.clone(), one(prediction))).collect()
}

fn add_losses(
    setup: &FinetuneSetup,
    samples: &[Sample],
    predictions: &IndexMap<String, Prediction>,
    losses: &mut IndexMap<String, (f64, f64)>,
) -> Result<()> {
    for (index, sample) in samples.iter().enumerate() {
        let predictions = of_sample(predictions, index);
        for task in &setup.tasks {
            let sample = std::slice::from_ref(sample);
            let target = targets(setup, task, sample, &setup.device)?;
            let prediction = predictions.get(&task.name).ok_or_else(|| missing(&task.name))?;
            let loss = loss(task, prediction, &target.target)?;
            if !loss.empty {
                let (sum, count) = losses.entry(task.name.clone()).or_default();
                *sum += number(&loss.value) * target.counted;
                *count += target.counted;
            }
        }
    }
    Ok(())
}

fn add_scores(
    setup: &FinetuneSetup,
    samples: &[Sample],
    predictions: IndexMap<String, Prediction>,
    scorers: &mut TaskScorers,
) -> Result<()> {
    let outputs = setup.card.outputs(predictions)?;
    let request = all_inputs(&setup.card);
    for (index, sample) in samples.iter().enumerate() {
        let native = |name: &str| sample.maps.get(&format!("{NATIVE}{name}"));
        // Classes of images have no annotation with a size, and need none.
        let size = setup.card.tasks.keys().find_map(|task| native(task)).map(size_of);
        let size = size.unwrap_or(setup.recipe.arch.input_size);
        let view = ModelView::of(&setup.card, size, &request)?;
        let prediction = finish(&setup.card, of_sample(&outputs, index), view, size)
            .map_err(|problem| Error::Recipe(format!("sample `{}`: {problem}", sample.id)))?;
        let mask = setup.card.valid_mask.as_ref().and_then(|mask| native(&mask.name));
        let valid = mask.and_then(|mask| match &mask.values {
            Values::Labels(mask) => Some(mask_values(mask)),
            Values::Continuous { .. } => None,
        });
        let annotation = |task: &str| native(task).map(|map| map.values.clone());
        scorers.add((&sample.id, size), &prediction, annotation, valid.as_deref())?;
    }
    Ok(())
}

fn size_of(map: &Map) -> Size {
    Size::new(map.height, map.width)
}

fn missing(task: &str) -> Error {
    Error::Recipe(format!("there is no prediction of `{task}`"))
}

/// Evaluates a model on a device without autodiff. For prompt pools, `<source>_entropy` is how
/// evenly the samples use the entries, from 0 to 1, and `<source>_dead` the share of those that no
/// sample uses. `queries` are those of samples, where they are known.
///
/// # Errors
/// As [`evaluate`].
pub(super) fn evaluate_model(
    setup: &FinetuneSetup,
    learner: &Learner<PeftModel>,
    data: &Loader,
    queries: impl Fn(&[Sample], &Inputs) -> Result<Option<Tensor<2>>>,
) -> Result<Evaluated> {
    let usage: RefCell<IndexMap<String, PoolUsage>> = RefCell::default();
    let predict = |samples: &[Sample]| {
        let inputs = setup.card.inputs(samples, &setup.device)?;
        let output = setup.precision.scope(|| {
            let queries = queries(samples, &inputs)?;
            let phase = &mut Phase::Evaluation;
            Ok::<_, Error>(learner.model.forward_with_queries(inputs, queries, phase)?)
        })?;
        for (source, selection) in &output.selections {
            usage.borrow_mut().entry(source.clone()).or_default().record(selection)?;
        }
        Ok(output.predictions)
    };
    let mut evaluated = evaluate(setup, data, &predict)?;
    evaluated.usage = usage.into_inner();
    for (source, usage) in &evaluated.usage {
        let entries: usize = usage.overall().histogram().iter().map(Vec::len).sum();
        let dead = usage.overall().dead().len() as f64 / entries.max(1) as f64;
        let entropy = usage.overall().entropy().unwrap_or(0.0);
        evaluated.scores.insert(format!("{source}_entropy"), entropy);
        evaluated.scores.insert(format!("{source}_dead"), dead);
    }
    Ok(evaluated)
}

/// The predictions of a model on a device without autodiff.
///
/// # Errors
/// If the samples do not fit the model.
pub(super) fn model_predictions(
    setup: &FinetuneSetup,
    learner: &Learner<PeftModel>,
    samples: &[Sample],
) -> Result<IndexMap<String, Prediction>> {
    let inputs = setup.card.inputs(samples, &setup.device)?;
    let pass = || learner.model.forward(inputs, &mut Phase::Evaluation);
    Ok(setup.precision.scope(pass)?.predictions)
}

/// Logits of outputs that no annotation speaks of, such as void.
const NEVER: f64 = 1e-9;

/// The best predictions that do not look at the sample: the mean of the training values, and
/// their class frequencies, of which the most frequent class is the one predicted.
///
/// # Errors
/// If the tasks are not those of the annotations.
pub fn constant_predictions(
    setup: &FinetuneSetup,
    samples: &[Sample],
) -> Result<IndexMap<String, Prediction>> {
    let model_view = samples.first().and_then(|sample| {
        sample.maps.iter().find(|(name, _)| !name.starts_with(NATIVE)).map(|(_, map)| map)
    });
    let input = setup.card.inputs.first().map_or(1, |input| input.data.stride);
    let size = model_view.map_or(setup.recipe.arch.input_size, |map| {
        Size::new(map.height * input, map.width * input)
    });
    let heads = setup.card.model.heads.iter();
    let constant = |(task, head): (&super::setup::Task, &multimae::output_adapters::TaskHead)| {
        let constant = setup.constants.tasks.get(&task.name);
        let values = constant.and_then(|constant| task.card.task.constant(constant));
        let mut values = values.ok_or_else(|| missing(&task.name))?;
        values.resize(head.head.outputs(), NEVER.ln() as f32);
        let (count, batch) = (values.len(), samples.len());
        let prediction = match task.card.task.head_output() {
            multimae_tasks::HeadOutput::Classes => {
                let data = TensorData::new(values, [1, count]);
                let row = Tensor::<2>::from_data(data, &setup.device);
                Prediction::Classes(row.expand([batch, count]))
            }
            _ => {
                let data = TensorData::new(values, [1, count, 1, 1]);
                let maps = Tensor::<4>::from_data(data, &setup.device);
                Prediction::Maps(maps.expand([batch, count, size.height, size.width]))
            }
        };
        Ok((task.name.clone(), prediction))
    };
    setup.tasks.iter().zip(heads).map(constant).collect()
}
