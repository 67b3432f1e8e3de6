//! One step of the optimiser: forward and backward passes, guards, clipping, update.

use std::collections::HashMap;
use std::convert::Infallible;

use indexmap::IndexMap;
use multimae::burn::module::Module;
use multimae::burn::tensor::Tensor;
use multimae_data::{Batch, Rejected, Sample};
use multimae_group::in_halves;
use multimae_kernels::ops::on_cpu;
use multimae_kernels::precision::Precision;
use multimae_kernels::task_parallel;

use crate::learner::{Learner, Losses};
use crate::observer::{ScheduledInput, SetReport};
use crate::optim::StepRates;
use crate::optim::{GradientMap, accumulate, clip, norm};
use crate::peers::{PassRecord, Peers, StepGradients};
use crate::{Error, Result};

/// The place of a step in the run.
#[derive(Debug, Clone, Copy)]
pub struct StepPlace {
    /// The step, from 0.
    pub step: u64,
    /// Learning rate.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
}

impl StepPlace {
    /// The rate of parameters that have none of their own.
    #[must_use]
    pub fn rate(&self) -> StepRates {
        StepRates { lr: self.lr, weight_decay: self.weight_decay }
    }
}

/// The numbers of a step.
#[derive(Debug, Clone, Default)]
pub struct StepNumbers {
    /// Unweighted losses by task.
    pub losses: IndexMap<String, f64>,
    /// Balanced losses by task.
    pub weighted: IndexMap<String, f64>,
    /// L2 norm of the model's gradients before clipping.
    pub grad_norm: f64,
    /// Whether `skip_grad` left the step out.
    pub skipped: bool,
    /// The input, where a schedule changes it.
    pub input: Option<ScheduledInput>,
    /// Samples and losses by data set, where there are several.
    pub sets: IndexMap<String, SetReport>,
    /// Samples of all processes.
    pub samples: usize,
    /// Samples that any process left out.
    pub rejected: Vec<Rejected>,
    /// Whether any process was asked to stop.
    pub stop: bool,
    /// Seconds in which gradients were summed over processes.
    pub communication_seconds: f64,
}

/// The rules of a step, but for the losses.
#[derive(Debug, Clone, Copy)]
pub struct StepRules {
    /// Samples per forward pass.
    pub pass_size: usize,
    /// Larger gradient norms are scaled down to this.
    pub clip_grad: Option<f64>,
    /// Steps with at least this gradient norm are left out.
    pub skip_grad: Option<f64>,
    /// The precision of the GEMMs of forward and backward passes.
    pub precision: Precision,
}

