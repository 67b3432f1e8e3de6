//! Losses over the masked patches of one task (MultiMAE, section 3.3).

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::ValidMask;
use super::cross_entropy::pixel_cross_entropy;
use crate::input_adapters::ModalityTensor;
use crate::masking::TaskMask;
use crate::modality::Size;
use crate::patches::{patchify, unpatchify};
use crate::{Error, Result};

/// Added to a patch's variance before the square root.
const NORM_PIX_EPS: f64 = 1e-6;

/// The loss of one task.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReconstructionLoss {
    /// Squared error, averaged over the channels.
    Mse {
        /// Standardise every patch of the target first (He et al., 2022).
        norm_pix: bool,
    },
    /// Absolute error, averaged over the channels.
    L1 {
        /// Standardise every patch of the target first.
        norm_pix: bool,
    },
    /// Softmax cross-entropy per pixel.
    CrossEntropy {
        /// Share of the target's mass that is spread over all classes.
        label_smoothing: f64,
        /// A label whose pixels do not count.
        ignore: Option<i64>,
    },
}

/// The target of a task.
pub type ReconstructionTarget = ModalityTensor;

/// The pixels of a target that count.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountedPixels<'a> {
    /// Those of masked tokens; all if `None`.
    pub mask: Option<&'a TaskMask>,
    /// Those that are valid; all if `None`.
    pub valid: Option<&'a ValidMask>,
}

impl<'a> From<Option<&'a TaskMask>> for CountedPixels<'a> {
    fn from(mask: Option<&'a TaskMask>) -> Self {
        Self { mask, valid: None }
    }
}

/// A task's loss.
#[derive(Debug, Clone)]
pub struct TaskLoss {
    /// `(1)`.
    pub value: Tensor<1>,
    /// No pixel counted: the value is a constant zero without gradient.
    pub empty: bool,
    /// `(B)`, each sample's own mean, zero where it has no pixel that counts.
    pub per_sample: Tensor<1>,
    /// The number of samples with a masked token that has a valid pixel. Ignored labels are not
    /// looked at.
    pub samples: usize,
}

impl TaskLoss {
    /// The loss where no pixel counts.
    pub(super) fn empty(batch: usize, device: &Device) -> Self {
        Self {
            value: Tensor::zeros([1], device),
            empty: true,
            per_sample: Tensor::zeros([batch], device),
            samples: 0,
        }
    }
}

