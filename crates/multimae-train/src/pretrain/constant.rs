//! The loss of predicting a constant.

use multimae::losses::ReconstructionLoss;
use multimae_data::{Map, Values};

/// Sums for the constant prediction of one task: values per channel, or pixels per class. Invalid
/// pixels and ignored labels do not count.
#[derive(Debug, Default)]
pub(super) struct Constant {
    sums: Vec<f64>,
    pixels: f64,
}

impl Constant {
    /// Adds a sample's map.
    pub(super) fn add(&mut self, map: &Map, loss: ReconstructionLoss) {
        match &map.values {
            Values::Continuous { channels, data } => {
                self.sums.resize(*channels, 0.0);
                let planes = data.chunks((map.height * map.width).max(1));
                for (sum, plane) in self.sums.iter_mut().zip(planes) {
                    *sum += valid(plane).map(f64::from).sum::<f64>();
                }
                self.pixels += valid(data).count() as f64 / (*channels).max(1) as f64;
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
    pub(super) fn loss(&self, map: &Map, loss: ReconstructionLoss, patch: usize) -> Option<f64> {
        let total = self.pixels.max(1.0);
        match (&map.values, loss) {
            (Values::Continuous { channels, data }, ReconstructionLoss::Mse { norm_pix: true }) => {
                standardised(map, *channels, data, patch)
            }
            (Values::Continuous { data, .. }, loss) => {
                let error = |mean: f64, value: f32| {
                    let difference = f64::from(value) - mean;
                    match loss {
                        ReconstructionLoss::L1 { .. } => difference.abs(),
                        _ => difference * difference,
                    }
                };
                let planes = data.chunks((map.height * map.width).max(1)).zip(&self.sums);
                let sum: f64 = planes
                    .map(|(plane, sum)| {
                        valid(plane).map(|value| error(sum / total, value)).sum::<f64>()
                    })
                    .sum();
                let count = valid(data).count();
                (count > 0).then(|| sum / count as f64)
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

/// The squared error of predicting 0 for standardised patches: `n` valid values of a patch have
/// mean 0 and, divided by `n - 1`, variance 1.
fn standardised(map: &Map, channels: usize, data: &[f32], patch: usize) -> Option<f64> {
    let (rows, columns) = (map.height / patch.max(1), map.width / patch.max(1));
    let (mut sum, mut count) = (0.0, 0);
    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
        let lines = (0..channels * patch).map(|line| {
            let (channel, y) = (line / patch, row * patch + line % patch);
            let first = (channel * map.height + y) * map.width + column * patch;
            &data[first..first + patch]
        });
        let values = lines.map(|line| valid(line).count()).sum::<usize>();
        sum += values.saturating_sub(1) as f64;
        count += values;
    }
    (count > 0).then(|| sum / count as f64)
}

fn valid(values: &[f32]) -> impl Iterator<Item = f32> {
    values.iter().copied().filter(|value| !value.is_nan())
}

fn ignored(loss: ReconstructionLoss, label: i64) -> bool {
    matches!(loss, ReconstructionLoss::CrossEntropy { ignore: Some(ignore), .. } if ignore == label)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSE: ReconstructionLoss = ReconstructionLoss::Mse { norm_pix: false };
    const L1: ReconstructionLoss = ReconstructionLoss::L1 { norm_pix: false };

    fn map(width: usize, values: Values) -> Map {
        Map { height: 1, width, values }
    }

    #[test]
    fn constants_are_the_mean_and_the_frequencies() {
        let values = map(2, Values::Continuous { channels: 2, data: vec![0.0, 2.0, 5.0, 9.0] });
        let mut constant = Constant::default();
        constant.add(&values, MSE);
        // Channel means 1 and 7; squared errors 1, 1, 4, 4.
        assert_eq!(constant.loss(&values, MSE, 1), Some(2.5));
        assert_eq!(constant.loss(&values, L1, 1), Some(1.5));

        let ce = ReconstructionLoss::CrossEntropy { label_smoothing: 0.0, ignore: Some(0) };
        let labels = map(6, Values::Labels(vec![0, 1, 1, 2, 2, 0]));
        let mut constant = Constant::default();
        constant.add(&labels, ce);
        let loss = constant.loss(&labels, ce, 1).unwrap();
        assert!((loss - 2.0_f64.ln()).abs() < 1e-12);
        assert_eq!(constant.loss(&map(2, Values::Labels(vec![0, 0])), ce, 1), None);
    }

    #[test]
    fn invalid_pixels_are_in_no_mean_and_no_loss() {
        let holed = |data: Vec<f32>| map(4, Values::Continuous { channels: 1, data });
        let values = holed(vec![1.0, f32::NAN, 3.0, f32::NAN]);
        let mut constant = Constant::default();
        constant.add(&values, L1);
        constant.add(&holed(vec![f32::NAN; 4]), L1);
        assert_eq!(constant.loss(&values, L1, 1), Some(1.0));
        assert_eq!(constant.loss(&holed(vec![f32::NAN; 4]), L1, 1), None);
        let norm_pix = ReconstructionLoss::Mse { norm_pix: true };
        // Patches of 1 x 1 and the three values of a larger one.
        assert_eq!(constant.loss(&values, norm_pix, 1), Some(0.0));
        let square = Map {
            height: 2,
            width: 2,
            values: Values::Continuous { channels: 1, data: vec![1.0, 2.0, f32::NAN, 4.0] },
        };
        assert_eq!(constant.loss(&square, norm_pix, 2), Some(2.0 / 3.0));
    }
}
