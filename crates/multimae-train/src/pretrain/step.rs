//! What a step of pre-training computes from samples.

use multimae::encoder::Phase;
use multimae::masking::TokenMasks;
use multimae_data::{Batch, Sample, stream};

use super::Setting;
use crate::Result;
use crate::learner::{Learner, Pass};
use crate::step::{StepNumbers, StepPlace, train_step};
use multimae_infer::batch;

/// Does one step on a batch.
///
/// # Errors
/// As [`train_step`].
pub(super) fn pretrain_step(
    setting: &Setting,
    learner: &mut Learner,
    data: &Batch,
    place: StepPlace,
) -> Result<StepNumbers> {
    let losses = |learner: &Learner, samples: &[Sample], index: u64| {
        let number_of_pass = data.batch * setting.spec.recipe.update_freq as u64 + index;
        let mut drop_path =
            stream(setting.spec.recipe.seed, "drop_path", data.epoch, number_of_pass);
        let phase = &mut Phase::Training(&mut drop_path);
        let masks = masks_of(setting, samples, data.epoch)?;
        Ok(forward(setting, learner, samples, &masks, phase)?.into())
    };
    train_step(&setting.step_rules(), learner, data, place, &losses, |_| place.rate())
}

/// Predictions and losses of samples under these masks.
///
/// # Errors
/// If the samples do not fit the model.
pub(super) fn forward(
    setting: &Setting,
    learner: &Learner,
    samples: &[Sample],
    masks: &TokenMasks,
    phase: &mut Phase<'_>,
) -> Result<Pass> {
    let device = match phase {
        Phase::Training(_) => setting.device.clone().autodiff(),
        Phase::Evaluation => setting.device.clone(),
    };
    let targets = batch::targets(samples, setting.spec.modalities.values(), &device)?;
    let inputs =
        batch::inputs(&targets, &setting.spec.recipe.in_domains.0, &setting.spec.modalities);
    Ok(learner.forward(&setting.spec.objective, inputs, &targets, masks, phase)?)
}

/// The masks of samples in an epoch.
///
/// # Errors
/// If the recipe's masking does not fit the tokens.
pub(super) fn masks_of(setting: &Setting, samples: &[Sample], epoch: u64) -> Result<TokenMasks> {
    let tokens = setting.spec.layout.tokens_per_task();
    Ok(batch::masks(&setting.spec.masking, &tokens, samples, setting.spec.recipe.seed, epoch)?)
}
