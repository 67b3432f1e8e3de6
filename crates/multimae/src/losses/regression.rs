//! Losses of real-valued maps over their valid pixels: depth and other dense regression.

use burn::tensor::{Bool, Tensor};
use serde::{Deserialize, Serialize};

use super::TaskLoss;

/// Share of the largest error at which berHu turns quadratic.
const BERHU_SHARE: f64 = 0.2;
/// The threshold of berHu is at least this.
const BERHU_MIN: f64 = 1e-5;
/// Silog takes the logarithm of values of at least this, in the unit of the target.
const SILOG_MIN: f64 = 1e-6;
/// Added under the root of a vector's squared length, whose slope is infinite at zero.
const LENGTH_EPS: f64 = 1e-6;
/// Added under silog's root, whose slope is infinite at zero.
const SILOG_EPS: f64 = 1e-12;

/// The loss of a value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegressionLoss {
    /// Mean of `|d|`, with `d = prediction - target`.
    L1,
    /// Reversed Huber (Laina et al., 2016, arXiv 1606.00373): with the constant
    /// `c = max(0.2 max|d|, 1e-5)` over the batch, the mean of `|d|` where `|d| < c` and of
    /// `(d² + c²) / (2 c)` elsewhere. No gradient flows through `c`.
    #[serde(rename = "berhu")]
    BerHu,
    /// Scale-invariant logarithmic error (Eigen et al., 2014, arXiv 1406.2283), as a root: with
    /// `g = ln(prediction) - ln(target)`, `sqrt(mean(g²) - variance_focus * mean(g)²)`. Values
    /// below 1e-6 count as 1e-6, so predictions must be positive to learn.
    Silog {
        /// From 0, an error of the scale counts fully, to 1, it does not count.
        variance_focus: f64,
    },
    /// Of vectors whose components are the channels: `L1` plus the mean over pixels of
    /// `1 - cos(prediction, target)`. Targets have unit length.
    CosineL1,
}

impl RegressionLoss {
    /// Computes the loss over all valid values of the batch together. Invalid values of the target
    /// are ignored, NaN included.
    ///
    /// # Shapes
    /// `prediction`, `target` and `valid` `(B, C, h, w)`.
    pub(super) fn forward(
        self,
        prediction: Tensor<4>,
        target: Tensor<4>,
        valid: Option<Tensor<4, Bool>>,
    ) -> TaskLoss {
        let [batch, channels, height, width] = prediction.dims();
        let device = prediction.device();
        let invalid = valid.map(Tensor::bool_not);
        let weights = Tensor::ones([batch, channels, height, width], &device);
        let weights = fill(weights, invalid.as_ref());
        let count = weights.clone().sum();
        if count.clone().inner().into_data().iter::<f64>().sum::<f64>() == 0.0 {
            return TaskLoss::empty(batch, &device);
        }
        let counts = per_sample(weights).clamp_min(1.0);
        let silog = |variance_focus: f64| {
            let log = |values: Tensor<4>| values.clamp_min(SILOG_MIN).log();
            let g = fill(log(prediction.clone()) - log(target.clone()), invalid.as_ref());
            let root = |squares: Tensor<1>, sum: Tensor<1>, count: Tensor<1>| {
                let mean = sum / count.clone();
                let shift = mean.square().mul_scalar(variance_focus);
                (squares / count - shift).clamp_min(0.0).add_scalar(SILOG_EPS).sqrt()
            };
            let squares = g.clone().square();
            TaskLoss {
                value: root(squares.clone().sum(), g.clone().sum(), count.clone()),
                empty: false,
                per_sample: root(per_sample(squares), per_sample(g), counts.clone()),
                samples: batch,
            }
        };
        let error = match self {
            Self::Silog { variance_focus } => return silog(variance_focus),
            Self::L1 => fill(prediction - target, invalid.as_ref()).abs(),
            Self::BerHu => berhu(fill(prediction - target, invalid.as_ref())),
            Self::CosineL1 => {
                let cosine = one_minus_cosine(prediction.clone(), target.clone());
                let difference = (prediction - target).abs();
                let cosine = cosine.expand(difference.dims());
                fill(difference + cosine, invalid.as_ref())
            }
        };
        TaskLoss {
            value: error.clone().sum() / count,
            empty: false,
            per_sample: per_sample(error) / counts,
            samples: batch,
        }
    }
}

/// Zero where not valid, without gradient there.
fn fill(values: Tensor<4>, invalid: Option<&Tensor<4, Bool>>) -> Tensor<4> {
    match invalid {
        Some(invalid) => values.mask_fill(invalid.clone(), 0.0),
        None => values,
    }
}

