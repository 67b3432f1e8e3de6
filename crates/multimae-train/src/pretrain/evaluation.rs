//! Losses on samples that are not trained on, and what predicting a constant would give there.

use indexmap::IndexMap;
use multimae::encoder::Phase;
use multimae::masking::TokenMasks;
use multimae_data::{Deal, Loader, Sample};
use multimae_group::{Alone, Group, all_agree};

use super::PretrainSetup;
use super::constant::Constant;
use super::step::forward;
use crate::learner::Learner;
use crate::step::number;
use crate::{Error, Result};
use multimae_infer::batch;

/// Masks of evaluation are those of this epoch, always the same.
const MASK_EPOCH: u64 = u64::MAX;

/// Mean losses by task over the samples of a set that have something to predict, at `input_size`
/// and with `num_encoded_tokens` visible tokens, the same masks each time: schedules of training
/// change nothing here. The learner is one [without autodiff](Learner::without_autodiff).
///
/// # Errors
/// If a sample cannot be read or does not fit.
pub fn evaluate(
    setup: &PretrainSetup,
    learner: &Learner,
    data: &Loader,
) -> Result<IndexMap<String, f64>> {
    evaluate_together(setup, learner, data, &Alone)
}

/// As [`evaluate`]; the processes of the group share the samples, and all have the same result.
///
/// # Errors
/// As [`evaluate`], in any process.
pub(super) fn evaluate_together(
    setup: &PretrainSetup,
    learner: &Learner,
    data: &Loader,
    group: &dyn Group,
) -> Result<IndexMap<String, f64>> {
    let own = own_losses(setup, learner, &shared(data, group));
    let (_, all) = all_agree::<_, _, Error>(group, own.map(|sums| ((), sums)))?;
    let mut sums = LossSums::new();
    for (task, (sum, count)) in all.into_iter().flatten() {
        let of_task = sums.entry(task).or_default();
        *of_task = (of_task.0 + sum, of_task.1 + count);
    }
    Ok(sums.into_iter().map(|(task, (sum, count))| (task, sum / count.max(1) as f64)).collect())
}

/// The sum of the losses of a task, and their number.
type LossSums = IndexMap<String, (f64, usize)>;

/// The samples that this process measures: neighbouring ones of every batch.
fn shared(data: &Loader, group: &dyn Group) -> Loader {
    let batch = data.config().batch_size;
    data.clone().with_deal(Deal::new((1, batch), (group.rank(), group.size())))
}

fn own_losses(setup: &PretrainSetup, learner: &Learner, data: &Loader) -> Result<LossSums> {
    let mut sums = LossSums::new();
    for batch in data.batches((0, 0), 1) {
        let samples = batch?.samples;
        if samples.is_empty() {
            continue;
        }
        let masks = evaluation_masks(setup, &samples)?;
        let phase = &mut Phase::Evaluation;
        let pass = setup.precision.scope(|| forward(setup, learner, &samples, &masks, phase))?;
        for (task, loss) in pass.losses.iter().filter(|(_, loss)| !loss.empty) {
            let (sum, count) = sums.entry(task.clone()).or_default();
            *sum += number(&loss.value) * loss.samples as f64;
            *count += loss.samples;
        }
    }
    Ok(sums)
}

/// The masks that samples are evaluated with.
///
/// # Errors
/// If the recipe's masking does not fit the tokens.
pub(super) fn evaluation_masks(setup: &PretrainSetup, samples: &[Sample]) -> Result<TokenMasks> {
    let (spec, tokens) = (&setup.spec, setup.spec.layout.tokens_per_task());
    let inputs = &spec.recipe.tasks.in_domains.0;
    let seed = spec.recipe.run.seed;
    Ok(batch::masks(&spec.masking, (inputs, &tokens), samples, seed, MASK_EPOCH)?)
}

/// Computes the losses of predicting the mean over the set for every valid pixel: the mean of each
/// channel, and the frequency of each class. The constants are fitted to the set they are measured
/// on, which flatters them.
///
/// # Errors
/// If a sample cannot be read.
pub fn mean_baseline(setup: &PretrainSetup, data: &Loader) -> Result<IndexMap<String, f64>> {
    let mut means: IndexMap<&str, Constant> = IndexMap::new();
    for batch in data.batches((0, 0), 1) {
        for sample in batch?.samples {
            for task in &setup.spec.objective.tasks {
                let Some(map) = sample.maps.get(&task.target) else { continue };
                means.entry(&task.name).or_default().add(map, task.loss);
            }
        }
    }
    let mut sums: IndexMap<String, (f64, usize)> = IndexMap::new();
    for batch in data.batches((0, 0), 1) {
        for sample in batch?.samples {
            add_losses(setup, &means, &sample, &mut sums);
        }
    }
    Ok(sums.into_iter().map(|(task, (sum, count))| (task, sum / count.max(1) as f64)).collect())
}

fn add_losses(
    setup: &PretrainSetup,
    means: &IndexMap<&str, Constant>,
    sample: &Sample,
    sums: &mut IndexMap<String, (f64, usize)>,
) {
    for task in &setup.spec.objective.tasks {
        let map = sample.maps.get(&task.target);
        let (Some(map), Some(constant)) = (map, means.get(task.name.as_str())) else { continue };
        let Some(loss) = constant.loss(map, task.loss, task.patch) else { continue };
        let (sum, count) = sums.entry(task.name.clone()).or_default();
        *sum += loss;
        *count += 1;
    }
}
