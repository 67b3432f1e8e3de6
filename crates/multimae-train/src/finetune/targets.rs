//! Targets and losses of a run's tasks.

use multimae::burn::tensor::Device;
use multimae::losses::{SupervisedTarget, TaskLoss};
use multimae::output_adapters::Prediction;
use multimae_data::Sample;
use multimae_infer::saved_model::valid_mask;
use multimae_tasks::{AnnotationBatch, Target};

use super::FinetuneSetup;
use super::setup::Task;
use crate::Result;

/// A task's targets for samples, at the model's resolution.
///
/// # Errors
/// If a sample has no annotation of the task or does not fit the others.
pub(super) fn targets(
    setup: &FinetuneSetup,
    task: &Task,
    samples: &[Sample],
    device: &Device,
) -> Result<Target> {
    let valid: Vec<Option<Vec<bool>>> =
        samples.iter().map(|sample| valid_mask(&setup.card, sample)).collect();
    let batch = AnnotationBatch { task: &task.name, samples, valid: &valid, device };
    Ok(task.card.task.target(&batch)?)
}

/// A task's loss, on the scale on which its kind compares.
///
/// # Errors
/// If prediction and target do not fit.
pub(super) fn loss(
    task: &Task,
    prediction: &Prediction,
    target: &SupervisedTarget,
) -> Result<TaskLoss> {
    let kind = &task.card.task;
    let (prediction, target) = kind.comparable(&task.loss, prediction.clone(), target.clone());
    Ok(task.loss.forward(&task.name, &prediction, &target)?)
}
