//! The computation of a pre-training step.

use multimae::encoder::Phase;
use multimae::losses::Targets;
use multimae::masking::TokenMasks;
use multimae_data::{Batch, Sample, stream};

use super::{PretrainSetup, SetRanges, TrainingStages};
use crate::Result;
use crate::learner::{ForwardPass, Learner, Losses};
use crate::peers::Peers;
use crate::step::{StepNumbers, StepPlace, train_step};
use multimae_infer::batch;

/// Does one step on a batch of the stage that the step belongs to.
///
/// # Errors
/// As [`train_step`].
pub(super) fn pretrain_step(
    (setup, stages, sets): (&PretrainSetup, &TrainingStages, &SetRanges),
    learner: &mut Learner,
    (data, peers): (&Batch, &Peers<'_>),
    place: StepPlace,
) -> Result<StepNumbers> {
    let (seed, stage) = (setup.spec.recipe.run.seed, stages.at(place.step));
    let losses = |learner: &Learner, samples: &[Sample], index: u64| {
        let number_of_pass = data.batch * setup.spec.recipe.optim.update_freq as u64 + index;
        let mut drop_path = stream(seed, "drop_path", data.epoch, number_of_pass);
        let phase = &mut Phase::Training(&mut drop_path);
        let (masking, tokens) = (&stage.masking, &stage.tokens_per_task);
        let inputs = &setup.spec.recipe.tasks.in_domains.0;
        let masks = batch::masks(masking, (inputs, tokens), samples, seed, data.epoch)?;
        let pass = forward(setup, learner, samples, &masks, phase)?;
        let sets = sets.sums(samples, &pass.losses);
        Ok(Losses { sets, ..pass.into() })
    };
    let rules = setup.step_rules();
    let numbers = train_step(&rules, learner, (data, peers), place, &losses, |_| place.rate())?;
    Ok(StepNumbers { input: stages.input_at(place.step), ..numbers })
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