/// One minus the cosine of the angle between vectors of channels, of which `target` has unit
/// length.
///
/// # Shapes
/// `(B, C, h, w)` to `(B, 1, h, w)`.
fn one_minus_cosine(prediction: Tensor<4>, target: Tensor<4>) -> Tensor<4> {
    let length = prediction.clone().square().sum_dim(1).add_scalar(LENGTH_EPS).sqrt();
    ((prediction * target).sum_dim(1) / length).neg().add_scalar(1.0)
}

/// # Shapes
/// `(B, C, h, w)` to `(B)`.
fn per_sample(maps: Tensor<4>) -> Tensor<1> {
    let [batch, channels, height, width] = maps.dims();
    maps.reshape([batch, channels * height * width]).sum_dim(1).reshape([batch])
}

/// # Shapes
/// `(B, C, h, w)` to `(B, C, h, w)`.
fn berhu(difference: Tensor<4>) -> Tensor<4> {
    let size = difference.clone().abs();
    let c = size.clone().detach().max().mul_scalar(BERHU_SHARE).clamp_min(BERHU_MIN);
    let c = c.reshape([1, 1, 1, 1]);
    let quadratic = (difference.square() + c.clone().square()) / c.clone().mul_scalar(2.0);
    let linear = size.clone().lower(c.expand(size.dims()));
    quadratic.mask_where(linear, size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    const PREDICTION: [f32; 5] = [0.0, 1.0, 2.0, 3.0, 10.0];
    const TARGET: [f32; 5] = [0.1, 1.5, 2.0, 5.0, f32::NAN];

    fn map(values: &[f32], device: &Device) -> Tensor<4> {
        let shape = [1, 1, 1, values.len()];
        Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
    }

    fn scalar(t: Tensor<1>) -> f64 {
        t.into_data().iter::<f64>().sum()
    }

    fn masked(loss: RegressionLoss) -> TaskLoss {
        let device = Device::default();
        let valid = map(&[1.0, 1.0, 1.0, 1.0, 0.0], &device).greater_elem(0.5);
        loss.forward(map(&PREDICTION, &device), map(&TARGET, &device), Some(valid))
    }

    #[test]
    fn berhu_of_known_errors() {
        // |d| = 0.1, 0.5, 0, 2: c = 0.4.
        let loss = masked(RegressionLoss::BerHu);
        assert!((scalar(loss.value) - 1.453_124_9).abs() < 1e-6);
        assert!((scalar(loss.per_sample) - 1.453_124_9).abs() < 1e-6);
    }

    #[test]
    fn berhu_has_the_slope_of_a_constant_threshold() {
        let device = Device::default().autodiff();
        let prediction = map(&PREDICTION[..4], &device).require_grad();
        let target = map(&TARGET[..4], &device);
        let loss = RegressionLoss::BerHu.forward(prediction.clone(), target, None);
        let gradients = loss.value.backward();
        let slope = prediction.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap();
        // sign(d) / n below c = 0.4, d / (c n) above.
        for (got, expected) in slope.iter().zip([-0.25, -0.3125, 0.0, -1.25]) {
            assert!((got - expected).abs() < 1e-5, "{slope:?}");
        }
    }

    #[test]
    fn l1_counts_valid_values() {
        assert!((scalar(masked(RegressionLoss::L1).value) - 0.65).abs() < 1e-6);
    }

    #[test]
    fn silog_ignores_the_scale_as_far_as_asked() {
        let device = Device::default();
        let target = map(&[1.0, 2.0, 4.0], &device);
        let loss = |variance_focus| {
            let prediction = map(&[2.0, 4.0, 8.0], &device);
            let loss = RegressionLoss::Silog { variance_focus };
            scalar(loss.forward(prediction, target.clone(), None).value)
        };
        assert!((loss(0.0) - 2.0_f64.ln()).abs() < 1e-5);
        assert!((loss(0.85) - (0.15_f64).sqrt() * 2.0_f64.ln()).abs() < 1e-5);
        assert!(loss(1.0) < 1e-3);
    }

    #[test]
    fn silog_at_its_minimum_has_a_finite_slope() {
        let device = Device::default().autodiff();
        let target = map(&[1.0, 2.0], &device);
        let prediction = target.clone().detach().require_grad();
        let loss = RegressionLoss::Silog { variance_focus: 0.85 };
        let loss = loss.forward(prediction.clone(), target, None);
        let slope = prediction.grad(&loss.value.backward()).unwrap().into_data();
        assert!(slope.iter::<f64>().all(f64::is_finite));
    }

    #[test]
    fn no_valid_value_is_a_constant_zero() {
        let device = Device::default().autodiff();
        let prediction = map(&[1.0, 2.0], &device).require_grad();
        let valid = Tensor::<4>::zeros([1, 1, 1, 2], &device).greater_elem(0.5);
        let target = map(&[f32::NAN, 0.0], &device);
        let loss = RegressionLoss::BerHu.forward(prediction, target, Some(valid));
        assert!(loss.empty && !loss.value.is_tracked());
        assert_eq!(scalar(loss.value), 0.0);
    }
}
