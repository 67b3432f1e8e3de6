//! Losses of downstream tasks: a head's prediction against annotations.

use burn::tensor::{Bool, Int, Tensor, activation};
use serde::{Deserialize, Serialize};

use super::cross_entropy::{pixel_cross_entropy, rows_cross_entropy};
use super::{RegressionLoss, TaskLoss};
use crate::output_adapters::Prediction;
use crate::{Error, Result};

/// The loss of a downstream task.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SupervisedLoss {
    /// Softmax cross-entropy, the mean over images or over labelled pixels of the batch.
    CrossEntropy {
        /// Share of the target's mass that is spread over all classes.
        label_smoothing: f64,
        /// A label whose pixels do not count.
        ignore: Option<i64>,
    },
    /// Of real values, over the valid pixels of the batch.
    Regression(RegressionLoss),
}

/// The target of a head.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "one per task and batch, and only handles")]
pub enum SupervisedTarget {
    /// A class per image, `(B)`.
    Classes(Tensor<1, Int>),
    /// A distribution over the classes per image, `(B, classes)`: mixed or smoothed classes.
    Distributions(Tensor<2>),
    /// A class per pixel, `(B, H, W)`.
    Labels(Tensor<3, Int>),
    /// Real values.
    Values {
        /// `(B, C, H, W)`.
        values: Tensor<4>,
        /// The valid mask, `(B, C, H, W)` or `(B, 1, H, W)`; all pixels are valid if absent.
        valid: Option<Tensor<4, Bool>>,
    },
}

impl SupervisedLoss {
    /// The loss over the batch. Without any labelled or valid pixel it is a constant zero.
    ///
    /// # Errors
    /// If prediction, target and loss do not fit.
    pub fn forward(
        &self,
        task: &str,
        prediction: &Prediction,
        target: &SupervisedTarget,
    ) -> Result<TaskLoss> {
        let error = |problem: String| Error::Loss { task: task.to_owned(), problem };
        match (*self, prediction.clone(), target.clone()) {
            (
                Self::CrossEntropy { label_smoothing, .. },
                Prediction::Classes(logits),
                SupervisedTarget::Classes(classes),
            ) => {
                fits(logits.dims()[..1] == classes.dims(), &logits.dims(), &classes.dims())
                    .map_err(error)?;
                Ok(of_images(logits, classes, label_smoothing))
            }
            (
                Self::CrossEntropy { .. },
                Prediction::Classes(logits),
                SupervisedTarget::Distributions(target),
            ) => {
                fits(logits.dims() == target.dims(), &logits.dims(), &target.dims())
                    .map_err(error)?;
                Ok(of_distributions(logits, target))
            }
            (
                Self::CrossEntropy { label_smoothing, ignore },
                Prediction::Maps(logits),
                SupervisedTarget::Labels(labels),
            ) => {
                let [batch, _, height, width] = logits.dims();
                let fit = labels.dims() == [batch, height, width];
                fits(fit, &logits.dims(), &labels.dims()).map_err(error)?;
                Ok(of_pixels(logits, labels, label_smoothing, ignore))
            }
            (
                Self::Regression(loss),
                Prediction::Maps(prediction),
                SupervisedTarget::Values { values, valid },
            ) => {
                let shape = prediction.dims();
                fits(shape == values.dims(), &shape, &values.dims()).map_err(error)?;
                let valid = valid.map(|valid| over_channels(valid, shape)).transpose();
                Ok(loss.forward(prediction, values, valid.map_err(error)?))
            }
            (Self::CrossEntropy { .. }, ..) => Err(error(
                "cross_entropy needs a class per pixel from a dense head, or a class per image \
                 from a linear head"
                    .to_owned(),
            )),
            (Self::Regression(_), ..) => {
                Err(error("l1, berhu and silog need real values from a dense head".to_owned()))
            }
        }
    }
}

fn fits(fit: bool, prediction: &[usize], target: &[usize]) -> Result<(), String> {
    if fit { Ok(()) } else { Err(format!("prediction {prediction:?}, target {target:?}")) }
}

/// A mask of one channel holds for all of them.
fn over_channels(valid: Tensor<4, Bool>, shape: [usize; 4]) -> Result<Tensor<4, Bool>, String> {
    let [batch, _, height, width] = shape;
    let dims = valid.dims();
    if dims == shape {
        Ok(valid)
    } else if dims == [batch, 1, height, width] {
        Ok(valid.expand(shape))
    } else {
        Err(format!("prediction {shape:?}, valid mask {dims:?}"))
    }
}

fn of_images(logits: Tensor<2>, classes: Tensor<1, Int>, smoothing: f64) -> TaskLoss {
    let per_sample = rows_cross_entropy(logits, classes, smoothing);
    let [samples] = per_sample.dims();
    TaskLoss { value: per_sample.clone().mean(), empty: false, per_sample, samples }
}

/// The smoothing is in the target already.
fn of_distributions(logits: Tensor<2>, target: Tensor<2>) -> TaskLoss {
    let [batch, _] = logits.dims();
    let log_probabilities = activation::log_softmax(logits, 1);
    let per_sample = (target * log_probabilities).sum_dim(1).neg().reshape([batch]);
    let [samples] = per_sample.dims();
    TaskLoss { value: per_sample.clone().mean(), empty: false, per_sample, samples }
}

