//! From samples to what the heads are to predict, with one validity mask.

use multimae::burn::tensor::{Device, Int, Tensor, TensorData};
use multimae::input_adapters::ModalityTensor;
use multimae::losses::{RegressionLoss, SupervisedLoss, SupervisedTarget, TaskLoss};
use multimae::output_adapters::Prediction;
use multimae_data::{Map, Sample, Values};

use super::Setting;
use super::setting::Task;
use crate::{Error, Result};
use multimae_infer::batch::stack;
use multimae_infer::saved_model::{ModelCard, TaskKind, valid_mask};

/// Where real values count: finite, in the range, and valid by the mask where there is one.
///
/// # Shapes
/// Planes of `pixels` values each; the same number of flags.
pub(super) fn valid_values(
    data: &[f32],
    pixels: usize,
    (min, max): (f64, f64),
    mask: Option<&[bool]>,
) -> Vec<bool> {
    let inside = |value: f32| value.is_finite() && (min..=max).contains(&f64::from(value));
    let allowed =
        |index: usize| mask.is_none_or(|mask| mask.get(index % pixels.max(1)) == Some(&true));
    data.iter().enumerate().map(|(index, &value)| inside(value) && allowed(index)).collect()
}

/// The range in which a task's values are valid.
pub(super) fn valid_range(kind: &TaskKind) -> (f64, f64) {
    match kind {
        TaskKind::Depth { min, max, .. } => (*min, *max),
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    }
}

/// The class of a sample: its first folder.
///
/// # Errors
/// If that is no class of the training samples.
pub(super) fn class_of(names: &[String], id: &str) -> Result<usize> {
    let folder = id.split_once('/').map(|(folder, _)| folder);
    let class = folder.and_then(|folder| names.iter().position(|name| name == folder));
    class.ok_or_else(|| {
        Error::Recipe(format!(
            "sample `{id}` is in no folder of a class that was trained: {}",
            names.join(", ")
        ))
    })
}

/// A task's targets for samples, at the model's resolution.
///
/// # Errors
/// If a sample has no annotation of the task or does not fit the others.
pub(super) fn targets(
    setting: &Setting,
    task: &Task,
    samples: &[Sample],
    device: &Device,
) -> Result<SupervisedTarget> {
    match &task.card.kind {
        TaskKind::Classes { names } => {
            let classes = samples
                .iter()
                .map(|sample| Ok(class_of(names, &sample.id)? as i64))
                .collect::<Result<Vec<_>>>()?;
            let data = TensorData::new(classes, [samples.len()]);
            Ok(SupervisedTarget::Classes(Tensor::<1, Int>::from_data(data, device)))
        }
        TaskKind::Labels { .. } => match stack(samples, &task.name, device)? {
            ModalityTensor::Categorical(labels) => Ok(SupervisedTarget::Labels(labels)),
            ModalityTensor::Continuous(_) => Err(kind_error(task)),
        },
        kind @ (TaskKind::Depth { .. } | TaskKind::Values { .. }) => {
            values(&setting.card, task, kind, samples, device)
        }
    }
}

fn kind_error(task: &Task) -> Error {
    Error::Recipe(format!("task `{}`: its annotations are of another kind", task.name))
}

fn values(
    card: &ModelCard,
    task: &Task,
    kind: &TaskKind,
    samples: &[Sample],
    device: &Device,
) -> Result<SupervisedTarget> {
    let range = valid_range(kind);
    let mut flags = Vec::new();
    let mut filled = Vec::with_capacity(samples.len());
    for sample in samples {
        let map = sample.maps.get(&task.name).ok_or_else(|| kind_error(task))?;
        let Values::Continuous { channels, data } = &map.values else {
            return Err(kind_error(task));
        };
        let mask = valid_mask(card, sample);
        let valid = valid_values(data, map.height * map.width, range, mask.as_deref());
        // Any valid value: it does not count, but it must not be a NaN.
        let data = data.iter().zip(&valid).map(|(&v, &ok)| if ok { v } else { 1.0 }).collect();
        flags.extend(valid.iter().map(|&ok| f32::from(u8::from(ok))));
        let values = Values::Continuous { channels: *channels, data };
        filled.push((sample.id.as_str(), Map { height: map.height, width: map.width, values }));
    }
    let ModalityTensor::Continuous(values) =
        multimae_infer::batch::stack_maps(&filled, &task.name, device)?
    else {
        return Err(kind_error(task));
    };
    let valid = Tensor::<4>::from_data(TensorData::new(flags, values.dims()), device);
    Ok(SupervisedTarget::Values { values, valid: Some(valid.greater_elem(0.5)) })
}

/// A task's loss. Real values are compared on the scale of the head's output, but for silog, which
/// compares depths in metres.
///
/// # Errors
/// If prediction and target do not fit.
pub(super) fn loss(
    task: &Task,
    prediction: &Prediction,
    target: &SupervisedTarget,
) -> Result<TaskLoss> {
    let (prediction, target) = comparable(task, prediction.clone(), target.clone());
    Ok(task.loss.forward(&task.name, &prediction, &target)?)
}

fn comparable(
    task: &Task,
    prediction: Prediction,
    target: SupervisedTarget,
) -> (Prediction, SupervisedTarget) {
    let silog = matches!(task.loss, SupervisedLoss::Regression(RegressionLoss::Silog { .. }));
    match (&task.card.kind, prediction, target) {
        (TaskKind::Depth { scale, .. }, Prediction::Maps(maps), target) if silog => {
            (Prediction::Maps(scale.metres(maps)), target)
        }
        (TaskKind::Depth { scale, .. }, prediction, SupervisedTarget::Values { values, valid }) => {
            (prediction, SupervisedTarget::Values { values: scale.output(values), valid })
        }
        (
            TaskKind::Values { scale, .. },
            prediction,
            SupervisedTarget::Values { values, valid },
        ) => (prediction, SupervisedTarget::Values { values: scale.output(values), valid }),
        (_, prediction, target) => (prediction, target),
    }
}