/// Does one step on a batch, together with the processes that have the other parts of it. `losses`
/// gives those of some of its samples: the learner to use, the samples, and the number of the pass
/// in the batch. It must depend on nothing else. `rate` is the rate of every parameter by name.
///
/// # Errors
/// If a loss or a gradient is not finite here or in another process; the learner is as it was then.
pub fn train_step<M, F>(
    rules: &StepRules,
    learner: &mut Learner<M>,
    (data, peers): (&Batch, &Peers<'_>),
    place: StepPlace,
    losses: &F,
    rate: impl Fn(&str) -> StepRates,
) -> Result<StepNumbers>
where
    M: Module + Send + Sync,
    F: Fn(&Learner<M>, &[Sample], u64) -> Result<Losses> + Sync,
{
    let batch = WholeBatch { data, samples: peers.samples_in(data), step: place.step };
    let passes = data.planned.div_ceil(rules.pass_size.max(1));
    let own = rules.precision.scope(|| parts(rules, learner, batch, losses));
    let own = own.map(|parts| added(parts, passes));
    let (gradients, sums) = peers.join(learner, data, place.step, own)?;
    let StepGradients { mut of_model, of_balancer } = gradients;
    let mut numbers = StepNumbers {
        losses: sums.losses,
        weighted: sums.weighted,
        sets: sums.sets.report(),
        samples: sums.samples,
        rejected: sums.rejected,
        stop: sums.stop,
        communication_seconds: sums.communication,
        grad_norm: norm(&of_model),
        ..StepNumbers::default()
    };
    if let Some(limit) = rules.skip_grad
        && (numbers.grad_norm >= limit || numbers.grad_norm.is_nan())
    {
        numbers.skipped = true;
        return Ok(numbers);
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
    if let Some(limit) = rules.clip_grad {
        of_model = clip(of_model, numbers.grad_norm, limit);
    }
    learner.step_with_rates(of_model, of_balancer, place.rate(), rate);
    Ok(numbers)
}

/// One forward and backward pass over a part of a batch, weighted by its share of the samples.
struct MicroBatch {
    record: PassRecord,
    of_model: GradientMap,
    of_balancer: GradientMap,
}

/// The gradients of passes together, and the records of each. They are added in halves of the
/// whole batch's passes, so that any power of two of processes has the bits of one.
fn added(parts: Vec<MicroBatch>, passes: usize) -> (StepGradients, Vec<PassRecord>) {
    let mut records = Vec::with_capacity(parts.len());
    let mut gradients = HashMap::with_capacity(parts.len());
    for MicroBatch { record, of_model, of_balancer } in parts {
        gradients.insert(record.index as usize, StepGradients { of_model, of_balancer });
        records.push(record);
    }
    let mut of_pass = |pass: usize| Ok::<_, Infallible>(gradients.remove(&pass));
    let add = |mut sum: StepGradients, further: StepGradients| {
        accumulate(&mut sum.of_model, further.of_model);
        accumulate(&mut sum.of_balancer, further.of_balancer);
        sum
    };
    let Ok(sum) = in_halves(0..passes, &mut of_pass, &add);
    (sum.unwrap_or_default(), records)
}

/// A batch of which passes are a share.
#[derive(Clone, Copy)]
struct WholeBatch<'a> {
    /// The samples of this process.
    data: &'a Batch,
    /// Samples of all processes.
    samples: usize,
    step: u64,
}

impl<'a> WholeBatch<'a> {
    /// The samples of each pass, with its number in the batch. A bad sample that was left out
    /// leaves a gap: passes are those of the whole batch, whichever process has them.
    fn passes(self, pass_size: usize) -> Vec<(u64, &'a [Sample])> {
        let pass_of = |place: &usize| place / pass_size.max(1);
        let mut begin = 0;
        let same = self.data.places.chunk_by(|a, b| pass_of(a) == pass_of(b));
        same.map(|places| {
            let samples = &self.data.samples[begin..begin + places.len()];
            begin += places.len();
            (pass_of(&places[0]) as u64, samples)
        })
        .collect()
    }
}

/// Runs all passes of a batch, in order. They run in parallel as far as there are processors: the
/// engine uses one for most operations between GEMMs. The numbers are those of one pass after the
/// other, which other devices do.
fn parts<M, F>(
    rules: &StepRules,
    learner: &Learner<M>,
    batch: WholeBatch<'_>,
    losses: &F,
) -> Result<Vec<MicroBatch>>
where
    M: Module + Send + Sync,
    F: Fn(&Learner<M>, &[Sample], u64) -> Result<Losses> + Sync,
{
    let passes = batch.passes(rules.pass_size);
    if let [only] = passes.as_slice() {
        return Ok(vec![part(learner, batch, *only, losses)?]);
    }
    // Leaves of its own for every pass: their gradient tapes must not meet.
    let passes: Vec<_> =
        passes.into_iter().map(|pass| (learner.clone().with_new_leaves(), pass)).collect();
    let run = |(learner, pass): (Learner<M>, _)| part(&learner, batch, pass, losses);
    if learner.model.devices().iter().all(on_cpu) {
        return task_parallel::map(passes, run).into_iter().collect();
    }
    passes.into_iter().map(run).collect()
}

fn part<M, F>(
    learner: &Learner<M>,
    batch: WholeBatch<'_>,
    (index, samples): (u64, &[Sample]),
    losses: &F,
) -> Result<MicroBatch>
where
    M: Module,
    F: Fn(&Learner<M>, &[Sample], u64) -> Result<Losses>,
{
    let share = samples.len() as f64 / batch.samples as f64;
    let pass = losses(learner, samples, index)?;
    let value = |(task, loss): (&String, &Tensor<1>)| (task.clone(), number(loss));
    let losses: IndexMap<String, f64> =
        pass.unweighted.iter().map(|(task, loss)| value((task, &loss.value))).collect();
    guard_losses(&losses, &pass, samples, batch.data.epoch, batch.step)?;
    let weighted: IndexMap<String, f64> = pass.weighted.iter().map(value).collect();
    let shared = |losses: IndexMap<String, f64>| {
        losses.into_iter().map(|(task, loss)| (task, share * loss)).collect()
    };
    let (losses, weighted) = (shared(losses), shared(weighted));
    let record = PassRecord { index, losses, weighted, sets: pass.sets };
    let total = if share < 1.0 { pass.total.mul_scalar(share) } else { pass.total };
    let (of_model, of_balancer) = learner.backward(&total);
    Ok(MicroBatch { record, of_model, of_balancer })
}

/// The value of a loss `(1)`.
#[must_use]
pub fn number(loss: &Tensor<1>) -> f64 {
    loss.clone().into_data().iter::<f64>().sum()
}

/// Stops at the first loss that is not finite; `values` are those of the pass's losses.
fn guard_losses(
    values: &IndexMap<String, f64>,
    pass: &Losses,
    samples: &[Sample],
    epoch: u64,
    step: u64,
) -> Result<()> {
    for (task, loss) in &pass.unweighted {
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
