//! AdamW with both moments in bfloat16, rounded stochastically.

use multiversion::multiversion;

use super::rounding::RandomBits;
use super::{AdamWStep, Factors, PART, one};
use crate::cpu::parallel;

/// The moments of a parameter in bfloat16: 4 bytes per value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bf16Moments {
    mean: Vec<u16>,
    square: Vec<u16>,
}

impl Bf16Moments {
    /// Those of a parameter of `len` values before its first step.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        Self { mean: vec![0; len], square: vec![0; len] }
    }

    /// The moments with these bits. `None` if they differ in length.
    #[must_use]
    pub fn from_bits(mean: Vec<u16>, square: Vec<u16>) -> Option<Self> {
        (mean.len() == square.len()).then_some(Self { mean, square })
    }

    /// The bits of the mean of the gradient.
    #[must_use]
    pub fn mean(&self) -> &[u16] {
        &self.mean
    }

    /// The bits of the mean of the squared gradient.
    #[must_use]
    pub fn square(&self) -> &[u16] {
        &self.square
    }

    /// Moves `value` by one step and brings the moments up to date. `key` names the random bits of the
    /// rounding; results depend on nothing else but the arguments.
    ///
    /// # Panics
    /// If the slices or the moments differ in length.
    pub fn update(&mut self, step: AdamWStep, key: u64, value: &mut [f32], gradient: &[f32]) {
        let length = value.len();
        assert!(
            gradient.len() == length && self.mean.len() == length && self.square.len() == length,
            "a parameter, its gradient and its moments differ in length"
        );
        let (factors, random) = (Factors::from(step), RandomBits::new(key));
        let moments = self.mean.chunks_mut(PART).zip(self.square.chunks_mut(PART));
        let parts = value.chunks_mut(PART).zip(gradient.chunks(PART)).zip(moments).enumerate();
        parallel::for_each(length, parts, |(index, (values, moments))| {
            part(factors, (random, index * PART), values, moments);
        });
    }

    /// The mean and the mean square in fp32.
    #[must_use]
    pub fn to_f32(&self) -> [Vec<f32>; 2] {
        [&self.mean, &self.square].map(|bits| bits.iter().copied().map(widen).collect())
    }

    /// The moments that [`Self::update`] stores for these means and mean squares. They may not differ
    /// in length.
    #[must_use]
    pub fn from_f32(key: u64, mean: &[f32], square: &[f32]) -> Self {
        let random = RandomBits::new(key);
        let mean = mean.iter().enumerate().map(|(i, &x)| narrow(x, random.at(i).mean)).collect();
        let square = square.iter().enumerate();
        Self { mean, square: square.map(|(i, &x)| narrow(x, random.at(i).square)).collect() }
    }
}

#[multiversion(targets = "simd")]
fn part(
    factors: Factors,
    (random, first): (RandomBits, usize),
    (value, gradient): (&mut [f32], &[f32]),
    (mean, square): (&mut [u16], &mut [u16]),
) {
    let moments = mean.iter_mut().zip(square.iter_mut());
    for (index, ((value, &gradient), (mean, square))) in
        value.iter_mut().zip(gradient).zip(moments).enumerate()
    {
        let bits = random.at(first.wrapping_add(index));
        let (mut wide_mean, mut wide_square) = (widen(*mean), widen(*square));
        one(factors, value, gradient, &mut wide_mean, &mut wide_square);
        *mean = narrow(wide_mean, bits.mean);
        *square = narrow(wide_square, bits.square);
    }
}

