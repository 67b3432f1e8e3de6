//! AdamW with both moments in 8 bits, quantised block by block (Dettmers et al., 2022): every block of
//! values has its largest magnitude in fp32, and each value the code of its share of that, in
//! dynamic quantisation.
//!
//! Rounding is stochastic, and a block has 256 values, not 2048 as in the paper: a large gradient
//! makes fewer neighbours coarse, for 1.6 % more memory.

use multiversion::multiversion;

use super::dynamic::{SIGNED, UNSIGNED, signed, unsigned};
use super::rounding::{RandomBits, fraction};
use super::{AdamWStep, Factors, PART, one};
use crate::cpu::parallel;

/// Values of a block.
pub const BLOCK: usize = 256;

// Threads share whole blocks.
const _: () = assert!(PART.is_multiple_of(BLOCK));

/// Numbers in 8 bits, with a scale per block.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedBlocks {
    codes: Vec<u8>,
    absmax: Vec<f32>,
}

/// The moments of a parameter in 8 bits: 2.03 bytes per value.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockwiseMoments {
    mean: QuantizedBlocks,
    square: QuantizedBlocks,
}

/// A type of codes.
#[derive(Clone, Copy)]
struct Codebook {
    numbers: &'static [f32; 256],
    encode: fn(f32, f32) -> u8,
}

const OF_MEAN: Codebook = Codebook { numbers: &SIGNED, encode: signed };
const OF_SQUARE: Codebook = Codebook { numbers: &UNSIGNED, encode: unsigned };

impl QuantizedBlocks {
    fn zeros(len: usize) -> Self {
        Self { codes: vec![0; len], absmax: vec![0.0; len.div_ceil(BLOCK)] }
    }

    /// Numbers with these codes and largest magnitudes of blocks. `None` if there is not one of them
    /// per block.
    #[must_use]
    pub fn new(codes: Vec<u8>, absmax: Vec<f32>) -> Option<Self> {
        (absmax.len() == codes.len().div_ceil(BLOCK)).then_some(Self { codes, absmax })
    }

    /// The codes, one per value.
    #[must_use]
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// The largest magnitudes, one per block.
    #[must_use]
    pub fn absmax(&self) -> &[f32] {
        &self.absmax
    }

    /// The parts of the threads.
    fn parts(&mut self) -> impl Iterator<Item = (&mut [u8], &mut [f32])> {
        self.codes.chunks_mut(PART).zip(self.absmax.chunks_mut(PART / BLOCK))
    }

    fn to_f32(&self, codebook: Codebook) -> Vec<f32> {
        let blocks = self.codes.chunks(BLOCK).zip(&self.absmax);
        let numbers = |(codes, &absmax): (&[u8], &f32)| {
            let number = |&code: &u8| codebook.numbers[usize::from(code)] * absmax;
            codes.iter().map(number).collect::<Vec<f32>>()
        };
        blocks.flat_map(numbers).collect()
    }

    fn from_f32(codebook: Codebook, numbers: &[f32], random: impl Fn(usize) -> u32) -> Self {
        let mut quantized = Self::zeros(numbers.len());
        let blocks = numbers.chunks(BLOCK).zip(quantized.codes.chunks_mut(BLOCK));
        for (block, ((numbers, codes), scale)) in blocks.zip(&mut quantized.absmax).enumerate() {
            *scale = numbers.iter().fold(0.0, |most: f32, number| most.max(number.abs()));
            for (index, (number, code)) in numbers.iter().zip(codes).enumerate() {
                let fraction = fraction(random(block * BLOCK + index));
                *code = if *scale > 0.0 { (codebook.encode)(number / *scale, fraction) } else { 0 };
            }
        }
        quantized
    }
}

