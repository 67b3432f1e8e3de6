//! The computation of a pre-training step.

use multimae::encoder::Phase;
use multimae::losses::Targets;
use multimae::masking::TokenMasks;
use multimae_data::{Batch, Sample, stream};

use super::PretrainSetup;
use crate::Result;
use crate::learner::{ForwardPass, Learner};
use crate::step::{StepNumbers, StepPlace, train_step};
use multimae_infer::batch;

/// Does one step on a batch.
///
/// # Errors
/// As [`train_step`].
pub(super) fn pretrain_step(
    setup: &PretrainSetup,
    learner: &mut Learner,
    data: &Batch,
    place: StepPlace,
) -> Result<StepNumbers> {
    let losses = |learner: &Learner, samples: &[Sample], index: u64| {
        let number_of_pass = data.batch * setup.spec.recipe.optim.update_freq as u64 + index;
        let mut drop_path =
            stream(setup.spec.recipe.run.seed, "drop_path", data.epoch, number_of_pass);
        let phase = &mut Phase::Training(&mut drop_path);
        let masks = masks_of(setup, samples, data.epoch)?;
        Ok(forward(setup, learner, samples, &masks, phase)?.into())
    };
    train_step(&setup.step_rules(), learner, data, place, &losses, |_| place.rate())
}

/// Predictions and losses of samples under these masks.
///
/// # Errors
/// If the samples do not fit the model.
pub(super) fn forward(
    setup: &PretrainSetup,
    learner: &Learner,
    samples: &[Sample],
    masks: &TokenMasks,
    phase: &mut Phase<'_>,
) -> Result<ForwardPass> {
    let device = match phase {
        Phase::Training(_) => setup.device.clone().autodiff(),
        Phase::Evaluation => setup.device.clone(),
    };
    let targets = batch::targets(samples, setup.spec.modalities.values(), &device)?;
    let inputs =
        batch::inputs(&targets, &setup.spec.recipe.tasks.in_domains.0, &setup.spec.modalities);
    let valid = batch::valid_masks(samples, setup.spec.modalities.values())?;
    let targets = Targets { values: &targets, valid: Some(&valid) };
    Ok(learner.forward(&setup.spec.objective, inputs, targets, masks, phase)?)
}

/// The masks of samples in an epoch.
///
/// # Errors
/// If the recipe's masking does not fit the tokens.
pub(super) fn masks_of(
    setup: &PretrainSetup,
    samples: &[Sample],
    epoch: u64,
) -> Result<TokenMasks> {
    let tokens = setup.spec.layout.tokens_per_task();
    Ok(batch::masks(&setup.spec.masking, &tokens, samples, setup.spec.recipe.run.seed, epoch)?)
}