fn of_pixels(
    logits: Tensor<4>,
    labels: Tensor<3, Int>,
    smoothing: f64,
    ignore: Option<i64>,
) -> TaskLoss {
    let [batch, height, width] = labels.dims();
    let device = logits.device();
    let (pixels, counted) = pixel_cross_entropy(logits, labels, smoothing, ignore);
    let weights = counted.unwrap_or_else(|| Tensor::ones([batch, height, width], &device));
    let count = weights.clone().sum();
    if count.clone().inner().into_data().iter::<f64>().sum::<f64>() == 0.0 {
        return TaskLoss::empty(batch, &device);
    }
    let sums = |maps: Tensor<3>| maps.reshape([batch, height * width]).sum_dim(1).reshape([batch]);
    let per_sample = sums(pixels * weights.clone());
    TaskLoss {
        value: per_sample.clone().sum() / count,
        empty: false,
        per_sample: per_sample / sums(weights).clamp_min(1.0),
        samples: batch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    const CE: SupervisedLoss =
        SupervisedLoss::CrossEntropy { label_smoothing: 0.0, ignore: Some(255) };

    /// Logits of two samples of two pixels, two classes each.
    fn logits(device: &Device) -> Tensor<4> {
        let values = vec![0.0_f32, 0.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0];
        Tensor::from_data(TensorData::new(values, [2, 2, 1, 2]), device)
    }

    fn labels(values: [i64; 4], device: &Device) -> SupervisedTarget {
        let data = TensorData::new(values.to_vec(), [2, 1, 2]);
        SupervisedTarget::Labels(Tensor::from_data(data, device))
    }

    fn scalar(t: Tensor<1>) -> f64 {
        t.into_data().iter::<f64>().sum()
    }

    /// `ln(1 + exp(x))`, the loss of a logit that is `x` below its only rival.
    fn softplus(x: f64) -> f64 {
        x.exp().ln_1p()
    }

    #[test]
    fn pixels_of_all_samples_count_alike() {
        let device = Device::default();
        let prediction = Prediction::Maps(logits(&device));
        let loss = CE.forward("s", &prediction, &labels([1, 0, 0, 255], &device)).unwrap();
        let expected = (softplus(-1.0) + softplus(2.0) + softplus(-3.0)) / 3.0;
        assert!((scalar(loss.value) - expected).abs() < 1e-6);
        let expected = [(softplus(-1.0) + softplus(2.0)) / 2.0, softplus(-3.0)];
        for (got, expected) in loss.per_sample.into_data().iter::<f64>().zip(expected) {
            assert!((got - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn no_labelled_pixel_is_a_constant_zero() {
        let device = Device::default().autodiff();
        let prediction = Prediction::Maps(logits(&device).require_grad());
        let loss = CE.forward("s", &prediction, &labels([255; 4], &device)).unwrap();
        assert!(loss.empty && !loss.value.is_tracked());
        assert_eq!(scalar(loss.value), 0.0);
    }

    #[test]
    fn smoothing_mixes_with_the_mean_over_classes() {
        let device = Device::default();
        let logits = Tensor::from_data(TensorData::new(vec![2.0_f32, 0.0], [1, 2]), &device);
        let classes = Tensor::from_data(TensorData::new(vec![0_i64], [1]), &device);
        let loss = SupervisedLoss::CrossEntropy { label_smoothing: 0.1, ignore: None };
        let target = SupervisedTarget::Classes(classes);
        let loss = loss.forward("c", &Prediction::Classes(logits), &target).unwrap();
        let expected = 0.95 * softplus(-2.0) + 0.05 * softplus(2.0);
        assert!((scalar(loss.value) - expected).abs() < 1e-6);
    }

    #[test]
    fn distributions_weigh_the_classes() {
        let device = Device::default();
        let logits = Tensor::from_data(TensorData::new(vec![2.0_f32, 0.0], [1, 2]), &device);
        let target = Tensor::from_data(TensorData::new(vec![0.7_f32, 0.3], [1, 2]), &device);
        let target = SupervisedTarget::Distributions(target);
        let loss = CE.forward("c", &Prediction::Classes(logits), &target).unwrap();
        let expected = 0.7 * softplus(-2.0) + 0.3 * softplus(2.0);
        assert!((scalar(loss.value) - expected).abs() < 1e-6);
    }

    #[test]
    fn a_mask_of_one_channel_holds_for_all() {
        let device = Device::default();
        let prediction = Tensor::ones([1, 3, 1, 2], &device);
        let valid =
            Tensor::<4>::from_data(TensorData::new(vec![1.0_f32, 0.0], [1, 1, 1, 2]), &device);
        let target = SupervisedTarget::Values {
            values: Tensor::zeros([1, 3, 1, 2], &device),
            valid: Some(valid.greater_elem(0.5)),
        };
        let l1 = SupervisedLoss::Regression(RegressionLoss::L1);
        let loss = l1.forward("d", &Prediction::Maps(prediction), &target).unwrap();
        assert_eq!(scalar(loss.value), 1.0);
    }

    #[test]
    fn loss_and_target_must_fit() {
        let device = Device::default();
        let maps = Prediction::Maps(logits(&device));
        let small = SupervisedTarget::Labels(Tensor::zeros([2, 1, 1], &device));
        assert!(CE.forward("s", &maps, &small).is_err());
        let l1 = SupervisedLoss::Regression(RegressionLoss::L1);
        assert!(l1.forward("s", &maps, &labels([0; 4], &device)).is_err());
    }
}