impl BlockwiseMoments {
    /// Those of a parameter of `len` values before its first step.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        Self { mean: QuantizedBlocks::zeros(len), square: QuantizedBlocks::zeros(len) }
    }

    /// The moments of these numbers. `None` if they differ in length.
    #[must_use]
    pub fn from_blocks(mean: QuantizedBlocks, square: QuantizedBlocks) -> Option<Self> {
        (mean.codes.len() == square.codes.len()).then_some(Self { mean, square })
    }

    /// The mean of the gradient, in signed codes.
    #[must_use]
    pub fn mean(&self) -> &QuantizedBlocks {
        &self.mean
    }

    /// The mean of the squared gradient, in unsigned codes.
    #[must_use]
    pub fn square(&self) -> &QuantizedBlocks {
        &self.square
    }

    /// Moves `value` by one step and brings the moments up to date. `key` names the random bits of the
    /// rounding; results depend on nothing else but the arguments.
    ///
    /// # Panics
    /// If the slices or the moments differ in length.
    pub fn update(&mut self, step: AdamWStep, key: u64, value: &mut [f32], gradient: &[f32]) {
        let length = value.len();
        let moments = self.mean.codes.len();
        assert!(
            gradient.len() == length && moments == length,
            "a parameter, its gradient and its moments differ in length"
        );
        let (factors, random) = (Factors::from(step), RandomBits::new(key));
        let values = value.chunks_mut(PART).zip(gradient.chunks(PART));
        let parts = values.zip(self.mean.parts().zip(self.square.parts())).enumerate();
        parallel::for_each(length, parts, |(index, (values, (mean, square)))| {
            part(factors, (random, index * PART), values, mean, square);
        });
    }

    /// The mean and the mean square in fp32.
    #[must_use]
    pub fn to_f32(&self) -> [Vec<f32>; 2] {
        [self.mean.to_f32(OF_MEAN), self.square.to_f32(OF_SQUARE)]
    }

    /// The moments that [`Self::update`] stores for these means and mean squares. They may not differ
    /// in length.
    #[must_use]
    pub fn from_f32(key: u64, mean: &[f32], square: &[f32]) -> Self {
        let random = RandomBits::new(key);
        Self {
            mean: QuantizedBlocks::from_f32(OF_MEAN, mean, |index| random.at(index).mean),
            square: QuantizedBlocks::from_f32(OF_SQUARE, square, |index| random.at(index).square),
        }
    }
}

#[multiversion(targets = "simd")]
fn part(
    factors: Factors,
    (random, first): (RandomBits, usize),
    (value, gradient): (&mut [f32], &[f32]),
    (mean, of_mean): (&mut [u8], &mut [f32]),
    (square, of_square): (&mut [u8], &mut [f32]),
) {
    let values = value.chunks_mut(BLOCK).zip(gradient.chunks(BLOCK));
    let means = mean.chunks_mut(BLOCK).zip(of_mean);
    let squares = square.chunks_mut(BLOCK).zip(of_square);
    for (index, ((values, mean), square)) in values.zip(means).zip(squares).enumerate() {
        block(factors, (random, first + index * BLOCK), values, mean, square);
    }
}

/// One block: its moments are in fp32 on the stack, and nowhere else.
#[inline(always)]
fn block(
    factors: Factors,
    (random, first): (RandomBits, usize),
    (value, gradient): (&mut [f32], &[f32]),
    (mean, of_mean): (&mut [u8], &mut f32),
    (square, of_square): (&mut [u8], &mut f32),
) {
    let (mut means, mut squares) = ([0.0; BLOCK], [0.0; BLOCK]);
    widen(&SIGNED, (mean, *of_mean), &mut means);
    widen(&UNSIGNED, (square, *of_square), &mut squares);
    let moments = means.iter_mut().zip(&mut squares);
    for ((value, &gradient), (mean, square)) in value.iter_mut().zip(gradient).zip(moments) {
        one(factors, value, gradient, mean, square);
    }
    (*of_mean, *of_square) = (largest(&means), largest(&squares));
    let (mut of_means, mut of_squares) = ([0.0; BLOCK], [0.0; BLOCK]);
    for (index, (mean, square)) in of_means.iter_mut().zip(&mut of_squares).enumerate() {
        let bits = random.at(first.wrapping_add(index));
        (*mean, *square) = (fraction(bits.mean), fraction(bits.square));
    }
    narrow(mean, signed, (&means, *of_mean), &of_means);
    narrow(square, unsigned, (&squares, *of_square), &of_squares);
}

