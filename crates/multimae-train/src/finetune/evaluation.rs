//! Losses and scores on samples that are not trained on.
//!
//! Losses are those of training, at the model's resolution. Scores are over all pixels of the set
//! together, at the resolution of the annotations: predictions are brought back to the part of the
//! image that the model saw, padding is left out, and what the model did not see is not scored.

use std::cell::RefCell;

use indexmap::IndexMap;
use multimae::burn::tensor::{Tensor, TensorData};
use multimae::encoder::Phase;
use multimae::metrics::{ClassMetrics, DepthMetrics, SemsegMetrics};
use multimae::model::Inputs;
use multimae::output_adapters::Prediction;
use multimae::prompts::PoolUsage;
use multimae::tuned::TunedMultiVit;
use multimae_data::{Loader, Map, Sample, Values, stream};

use super::Setting;
use super::annotations::Constant;
use super::native::{NATIVE, in_crop, to_crop};
use super::setting::Task;
use super::targets::{class_of, loss, targets, valid_range, valid_values};
use crate::learner::Learner;
use crate::step::number;
use crate::{Error, Result};
use multimae_infer::classes::argmax;
use multimae_infer::saved_model::{Output, TaskKind, mask_values};

/// What a set says of predictions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluated {
    /// Unweighted losses by task.
    pub losses: IndexMap<String, f64>,
    /// By name, `<task>_<score>`, and `score`, the joint one.
    pub scores: IndexMap<String, f64>,
    /// Intersection over union of every class, by task of labels.
    pub ious: IndexMap<String, Vec<Option<f64>>>,
    /// How often the entries of prompt pools were used: `shared`, or by task.
    pub usage: IndexMap<String, PoolUsage>,
}

impl Evaluated {
    /// What chooses the best model, higher is better: the mean over the tasks of delta 1 for
    /// depth, the mean IoU for labels, top-1 for classes, and `1 / (1 + mean error)` for other
    /// values.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.scores.get("score").copied().unwrap_or_default()
    }
}

/// What predicts samples: every task's maps or classes by name.
pub type Predict<'a> = dyn Fn(&[Sample]) -> Result<IndexMap<String, Prediction>> + 'a;

/// Evaluates predictions on a set, which is one of the [setting's](Setting::evaluation_data).
///
/// # Errors
/// If a sample cannot be read, or a task has no annotation in the set.
pub fn evaluate(setting: &Setting, data: &Loader, predict: &Predict<'_>) -> Result<Evaluated> {
    let mut losses: IndexMap<String, (f64, f64)> = IndexMap::new();
    let mut scorers: Vec<Scorer> = setting.tasks.iter().map(Scorer::new).collect();
    for batch in data.batches((0, 0), 1) {
        let samples = batch?.samples;
        let predictions = predict(&samples)?;
        for task in &setting.tasks {
            let target = targets(setting, task, &samples, &setting.device)?;
            let prediction = predictions.get(&task.name).ok_or_else(|| missing(&task.name))?;
            let loss = loss(task, prediction, &target)?;
            if !loss.empty {
                let (sum, count) = losses.entry(task.name.clone()).or_default();
                *sum += number(&loss.value) * samples.len() as f64;
                *count += samples.len() as f64;
            }
        }
        let mut outputs = setting.card.outputs(predictions)?;
        for (task, scorer) in setting.tasks.iter().zip(&mut scorers) {
            let output = outputs.swap_remove(&task.name).ok_or_else(|| missing(&task.name))?;
            scorer.add(setting, task, &samples, output)?;
        }
    }
    let mut evaluated = Evaluated {
        losses: losses.into_iter().map(|(task, (sum, count))| (task, sum / count)).collect(),
        ..Evaluated::default()
    };
    let mut joint = 0.0;
    for (task, scorer) in setting.tasks.iter().zip(scorers) {
        joint += scorer.write(&task.name, &mut evaluated)?;
    }
    evaluated.scores.insert("score".to_owned(), joint / setting.tasks.len().max(1) as f64);
    Ok(evaluated)
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
    setting: &Setting,
    learner: &Learner<TunedMultiVit>,
    data: &Loader,
    queries: impl Fn(&[Sample], &Inputs) -> Result<Option<Tensor<2>>>,
) -> Result<Evaluated> {
    let usage: RefCell<IndexMap<String, PoolUsage>> = RefCell::default();
    let predict = |samples: &[Sample]| {
        let inputs = setting.card.inputs(samples, &setting.device)?;
        let queries = queries(samples, &inputs)?;
        let phase = &mut Phase::Evaluation;
        let output = learner.model.forward_with_queries(inputs, queries, phase)?;
        for (source, selection) in &output.selections {
            usage.borrow_mut().entry(source.clone()).or_default().record(selection)?;
        }
        Ok(output.predictions)
    };
    let mut evaluated = evaluate(setting, data, &predict)?;
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
    setting: &Setting,
    learner: &Learner<TunedMultiVit>,
    samples: &[Sample],
) -> Result<IndexMap<String, Prediction>> {
    let inputs = setting.card.inputs(samples, &setting.device)?;
    Ok(learner.model.forward(inputs, &mut Phase::Evaluation)?.predictions)
}