impl ReconstructionLoss {
    /// The mean over the samples of each sample's mean over its masked and valid pixels; samples
    /// without one do not count. Without a mask, the mean over all valid pixels. A token without a
    /// valid pixel is no target.
    ///
    /// `patch` is the side of a patch at the task's own resolution. With `ignore_nan_samples`, a
    /// sample whose loss is not a number is left out of the mean, as the published code does.
    ///
    /// # Shapes
    /// `prediction (B, C, h, w)`; target `(B, C, h, w)` or `(B, h, w)`.
    ///
    /// # Errors
    /// If prediction, target, valid mask and loss do not fit.
    pub fn forward<'a>(
        &self,
        task: &str,
        prediction: Tensor<4>,
        target: &ReconstructionTarget,
        counted: impl Into<CountedPixels<'a>>,
        patch: usize,
        ignore_nan_samples: bool,
    ) -> Result<TaskLoss> {
        let CountedPixels { mask, valid } = counted.into();
        let [batch, _, height, width] = prediction.dims();
        let device = prediction.device();
        if let Some(other) = valid.map(ValidMask::shape).filter(|s| *s != [batch, height, width]) {
            let problem = format!("prediction {:?}, valid mask {other:?}", prediction.dims());
            return Err(Error::Loss { task: task.to_owned(), problem });
        }
        let targets = valid.map(|valid| valid.patches(patch));
        let mask = match (mask, &targets) {
            (Some(mask), Some(targets)) => Some(mask.only(targets)),
            (mask, _) => mask.cloned(),
        };
        let samples = match (&mask, valid) {
            (Some(mask), _) => mask.samples(),
            (None, Some(valid)) => valid.samples(),
            (None, None) => batch,
        };
        if samples == 0 {
            return Ok(TaskLoss::empty(batch, &device));
        }
        let valid = valid.map(|valid| valid.tensor(&device));
        let (pixels, labelled) = self.per_pixel(task, prediction, target, valid.clone(), patch)?;
        let masked = mask.map(|mask| {
            let grid = [batch, height / patch, 1, width / patch, 1];
            mask.tensor(&device)
                .reshape(grid)
                .expand([batch, height / patch, patch, width / patch, patch])
                .reshape([batch, height, width])
        });
        let weights = [masked, labelled, valid].into_iter().flatten().reduce(|a, b| a * b);
        Ok(mean_of_samples(pixels, weights, ignore_nan_samples, samples))
    }

    /// The loss of every pixel, and which pixels are labelled if not all are.
    ///
    /// # Shapes
    /// `(B, h, w)` both.
    fn per_pixel(
        &self,
        task: &str,
        prediction: Tensor<4>,
        target: &ReconstructionTarget,
        valid: Option<Tensor<3>>,
        patch: usize,
    ) -> Result<(Tensor<3>, Option<Tensor<3>>)> {
        let error = |problem: String| Error::Loss { task: task.to_owned(), problem };
        match (*self, target) {
            (
                Self::Mse { norm_pix } | Self::L1 { norm_pix },
                ModalityTensor::Continuous(target),
            ) => {
                if prediction.dims() != target.dims() {
                    return Err(error(format!(
                        "prediction {:?}, target {:?}",
                        prediction.dims(),
                        target.dims()
                    )));
                }
                let target = if norm_pix {
                    standardise_patches(target.clone(), valid, patch)
                } else {
                    target.clone()
                };
                let difference = prediction - target;
                let values = match self {
                    Self::L1 { .. } => difference.abs(),
                    _ => difference.square(),
                };
                Ok((values.mean_dim(1).squeeze_dim::<3>(1), None))
            }
            (
                Self::CrossEntropy { label_smoothing, ignore },
                ModalityTensor::Categorical(labels),
            ) => {
                let [batch, _, height, width] = prediction.dims();
                if labels.dims() != [batch, height, width] {
                    return Err(error(format!(
                        "prediction {:?}, labels {:?}",
                        prediction.dims(),
                        labels.dims()
                    )));
                }
                Ok(pixel_cross_entropy(prediction, labels.clone(), label_smoothing, ignore))
            }
            (Self::CrossEntropy { .. }, ModalityTensor::Continuous(_)) => {
                Err(error("cross_entropy needs class indices as its target".to_owned()))
            }
            (_, ModalityTensor::Categorical(_)) => {
                Err(error("mse and l1 need real values as their target".to_owned()))
            }
        }
    }
}

/// Every patch with mean 0 and variance 1 over all its valid values of all channels together; the
/// variance is the unbiased one.
///
/// # Shapes
/// `(B, C, h, w)` to `(B, C, h, w)`; `valid (B, h, w)`.
fn standardise_patches(target: Tensor<4>, valid: Option<Tensor<3>>, patch: usize) -> Tensor<4> {
    let [batch, channels, height, width] = target.dims();
    let values = channels * patch * patch;
    let patches = patchify(target, patch);
    let (centred, variance) = match valid {
        None => {
            let centred = patches.clone() - patches.mean_dim(2);
            let variance = centred.clone().square().sum_dim(2).div_scalar(values as f64 - 1.0);
            (centred, variance)
        }
        Some(valid) => {
            let valid = valid.reshape([batch, 1, height, width]);
            let valid = patchify(valid.expand([batch, channels, height, width]), patch);
            let count = valid.clone().sum_dim(2);
            let mean = (patches.clone() * valid.clone()).sum_dim(2) / count.clone().clamp_min(1.0);
            let centred = (patches - mean) * valid;
            let squares = centred.clone().square().sum_dim(2);
            (centred, squares / count.sub_scalar(1.0).clamp_min(1.0))
        }
    };
    let standard = centred / variance.add_scalar(NORM_PIX_EPS).sqrt();
    unpatchify(standard, Size::new(height / patch, width / patch), patch)
}

