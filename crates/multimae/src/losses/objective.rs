//! The objective of pre-training: one loss per decoder.

use indexmap::IndexMap;

use super::{CountedPixels, ReconstructionLoss, Targets, TaskLoss};
use crate::masking::TokenMasks;
use crate::model::Reconstruction;
use crate::{Error, Result};

/// The loss of one decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskObjective {
    /// The decoder.
    pub name: String,
    /// The modality whose values it is to predict.
    pub target: String,
    /// The loss function.
    pub loss: ReconstructionLoss,
    /// Side of a patch at that modality's own resolution.
    pub patch: usize,
}

/// The losses of all decoders.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// In the order in which they are added up.
    pub tasks: Vec<TaskObjective>,
    /// Count every patch, not the masked ones alone.
    pub loss_on_unmasked: bool,
    /// Leave samples whose loss is not a number out of the mean, as the published code does,
    /// which hides them.
    pub ignore_nan_samples: bool,
}

impl Objective {
    /// The loss of every task. A task that is no input has no mask: all its valid pixels count.
    ///
    /// # Errors
    /// If a prediction or a target is missing or does not fit.
    pub fn forward<'a>(
        &self,
        output: &Reconstruction,
        targets: impl Into<Targets<'a>>,
        masks: &TokenMasks,
    ) -> Result<IndexMap<String, TaskLoss>> {
        let targets = targets.into();
        self.tasks
            .iter()
            .map(|task| {
                let missing = |what: &str| Error::Loss {
                    task: task.name.clone(),
                    problem: format!("there is no {what}"),
                };
                let prediction =
                    output.predictions.get(&task.name).ok_or_else(|| missing("prediction"))?;
                let target = targets
                    .values
                    .get(&task.target)
                    .ok_or_else(|| missing(&format!("target `{}` in the batch", task.target)))?;
                let mask = if self.loss_on_unmasked {
                    None
                } else {
                    output.layout.task_mask(masks, &task.target)
                };
                let valid = targets.valid.and_then(|valid| valid.get(&task.target));
                let loss = task.loss.forward(
                    &task.name,
                    prediction.clone(),
                    target,
                    CountedPixels { mask: mask.as_ref(), valid },
                    task.patch,
                    self.ignore_nan_samples,
                )?;
                Ok((task.name.clone(), loss))
            })
            .collect()
    }
}