/// The best predictions that do not look at the sample: the mean of the training values, and
/// their class frequencies, of which the most frequent class is the one predicted.
///
/// # Errors
/// If the tasks are not those of the annotations.
pub fn constant_predictions(
    setting: &Setting,
    samples: &[Sample],
) -> Result<IndexMap<String, Prediction>> {
    let size = setting.recipe.input_size;
    let maps = |channels: Vec<f32>| {
        let count = channels.len();
        let data = TensorData::new(channels, [1, count, 1, 1]);
        let tensor = Tensor::<4>::from_data(data, &setting.device);
        Prediction::Maps(tensor.expand([samples.len(), count, size.height, size.width]))
    };
    // Never zero: the classes that were not seen, and void.
    let logits = |shares: &[f64]| -> Vec<f32> {
        shares.iter().map(|share| share.max(1e-9).ln() as f32).collect()
    };
    setting
        .tasks
        .iter()
        .map(|task| {
            let prediction = match (&task.card.kind, setting.constants.tasks.get(&task.name)) {
                (TaskKind::Depth { scale, .. }, Some(Constant::Values(moments))) => {
                    let (mean, _) = moments.linear();
                    let mean = Tensor::<1>::from_floats([mean as f32], &setting.device);
                    maps(scale.output(mean).into_data().iter().collect())
                }
                (TaskKind::Values { .. }, Some(Constant::Values(moments))) => {
                    maps(moments.means().iter().map(|&mean| mean as f32).collect())
                }
                (TaskKind::Labels { .. }, Some(Constant::Frequencies(shares))) => {
                    let mut logits = logits(shares);
                    if setting.recipe.seg_use_void_label {
                        logits.push(1e-9_f64.ln() as f32);
                    }
                    maps(logits)
                }
                (TaskKind::Classes { .. }, Some(Constant::Frequencies(shares))) => {
                    let logits = logits(shares);
                    let count = logits.len();
                    let data = TensorData::new(logits, [1, count]);
                    let row = Tensor::<2>::from_data(data, &setting.device);
                    Prediction::Classes(row.expand([samples.len(), count]))
                }
                _ => return Err(missing(&task.name)),
            };
            Ok((task.name.clone(), prediction))
        })
        .collect()
}

/// The sums behind the scores of one task.
enum Scorer {
    Depth(DepthMetrics),
    Labels(SemsegMetrics),
    Values { sum: f64, squares: f64, count: f64 },
    Classes(ClassMetrics),
}

impl Scorer {
    fn new(task: &Task) -> Self {
        match &task.card.kind {
            TaskKind::Depth { .. } => Self::Depth(DepthMetrics::default()),
            TaskKind::Labels { classes, ignore, .. } => {
                Self::Labels(SemsegMetrics::new(classes.len(), *ignore))
            }
            TaskKind::Values { .. } => Self::Values { sum: 0.0, squares: 0.0, count: 0.0 },
            TaskKind::Classes { .. } => Self::Classes(ClassMetrics::default()),
        }
    }

    fn add(
        &mut self,
        setting: &Setting,
        task: &Task,
        samples: &[Sample],
        output: Output,
    ) -> Result<()> {
        let (values, size): (Vec<f32>, (usize, usize)) = match output {
            Output::Depth(maps) | Output::Labels(maps) | Output::Values(maps) => {
                let [_, _, height, width] = maps.dims();
                (maps.into_data().iter().collect(), (height, width))
            }
            Output::Classes(logits) => (logits.into_data().iter().collect(), (1, 1)),
        };
        let each = (values.len() / samples.len().max(1)).max(1);
        for (sample, prediction) in samples.iter().zip(values.chunks_exact(each)) {
            if let (Self::Classes(metrics), TaskKind::Classes { names }) =
                (&mut *self, &task.card.kind)
            {
                metrics.add(prediction, class_of(names, &sample.id)?);
            } else {
                self.add_map(setting, task, sample, prediction, size)?;
            }
        }
        Ok(())
    }

