//! One step of the optimiser: forward and backward passes, guards, clipping, update.

use indexmap::IndexMap;
use multimae::burn::tensor::Tensor;
use multimae::encoder::Phase;
use multimae::masking::TokenMasks;
use multimae_data::{Batch, Sample, stream};
use multimae_kernels::side_by_side;

use super::Setting;
use crate::learner::{Learner, Pass};
use crate::optim::{GradientMap, accumulate, clip, norm};
use crate::{Error, Result, batch};

/// Where a step is in the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepPlace {
    /// The step, from 0.
    pub step: u64,
    /// Learning rate.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
}

/// What a step computed.
#[derive(Debug, Clone, Default)]
pub(super) struct StepNumbers {
    /// Unweighted losses by task.
    pub losses: IndexMap<String, f64>,
    /// Balanced losses by task.
    pub weighted: IndexMap<String, f64>,
    /// L2 norm of the model's gradients before clipping.
    pub grad_norm: f64,
    /// Whether `skip_grad` left the step out.
    pub skipped: bool,
}

/// Does one step on a batch.
///
/// # Errors
/// If a loss or a gradient is not finite; the learner is then not to be used any more.
pub(super) fn train_step(
    setting: &Setting,
    learner: Learner,
    data: &Batch,
    place: StepPlace,
) -> Result<(Learner, StepNumbers)> {
    let mut numbers = StepNumbers::default();
    let (mut of_model, mut of_balancer) = (GradientMap::new(), GradientMap::new());
    for part in parts(setting, &learner, data, place.step)? {
        add(&mut numbers.losses, part.losses);
        add(&mut numbers.weighted, part.weighted);
        accumulate(&mut of_model, part.of_model);
        accumulate(&mut of_balancer, part.of_balancer);
    }
    numbers.grad_norm = norm(&of_model);
    if let Some(limit) = setting.recipe.skip_grad
        && (numbers.grad_norm >= limit || numbers.grad_norm.is_nan())
    {
        numbers.skipped = true;
        return Ok((learner, numbers));
    }
    if !numbers.grad_norm.is_finite() {
        return Err(Error::NonFinite {
            step: place.step,
            epoch: data.epoch,
            task: "the gradient norm".to_owned(),
            value: numbers.grad_norm,
            samples: ids(&data.samples, |_| true),
        });
    }
    if let Some(limit) = setting.recipe.clip_grad {
        of_model = clip(of_model, numbers.grad_norm, limit);
    }
    Ok((learner.step(of_model, of_balancer, place.lr, place.weight_decay), numbers))
}

/// One forward and backward pass over a part of a batch, weighted by its share of the samples.
struct Part {
    losses: IndexMap<String, f64>,
    weighted: IndexMap<String, f64>,
    of_model: GradientMap,
    of_balancer: GradientMap,
}

/// All passes of a batch, in order. They run side by side as far as there are processors: the
/// engine uses one for most of what it does between matrix products. The numbers are those of one
/// pass after the other.
fn parts(setting: &Setting, learner: &Learner, data: &Batch, step: u64) -> Result<Vec<Part>> {
    let samples: Vec<&[Sample]> = data.samples.chunks(setting.recipe.batch_size).collect();
    if let [only] = samples.as_slice() {
        return Ok(vec![part(setting, learner, data, (0, only), step)?]);
    }
    // Leaves of its own for every pass: their gradient tapes must not meet.
    let passes = samples.into_iter().enumerate();
    let passes = passes.map(|pass| (learner.clone().with_new_leaves(), pass)).collect();
    let run = |(learner, pass): (Learner, _)| part(setting, &learner, data, pass, step);
    side_by_side::map(passes, run).into_iter().collect()
}

fn part(
    setting: &Setting,
    learner: &Learner,
    data: &Batch,
    (index, samples): (usize, &[Sample]),
    step: u64,
) -> Result<Part> {
    let share = samples.len() as f64 / data.samples.len() as f64;
    let number_of_pass = data.batch * setting.recipe.update_freq as u64 + index as u64;
    let mut drop_path = stream(setting.recipe.seed, "drop_path", data.epoch, number_of_pass);
    let phase = &mut Phase::Training(&mut drop_path);
    let masks = masks_of(setting, samples, data.epoch)?;
    let pass = forward(setting, learner, samples, &masks, phase)?;
    let value = |(task, loss): (&String, &Tensor<1>)| (task.clone(), number(loss));
    let losses: IndexMap<String, f64> =
        pass.losses.iter().map(|(task, loss)| value((task, &loss.value))).collect();
    guard_losses(&losses, &pass, samples, data.epoch, step)?;
    let weighted: IndexMap<String, f64> = pass.weighted.iter().map(value).collect();
    let shared = |losses: IndexMap<String, f64>| {
        losses.into_iter().map(|(task, loss)| (task, share * loss)).collect()
    };
    let (losses, weighted) = (shared(losses), shared(weighted));
    let total = if share < 1.0 { pass.total.mul_scalar(share) } else { pass.total };
    let (of_model, of_balancer) = learner.backward(&total);
    Ok(Part { losses, weighted, of_model, of_balancer })
}

fn add(sums: &mut IndexMap<String, f64>, losses: IndexMap<String, f64>) {
    for (task, loss) in losses {
        *sums.entry(task).or_default() += loss;
    }
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
    let targets = batch::targets(samples, setting.modalities.values(), &device)?;
    let inputs = batch::inputs(&targets, &setting.recipe.in_domains.0, &setting.modalities);
    Ok(learner.forward(&setting.objective, inputs, &targets, masks, phase)?)
}

/// The masks of samples in an epoch.
///
/// # Errors
/// If the recipe's masking does not fit the tokens.
pub(super) fn masks_of(setting: &Setting, samples: &[Sample], epoch: u64) -> Result<TokenMasks> {
    let tokens = setting.layout.tokens_per_task();
    batch::masks(&setting.masking, &tokens, samples, setting.recipe.seed, epoch)
}

/// The value of a loss `(1)`.
pub(super) fn number(loss: &Tensor<1>) -> f64 {
    loss.clone().into_data().iter::<f64>().sum()
}

/// Stops at the first loss that is not finite; `values` are those of the pass's losses.
fn guard_losses(
    values: &IndexMap<String, f64>,
    pass: &Pass,
    samples: &[Sample],
    epoch: u64,
    step: u64,
) -> Result<()> {
    for (task, loss) in &pass.losses {
        let value = values.get(task).copied().unwrap_or(f64::NAN);
        if value.is_finite() {
            continue;
        }
        let own: Vec<f64> = loss.per_sample.clone().into_data().iter::<f64>().collect();
        let bad = |index: usize| own.get(index).is_some_and(|loss| !loss.is_finite());
        return Err(Error::NonFinite {
            step,
            epoch,
            task: task.clone(),
            value,
            samples: ids(samples, bad),
        });
    }
    Ok(())
}

/// The ids of the samples that are meant, or of all if none is.
fn ids(samples: &[Sample], meant: impl Fn(usize) -> bool) -> String {
    let of = |chosen: Vec<usize>| -> Vec<&str> {
        chosen.into_iter().map(|index| samples[index].id.as_str()).collect()
    };
    let chosen: Vec<usize> = (0..samples.len()).filter(|&index| meant(index)).collect();
    let names = of(if chosen.is_empty() { (0..samples.len()).collect() } else { chosen });
    names.join(", ")
}