#[inline(always)]
fn widen(numbers: &[f32; 256], (codes, absmax): (&[u8], f32), wide: &mut [f32; BLOCK]) {
    for (wide, &code) in wide.iter_mut().zip(codes) {
        *wide = numbers[usize::from(code)] * absmax;
    }
}

/// The codes of a block. Those behind the end of a parameter are made, too: loops of a fixed length are
/// loops over vectors.
#[inline(always)]
fn narrow(
    codes: &mut [u8],
    encode: impl Fn(f32, f32) -> u8,
    (wide, absmax): (&[f32; BLOCK], f32),
    fractions: &[f32; BLOCK],
) {
    // Without a largest magnitude all shares of it are 0, too.
    let scale = if absmax > 0.0 { absmax } else { 1.0 };
    let mut all = [0; BLOCK];
    for ((code, number), &fraction) in all.iter_mut().zip(wide).zip(fractions) {
        *code = encode(number / scale, fraction);
    }
    codes.copy_from_slice(&all[..codes.len()]);
}

/// The largest magnitude, in lanes so that it is one of vectors; it is the same in any order.
#[inline(always)]
fn largest(numbers: &[f32; BLOCK]) -> f32 {
    let mut lanes = [0.0f32; 16];
    for chunk in numbers.as_chunks::<16>().0 {
        for (lane, number) in lanes.iter_mut().zip(chunk) {
            let number = number.abs();
            *lane = if number > *lane { number } else { *lane };
        }
    }
    lanes.into_iter().fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::super::update as update_in_fp32;
    use super::*;
    use crate::cpu::testing::values;

    fn step(beta_2: f64, step: u64) -> AdamWStep {
        AdamWStep { beta_1: 0.9, beta_2, eps: 1e-8, lr: 1e-3, weight_decay: 0.05, step }
    }

    /// A mean and mean squares over several orders of magnitude.
    fn moments(count: usize) -> (Vec<f32>, Vec<f32>) {
        let scaled = |(index, x): (usize, f32)| x * 10f32.powi(-(index as i32 % 5));
        let mean: Vec<f32> = values(3, count).into_iter().enumerate().map(scaled).collect();
        let square = mean.iter().map(|x| x * x).collect();
        (mean, square)
    }

    /// One value of every block keeps its scale. Rounded to the nearest, the others never change: a step
    /// changes them by a third of the distance to a neighbour at most.
    #[test]
    fn the_mean_square_is_not_stuck_with_a_decay_of_0_999() {
        let (count, steps) = (4096, 2000);
        let of_blocks = |first: f32, others: f32| -> Vec<f32> {
            (0..count).map(|index| if index % BLOCK == 0 { first } else { others }).collect()
        };
        let gradient = of_blocks(1.0, 0.5);
        let mut value = vec![0.0; count];
        let mut moments = BlockwiseMoments::from_f32(0, &vec![0.0; count], &of_blocks(1.0, 0.01));
        for index in 1..=steps {
            moments.update(step(0.999, index), index * 7919, &mut value, &gradient);
        }
        let [_, square] = moments.to_f32();
        assert!((square[BLOCK] - 1.0).abs() < 1e-2, "{}", square[BLOCK]);
        let others = (0..count).filter(|index| index % BLOCK != 0);
        let sum: f64 = others.clone().map(|index| f64::from(square[index])).sum();
        let mean = sum / others.count() as f64;
        let left = 0.999f64.powi(steps as i32);
        let expected = 0.25 * (1.0 - left) + 0.01 * left;
        assert!((mean / expected - 1.0).abs() < 0.02, "{mean} instead of {expected}");
    }

    #[test]
    fn a_step_is_that_of_fp32_from_the_same_moments() {
        // The last block is no whole one.
        let count = 40_001;
        let gradient = values(2, count);
        let (mean, square) = moments(count);
        let mut moments = BlockwiseMoments::from_f32(1, &mean, &square);
        let [mut mean, mut square] = moments.to_f32();
        let mut value = values(1, count);
        let mut expected = value.clone();
        update_in_fp32(step(0.95, 9), &mut expected, &gradient, &mut mean, &mut square);
        moments.update(step(0.95, 9), 77, &mut value, &gradient);
        assert_eq!(value, expected);
        assert_eq!(moments, BlockwiseMoments::from_f32(77, &mean, &square));
        assert_ne!(moments, BlockwiseMoments::from_f32(78, &mean, &square));
    }

    /// By the distance of neighbours among codes: 0.9 / 64 or 0.9 / 128 of the largest number of the
    /// block, 4.5 times the number where a decade has two codes, and the least code below those.
    #[test]
    fn moments_are_off_by_the_distance_of_codes_at_most() {
        let count = 10_000;
        let (mean, square) = moments(count);
        let moments = BlockwiseMoments::from_f32(5, &mean, &square);
        let [got_mean, got_square] = moments.to_f32();
        for index in 0..count {
            let block = index / BLOCK;
            let scale = moments.mean.absmax[block];
            let off = (got_mean[index] - mean[index]).abs();
            let bound = (scale * 0.9 / 64.0).min(4.6 * mean[index].abs()).max(scale * 1e-6);
            assert!(off <= 1.001 * bound, "{index}: {off} of {bound}");
            let scale = moments.square.absmax[block];
            let off = (got_square[index] - square[index]).abs();
            let bound = (scale * 0.9 / 128.0).min(4.6 * square[index]).max(scale * 1e-7);
            assert!(off <= 1.001 * bound, "{index}: {off} of {bound}");
        }
    }

    #[test]
    fn blocks_of_zeros_stay_zeros_and_tiny_gradients_count() {
        let count = 3 * BLOCK;
        let mut gradient = vec![0.0; count];
        gradient[BLOCK..2 * BLOCK].fill(1e-18);
        let (mut value, mut moments) = (vec![1.0; count], BlockwiseMoments::zeros(count));
        let step = AdamWStep { weight_decay: 0.0, eps: 1e-30, ..step(0.95, 1) };
        moments.update(step, 1, &mut value, &gradient);
        assert!(value.iter().all(|value| value.is_finite()));
        assert_eq!((value[0], value[count - 1]), (1.0, 1.0));
        assert!((value[BLOCK] - (1.0 - 1e-3)).abs() < 1e-6, "{}", value[BLOCK]);
        let [mean, square] = moments.to_f32();
        assert_eq!((mean[0], square[0]), (0.0, 0.0));
        assert_eq!((moments.mean.codes[0], moments.square.codes[0]), (0, 0));
        assert!(mean[BLOCK] > 0.0 && square[BLOCK] > 0.0);
    }

    /// A mean square of 0 would make a step of the mean over `eps`: here 300 times the learning rate.
    #[test]
    fn a_small_mean_square_beside_a_large_one_makes_no_large_step() {
        let mut gradient = vec![1.0; BLOCK];
        gradient[7] = 1e-5;
        let (mut value, mut moments) = (vec![0.0; BLOCK], BlockwiseMoments::zeros(BLOCK));
        moments.update(step(0.999, 1), 1, &mut value, &gradient);
        let before = value[7];
        gradient[7] = 0.0;
        moments.update(step(0.999, 2), 2, &mut value, &gradient);
        assert!((value[7] - before).abs() < 2e-3, "{before} to {}", value[7]);
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let count = 100_003;
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (mut value, mut moments) = (values(1, count), BlockwiseMoments::zeros(count));
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
    fn blocks_without_their_scales_and_moments_of_two_lengths_are_refused() {
        let blocks =
            |len: usize, scales: usize| QuantizedBlocks::new(vec![0; len], vec![0.0; scales]);
        assert!(blocks(257, 1).is_none() && blocks(256, 2).is_none());
        let (one, other) = (blocks(257, 2).unwrap(), blocks(258, 2).unwrap());
        assert!(BlockwiseMoments::from_blocks(one.clone(), other).is_none());
        assert!(BlockwiseMoments::from_blocks(one.clone(), one).is_some());
    }
}