fn mean_of_samples(
    pixels: Tensor<3>,
    weights: Option<Tensor<3>>,
    ignore_nan_samples: bool,
    samples: usize,
) -> TaskLoss {
    let [batch, height, width] = pixels.dims();
    let sums = |maps: Tensor<3>| maps.reshape([batch, height * width]).sum_dim(1).reshape([batch]);
    let Some(weights) = weights else {
        let per_sample = sums(pixels).div_scalar((height * width) as f64);
        return TaskLoss { value: per_sample.clone().mean(), empty: false, per_sample, samples };
    };
    let counts = sums(weights.clone());
    let mut present = counts.clone().greater_elem(0.0).float();
    let mut per_sample = sums(pixels * weights) / counts.clamp_min(1.0);
    if ignore_nan_samples {
        let nan = per_sample.clone().is_nan();
        per_sample = per_sample.mask_fill(nan.clone(), 0.0);
        present = present.mask_fill(nan, 0.0);
    }
    let value = per_sample.clone().sum() / present.sum().clamp_min(1.0);
    TaskLoss { value, empty: false, per_sample, samples }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masking::{SampleMask, TokenMasks};
    use burn::tensor::TensorData;

    const CE: ReconstructionLoss =
        ReconstructionLoss::CrossEntropy { label_smoothing: 0.0, ignore: Some(0) };

    fn map(values: &[f32], shape: [usize; 4]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::default())
    }

    fn labels(values: &[i64], shape: [usize; 3]) -> ModalityTensor {
        ModalityTensor::Categorical(Tensor::from_data(
            TensorData::new(values.to_vec(), shape),
            &Device::default(),
        ))
    }

    fn mask(flags: &[&[bool]]) -> TaskMask {
        let samples = flags
            .iter()
            .map(|f| SampleMask::new(f.iter().copied().chain([false, false]).collect()))
            .collect::<Vec<_>>();
        // Pad the counts to be equal with two more tokens of another task.
        let fixed = samples
            .iter()
            .map(|s| {
                let masked = s.masked().iter().filter(|&&m| m).count();
                let mut flags = s.masked().to_vec();
                let len = flags.len();
                for i in 0..2 - masked {
                    flags[len - 1 - i] = true;
                }
                SampleMask::new(flags)
            })
            .collect();
        TokenMasks::new(fixed).unwrap().task(0, flags[0].len())
    }

    fn scalar(t: Tensor<1>) -> f32 {
        t.into_data().try_to_vec::<f32>().unwrap()[0]
    }

    #[test]
    fn samples_without_masked_patch_do_not_count() {
        let l1 = ReconstructionLoss::L1 { norm_pix: false };
        let prediction = map(&[1.0, 2.0, 3.0, 4.0], [2, 1, 1, 2]);
        let target = ModalityTensor::Continuous(map(&[0.0; 4], [2, 1, 1, 2]));
        let task = mask(&[&[false, true], &[false, false]]);
        let loss = l1.forward("d", prediction.clone(), &target, Some(&task), 1, false).unwrap();
        assert_eq!(scalar(loss.value), 2.0);
        let none = mask(&[&[false, false], &[false, false]]);
        let loss = l1.forward("d", prediction.clone(), &target, Some(&none), 1, false).unwrap();
        assert!(loss.empty && scalar(loss.value) == 0.0);
        let all = l1.forward("d", prediction, &target, None, 1, false).unwrap();
        assert_eq!(scalar(all.value), 2.5);
    }

    #[test]
    fn nan_stays_unless_the_quirk_is_asked_for() {
        let mse = ReconstructionLoss::Mse { norm_pix: false };
        let prediction = map(&[f32::NAN, f32::NAN, 3.0, 3.0], [2, 1, 1, 2]);
        let target = ModalityTensor::Continuous(map(&[0.0; 4], [2, 1, 1, 2]));
        let task = mask(&[&[true, true], &[true, true]]);
        let loss = |quirk| {
            let loss =
                mse.forward("d", prediction.clone(), &target, Some(&task), 1, quirk).unwrap();
            scalar(loss.value)
        };
        assert!(loss(false).is_nan());
        assert_eq!(loss(true), 9.0);
    }

    #[test]
    fn ignored_labels_do_not_count() {
        let logits = map(&[0.0, 2.0, 0.0, 1.0], [1, 2, 1, 2]);
        let all_void = CE.forward("s", logits.clone(), &labels(&[0, 0], [1, 1, 2]), None, 1, false);
        assert_eq!(scalar(all_void.unwrap().value), 0.0);
        let one = CE.forward("s", logits, &labels(&[0, 1], [1, 1, 2]), None, 1, false).unwrap();
        let expected = (1.0_f32 + 1.0_f32.exp()).ln();
        assert!((scalar(one.value) - expected).abs() < 1e-6);
    }

    #[test]
    fn invalid_pixels_count_in_no_loss() {
        // Two samples of two tokens of 2 x 1 pixels; token 1 of the first has no valid pixel.
        let target = ModalityTensor::Continuous(map(
            &[1.0, 9.0, 9.0, 9.0, 5.0, 9.0, 7.0, 9.0],
            [2, 1, 2, 2],
        ));
        let prediction = map(&[0.0; 8], [2, 1, 2, 2]);
        let flags = vec![true, false, false, false, true, false, true, false];
        let valid = ValidMask::new(flags, [2, 2, 2]).unwrap();
        let l1 = ReconstructionLoss::L1 { norm_pix: false };
        let loss = |mask: Option<&TaskMask>| {
            let counted = CountedPixels { mask, valid: Some(&valid) };
            l1.forward("d", prediction.clone(), &target, counted, 2, false).unwrap()
        };
        let all = loss(None);
        // Means 1 and (5 + 7) / 2 of the samples.
        assert_eq!((scalar(all.value), all.samples), (3.5, 2));
        let valid_first = vec![true, true, true, true, false, false, false, false];
        let none_in_second = ValidMask::new(valid_first, [2, 2, 2]).unwrap();
        let counted = CountedPixels { mask: None, valid: Some(&none_in_second) };
        let first = l1.forward("d", prediction.clone(), &target, counted, 2, false).unwrap();
        assert_eq!((scalar(first.value), first.samples), (7.0, 1));
        let nothing = ValidMask::new(vec![false; 8], [2, 2, 2]).unwrap();
        let counted = CountedPixels { mask: None, valid: Some(&nothing) };
        let nothing = l1.forward("d", prediction.clone(), &target, counted, 2, false).unwrap();
        assert!(nothing.empty && nothing.samples == 0);
        let other = ValidMask::new(vec![true; 4], [2, 1, 2]).unwrap();
        let counted = CountedPixels { mask: None, valid: Some(&other) };
        assert!(l1.forward("d", prediction, &target, counted, 2, false).is_err());
    }

    #[test]
    fn a_token_without_a_valid_pixel_is_no_target() {
        let target = ModalityTensor::Continuous(map(&[3.0, 50.0], [1, 1, 1, 2]));
        let l1 = ReconstructionLoss::L1 { norm_pix: false };
        let valid = ValidMask::new(vec![true, false], [1, 1, 2]).unwrap();
        let loss = |masked: [bool; 2]| {
            let mask = mask(&[&masked]);
            let counted = CountedPixels { mask: Some(&mask), valid: Some(&valid) };
            l1.forward("d", map(&[0.0; 2], [1, 1, 1, 2]), &target, counted, 1, false).unwrap()
        };
        assert_eq!(scalar(loss([true, true]).value), 3.0);
        assert!(loss([false, true]).empty);
    }

    #[test]
    fn patches_are_standardised_by_their_valid_pixels() {
        let values = [2.0_f32, 4.0, 6.0, 1000.0];
        let holed = ModalityTensor::Continuous(map(&values, [1, 1, 2, 2]));
        let mse = ReconstructionLoss::Mse { norm_pix: true };
        let valid = ValidMask::new(vec![true, true, true, false], [1, 2, 2]).unwrap();
        let loss = |valid| {
            let counted = CountedPixels { mask: None, valid };
            let zeros = map(&[0.0; 4], [1, 1, 2, 2]);
            scalar(mse.forward("d", zeros, &holed, counted, 2, false).unwrap().value)
        };
        // -1, 0 and 1: mean 4, variance 4 with n - 1.
        assert!((loss(Some(&valid)) - 2.0 / 3.0).abs() < 1e-5);
        let all = ValidMask::new(vec![true; 4], [1, 2, 2]).unwrap();
        assert!((loss(Some(&all)) - loss(None)).abs() < 1e-6);
    }

    #[test]
    fn loss_and_target_must_fit() {
        let prediction = map(&[0.0; 4], [1, 1, 2, 2]);
        let target = ModalityTensor::Continuous(map(&[0.0; 2], [1, 1, 1, 2]));
        let mse = ReconstructionLoss::Mse { norm_pix: false };
        assert!(mse.forward("d", prediction.clone(), &target, None, 1, false).is_err());
        assert!(CE.forward("d", prediction, &target, None, 1, false).is_err());
    }
}