/// A number of bfloat16 in fp32.
#[inline(always)]
fn widen(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// A number in bfloat16: the neighbour away from 0 if `random`, of 16 bits, and the bits that are cut
/// off carry over, which is with the probability that makes the mean the number itself.
#[inline(always)]
fn narrow(number: f32, random: u32) -> u16 {
    let bits = number.to_bits();
    // The carry would make a number of a NaN.
    let random = if number.is_nan() { 0 } else { random };
    (bits.wrapping_add(random) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::super::update as update_in_fp32;
    use super::*;
    use crate::cpu::testing::values;

    fn step(beta_2: f64, step: u64) -> AdamWStep {
        AdamWStep { beta_1: 0.9, beta_2, eps: 1e-8, lr: 1e-3, weight_decay: 0.05, step }
    }

    #[test]
    fn rounding_is_to_a_neighbour_and_right_on_average() {
        for number in values(3, 200).into_iter().chain([1e-30, -3e30, 1.0, 0.0, -0.25]) {
            let down = widen((number.to_bits() >> 16) as u16);
            let up = widen(((number.to_bits() >> 16) + 1) as u16);
            let all = (0..1 << 16).map(|random| widen(narrow(number, random)));
            let sum: f64 = all
                .inspect(|rounded| {
                    assert!(*rounded == down || *rounded == up || *rounded == number)
                })
                .map(f64::from)
                .sum();
            let mean = sum / f64::from(1 << 16);
            let close = (mean - f64::from(number)).abs() <= 1e-6 * f64::from(number).abs();
            assert!(close, "{number}: {mean}");
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        for random in [0, 1, 0x8000, 0xFFFF] {
            assert!(widen(narrow(f32::NAN, random)).is_nan());
            assert!(widen(narrow(f32::from_bits(0x7FFF_FFFF), random)).is_nan());
            assert!(widen(narrow(f32::from_bits(0xFFFF_FFFF), random)).is_nan());
            assert_eq!(widen(narrow(f32::INFINITY, random)), f32::INFINITY);
            assert_eq!(widen(narrow(f32::NEG_INFINITY, random)), f32::NEG_INFINITY);
        }
    }

    /// Rounded to the nearest, the mean square stops at 34 % of this.
    #[test]
    fn the_mean_square_is_not_stuck_with_a_decay_of_0_999() {
        let (count, steps) = (4096, 2000);
        let gradient = vec![0.5; count];
        let (mut value, mut moments) = (vec![0.0; count], Bf16Moments::zeros(count));
        for index in 1..=steps {
            moments.update(step(0.999, index), index * 7919, &mut value, &gradient);
        }
        let [_, square] = moments.to_f32();
        let mean = square.iter().map(|&x| f64::from(x)).sum::<f64>() / count as f64;
        let expected = 0.25 * (1.0 - 0.999f64.powi(steps as i32));
        assert!((mean / expected - 1.0).abs() < 0.01, "{mean} instead of {expected}");
        let farthest = square.iter().map(|&x| (f64::from(x) / expected - 1.0).abs());
        let farthest = farthest.fold(0.0, f64::max);
        assert!(farthest < 0.2, "an element is off by {farthest}");
    }

    #[test]
    fn a_step_is_that_of_fp32_from_the_same_moments() {
        let count = 40_001;
        let gradient = values(2, count);
        let squares: Vec<f32> = values(4, count).iter().map(|x| x * x).collect();
        let mut moments = Bf16Moments::from_f32(1, &values(3, count), &squares);
        let [mut mean, mut square] = moments.to_f32();
        let mut value = values(1, count);
        let mut expected = value.clone();
        update_in_fp32(step(0.95, 9), &mut expected, &gradient, &mut mean, &mut square);
        moments.update(step(0.95, 9), 77, &mut value, &gradient);
        assert_eq!(value, expected);
        assert_eq!(moments, Bf16Moments::from_f32(77, &mean, &square));
        assert_ne!(moments, Bf16Moments::from_f32(78, &mean, &square));
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let count = 100_003;
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (mut value, mut moments) = (values(1, count), Bf16Moments::zeros(count));
            for index in 1..4 {
                let gradient = values(index, count);
                let step = step(0.95, index);
                pool.install(|| moments.update(step, index, &mut value, &gradient));
            }
            (value, moments)
        };
        let one = run(1);
        assert!([2, 5].map(run).iter().all(|other| *other == one));
    }

    #[test]
    fn moments_of_two_lengths_are_refused() {
        assert!(Bf16Moments::from_bits(vec![0; 2], vec![0; 2]).is_some());
        assert!(Bf16Moments::from_bits(vec![0; 2], vec![0; 3]).is_none());
    }
}
