//! AdamW (Loshchilov and Hutter, 2019) in one pass over the parameters.
//!
//! [`update`] keeps both moments in fp32. [`bf16`] and [`blockwise`] keep them in fewer bits; each
//! value is widened, moved by the same arithmetic and rounded again, so that no moment is in memory
//! in fp32 as a whole.

pub mod bf16;
pub mod blockwise;
mod dynamic;
mod rounding;

use multiversion::multiversion;

use super::parallel;

/// Elements that one thread takes at a time.
const PART: usize = 1 << 14;

/// The numbers of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// Decay of the mean of the gradient.
    pub beta_1: f64,
    /// Decay of the mean of the squared gradient.
    pub beta_2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Learning rate.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// The step, from 1.
    pub step: u64,
}

/// The step's numbers as every element needs them.
#[derive(Clone, Copy)]
struct Factors {
    keep_mean: f32,
    add_mean: f32,
    keep_square: f32,
    add_square: f32,
    divide_root: f32,
    eps: f32,
    change: f32,
    keep_value: f32,
}

impl From<AdamWStep> for Factors {
    fn from(step: AdamWStep) -> Self {
        let correction_1 = 1.0 - step.beta_1.powf(step.step as f64);
        let correction_2 = 1.0 - step.beta_2.powf(step.step as f64);
        Self {
            keep_mean: step.beta_1 as f32,
            add_mean: (1.0 - step.beta_1) as f32,
            keep_square: step.beta_2 as f32,
            add_square: (1.0 - step.beta_2) as f32,
            divide_root: correction_2.sqrt() as f32,
            eps: step.eps as f32,
            change: (step.lr / correction_1) as f32,
            keep_value: (1.0 - step.lr * step.weight_decay) as f32,
        }
    }
}

/// Moves `value` by one step and brings its moments up to date, in the order of operations of
/// PyTorch's; every operation is rounded, so the bits are those of the plain formula.
///
/// # Panics
/// If the slices differ in length.
pub fn update(
    step: AdamWStep,
    value: &mut [f32],
    gradient: &[f32],
    mean: &mut [f32],
    square: &mut [f32],
) {
    let length = value.len();
    assert!(
        gradient.len() == length && mean.len() == length && square.len() == length,
        "a parameter, its gradient and its moments differ in length"
    );
    let factors = Factors::from(step);
    let parts = value
        .chunks_mut(PART)
        .zip(gradient.chunks(PART))
        .zip(mean.chunks_mut(PART).zip(square.chunks_mut(PART)));
    parallel::for_each(length, parts, |((value, gradient), (mean, square))| {
        part(factors, (value, gradient), (mean, square));
    });
}

#[multiversion(targets = "simd")]
fn part(
    factors: Factors,
    (value, gradient): (&mut [f32], &[f32]),
    (mean, square): (&mut [f32], &mut [f32]),
) {
    for (((value, &gradient), mean), square) in
        value.iter_mut().zip(gradient).zip(mean.iter_mut()).zip(square.iter_mut())
    {
        one(factors, value, gradient, mean, square);
    }
}

#[inline(always)]
fn one(f: Factors, value: &mut f32, gradient: f32, mean: &mut f32, square: &mut f32) {
    *mean = *mean * f.keep_mean + gradient * f.add_mean;
    *square = *square * f.keep_square + gradient * gradient * f.add_square;
    let denominator = square.sqrt() / f.divide_root + f.eps;
    *value = *value * f.keep_value - *mean / denominator * f.change;
}

#[cfg(test)]
mod tests {
    use super::super::testing::values;
    use super::*;

    #[test]
    fn every_element_has_its_own_step() {
        let step =
            AdamWStep { beta_1: 0.9, beta_2: 0.95, eps: 1e-8, lr: 0.1, weight_decay: 0.5, step: 1 };
        let count = 40_001;
        let (mut value, gradient) = (values(1, count), values(2, count));
        let start = value.clone();
        let (mut mean, mut square) = (vec![0.0; count], vec![0.0; count]);
        update(step, &mut value, &gradient, &mut mean, &mut square);
        // From nothing, the first step is the learning rate against the gradient's sign.
        for index in (0..count).filter(|&index| gradient[index].abs() > 1e-3) {
            let expected = start[index] * 0.95 - 0.1 * gradient[index].signum();
            assert!((value[index] - expected).abs() < 1e-5, "{index}");
        }
        assert!((mean[7] - 0.1 * gradient[7]).abs() < 1e-7);
        assert!((square[7] - 0.05 * gradient[7].powi(2)).abs() < 1e-7);
    }
}
