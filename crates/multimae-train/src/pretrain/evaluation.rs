//! Losses on samples that are not trained on, and what predicting a constant would give there.

use indexmap::IndexMap;
use multimae::encoder::Phase;
use multimae::losses::ReconstructionLoss;
use multimae_data::{Loader, Sample, Values};

use super::PretrainSetup;
use super::step::{forward, masks_of};
use crate::Result;
use crate::learner::Learner;
use crate::step::number;

/// Masks of evaluation are those of this epoch, always the same.
pub(super) const MASK_EPOCH: u64 = u64::MAX;

/// Mean losses by task over a set, masked as in training, the same masks each time. The learner is
/// one [without autodiff](Learner::without_autodiff).
///
/// # Errors
/// If a sample cannot be read or does not fit.
pub fn evaluate(
    setup: &PretrainSetup,
    learner: &Learner,
    data: &Loader,
) -> Result<IndexMap<String, f64>> {
    let mut sums: IndexMap<String, (f64, usize)> = IndexMap::new();
    for batch in data.batches((0, 0), 1) {
        let samples = batch?.samples;
        let masks = masks_of(setup, &samples, MASK_EPOCH)?;
        let phase = &mut Phase::Evaluation;
        let pass = setup.precision.scope(|| forward(setup, learner, &samples, &masks, phase))?;
        for (task, loss) in pass.losses.iter().filter(|(_, loss)| !loss.empty) {
            let (sum, count) = sums.entry(task.clone()).or_default();
            *sum += number(&loss.value) * samples.len() as f64;
            *count += samples.len();
        }
    }
    Ok(sums.into_iter().map(|(task, (sum, count))| (task, sum / count.max(1) as f64)).collect())
}

/// Computes the losses of predicting the mean over the set for every pixel: the mean of each
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
                means.entry(&task.name).or_default().add(&map.values, task.loss);
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
        let Some(loss) = constant.loss(&map.values, task.loss, task.patch) else { continue };
        let (sum, count) = sums.entry(task.name.clone()).or_default();
        *sum += loss;
        *count += 1;
    }
}

/// Sums for the constant prediction of one task: values per channel, or pixels per class.
#[derive(Debug, Default)]
struct Constant {
    sums: Vec<f64>,
    pixels: f64,
}

impl Constant {
    fn add(&mut self, values: &Values, loss: ReconstructionLoss) {
        match values {
            Values::Continuous { channels, data } => {
                self.sums.resize(*channels, 0.0);
                let pixels = data.len() / channels.max(&1);
                for (sum, plane) in self.sums.iter_mut().zip(data.chunks(pixels.max(1))) {
                    *sum += plane.iter().map(|&value| f64::from(value)).sum::<f64>();
                }
                self.pixels += pixels as f64;
            }
            Values::Labels(labels) => {
                for &label in labels.iter().filter(|&&label| !ignored(loss, label)) {
                    let Ok(class) = usize::try_from(label) else { continue };
                    if class >= self.sums.len() {
                        self.sums.resize(class + 1, 0.0);
                    }
                    self.sums[class] += 1.0;
                    self.pixels += 1.0;
                }
            }
        }
    }

    /// The loss of one sample, `None` if no pixel counts.
    fn loss(&self, values: &Values, loss: ReconstructionLoss, patch: usize) -> Option<f64> {
        let total = self.pixels.max(1.0);
        match (values, loss) {
            // A standardised patch has mean 0 and, divided by n - 1, variance 1.
            (Values::Continuous { channels, .. }, ReconstructionLoss::Mse { norm_pix: true }) => {
                let n = (patch * patch * channels) as f64;
                Some((n - 1.0) / n)
            }
            (Values::Continuous { channels, data }, loss) => {
                let pixels = (data.len() / channels.max(&1)).max(1);
                let error = |mean: f64, value: f32| {
                    let difference = f64::from(value) - mean;
                    match loss {
                        ReconstructionLoss::L1 { .. } => difference.abs(),
                        _ => difference * difference,
                    }
                };
                let sum: f64 = data
                    .chunks(pixels)
                    .zip(&self.sums)
                    .map(|(plane, sum)| {
                        plane.iter().map(|&value| error(sum / total, value)).sum::<f64>()
                    })
                    .sum();
                Some(sum / data.len().max(1) as f64)
            }
            (Values::Labels(labels), loss) => {
                let counted: Vec<usize> = labels
                    .iter()
                    .filter(|&&label| !ignored(loss, label))
                    .filter_map(|&label| usize::try_from(label).ok())
                    .collect();
                let sum: f64 = counted.iter().map(|&class| -(self.sums[class] / total).ln()).sum();
                (!counted.is_empty()).then(|| sum / counted.len() as f64)
            }
        }
    }
}

fn ignored(loss: ReconstructionLoss, label: i64) -> bool {
    matches!(loss, ReconstructionLoss::CrossEntropy { ignore: Some(ignore), .. }
        if i64::try_from(ignore) == Ok(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_the_mean_and_the_frequencies() {
        let mse = ReconstructionLoss::Mse { norm_pix: false };
        let l1 = ReconstructionLoss::L1 { norm_pix: false };
        let values = Values::Continuous { channels: 2, data: vec![0.0, 2.0, 5.0, 9.0] };
        let mut constant = Constant::default();
        constant.add(&values, mse);
        // Channel means 1 and 7; squared errors 1, 1, 4, 4.
        assert_eq!(constant.loss(&values, mse, 1), Some(2.5));
        assert_eq!(constant.loss(&values, l1, 1), Some(1.5));

        let ce = ReconstructionLoss::CrossEntropy { label_smoothing: 0.0, ignore: Some(0) };
        let labels = Values::Labels(vec![0, 1, 1, 2, 2, 0]);
        let mut constant = Constant::default();
        constant.add(&labels, ce);
        let loss = constant.loss(&labels, ce, 1).unwrap();
        assert!((loss - 2.0_f64.ln()).abs() < 1e-12);
        assert_eq!(constant.loss(&Values::Labels(vec![0, 0]), ce, 1), None);
    }
}