    fn add_map(
        &mut self,
        setting: &Setting,
        task: &Task,
        sample: &Sample,
        prediction: &[f32],
        size: (usize, usize),
    ) -> Result<()> {
        let native = |name: &str| sample.maps.get(&format!("{NATIVE}{name}"));
        let map = native(&task.name).ok_or_else(|| {
            let text = format!("sample `{}` has no annotation of `{}`", sample.id, task.name);
            Error::Recipe(text)
        })?;
        // Evaluation draws nothing.
        let mut unused = stream(0, "evaluation", 0, 0);
        let placement = setting.card.geometry.place(map.height, map.width, &mut unused);
        let crop = placement.crop;
        let prediction = to_crop(prediction, size, &placement)?;
        let cut = |plane: &[f32]| in_crop(plane, map.width, crop);
        match (self, &map.values) {
            (Self::Labels(metrics), Values::Labels(labels)) => {
                let classes = argmax(&prediction, crop.height * crop.width);
                metrics.add(&classes, &in_crop(labels, map.width, crop));
            }
            (Self::Depth(metrics), Values::Continuous { data, .. }) => {
                let valid = native_valid(setting, task, sample, map, data);
                metrics.add(&prediction, &cut(data), &in_crop(&valid, map.width, crop));
            }
            (Self::Values { sum, squares, count }, Values::Continuous { data, .. }) => {
                let valid = native_valid(setting, task, sample, map, data);
                let pixels = map.height * map.width;
                let planes = data.chunks_exact(pixels).zip(valid.chunks_exact(pixels));
                let predicted = prediction.chunks_exact((crop.height * crop.width).max(1));
                for (p, (t, v)) in predicted.zip(planes) {
                    let (t, v) = (cut(t), in_crop(v, map.width, crop));
                    for ((p, t), _) in p.iter().zip(&t).zip(&v).filter(|(_, v)| **v) {
                        let error = f64::from(*p) - f64::from(*t);
                        *sum += error.abs();
                        *squares += error * error;
                        *count += 1.0;
                    }
                }
            }
            _ => {
                return Err(Error::Recipe(format!(
                    "sample `{}`: the annotation of `{}` is of another kind",
                    sample.id, task.name
                )));
            }
        }
        Ok(())
    }

    /// Writes the scores and gives the task's part of the joint one.
    fn write(self, name: &str, evaluated: &mut Evaluated) -> Result<f64> {
        let nothing = || {
            Error::Recipe(format!(
                "task `{name}`: nothing is annotated in the evaluation samples, so there is \
                 nothing to score"
            ))
        };
        let (scores, part): (Vec<(&str, f64)>, f64) = match self {
            Self::Depth(metrics) => {
                let s = metrics.scores().ok_or_else(nothing)?;
                let scores = vec![
                    ("rmse", s.rmse),
                    ("rel", s.rel),
                    ("srel", s.srel),
                    ("rmse_log", s.rmse_log),
                    ("log10", s.log10),
                    ("delta_1", s.delta_1),
                    ("delta_2", s.delta_2),
                    ("delta_3", s.delta_3),
                ];
                (scores, s.delta_1)
            }
            Self::Labels(metrics) => {
                let s = metrics.scores().ok_or_else(nothing)?;
                evaluated.ious.insert(name.to_owned(), s.iou);
                let scores =
                    vec![("miou", s.miou), ("mean_acc", s.mean_acc), ("pixel_acc", s.pixel_acc)];
                (scores, s.miou)
            }
            Self::Values { sum, squares, count } => {
                if count == 0.0 {
                    return Err(nothing());
                }
                let error = sum / count;
                let scores = vec![("mae", error), ("rmse", (squares / count).sqrt())];
                (scores, 1.0 / (1.0 + error))
            }
            Self::Classes(metrics) => {
                let s = metrics.scores().ok_or_else(nothing)?;
                (vec![("top1", s.top1), ("top5", s.top5)], s.top1)
            }
        };
        let named = scores.into_iter().map(|(score, value)| (format!("{name}_{score}"), value));
        evaluated.scores.extend(named);
        Ok(part)
    }
}

/// Where real values of a sample count, at their own resolution.
fn native_valid(
    setting: &Setting,
    task: &Task,
    sample: &Sample,
    map: &Map,
    data: &[f32],
) -> Vec<bool> {
    let mask = setting.card.valid_mask.as_ref().and_then(|mask| {
        match &sample.maps.get(&format!("{NATIVE}{}", mask.name))?.values {
            Values::Labels(mask) => Some(mask_values(mask)),
            Values::Continuous { .. } => None,
        }
    });
    let range = valid_range(&task.card.kind);
    valid_values(data, map.height * map.width, range, mask.as_deref())
}
