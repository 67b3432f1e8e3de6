//! The limits of this processor: loops that only multiply, or only move memory, on all threads of the
//! pool.
//!
//! No computation by multiply-adds on vectors exceeds them. Others may: an fp32 GEMM on AMX tiles, which
//! is several in bfloat16, or a convolution by Winograd, which multiplies less.

#[cfg(target_arch = "x86_64")]
mod x86;

use std::hint::black_box;
use std::time::Instant;

use multiversion::multiversion;
use rayon::prelude::*;

use crate::cpu::{parallel, tiles};
use crate::precision::Precision;

/// The best of this many counts, each of about 10 ms.
const TRIES: usize = 12;

/// Values of each of the three arrays of the triad: 64 MiB, more than most caches hold.
const TRIAD: usize = 16 << 20;

/// A loop of products and sums, which returns a value that depends on all of them.
struct Loop {
    run: fn(turns: usize) -> f32,
    /// Products and sums of a turn.
    operations: usize,
}

/// Operations per second of independent multiply-adds in a precision, of all threads of the calling
/// thread's pool together. A product and a sum are two operations. `None` if the processor does not
/// multiply in that precision.
#[must_use]
pub fn operations(precision: Precision) -> Option<f64> {
    let busy = busy_loop(precision)?;
    let turns = turns_of_ten_milliseconds(&busy);
    let threads = rayon::current_num_threads();
    let seconds = best(|| {
        rayon::broadcast(|_| black_box((busy.run)(black_box(turns))));
    });
    Some((threads * turns * busy.operations) as f64 / seconds)
}

/// Bytes per second of the triad `a = b + s c` over three arrays of 64 MiB, by all threads of the
/// calling thread's pool, as McCalpin's STREAM counts them: two reads and a write.
#[must_use]
pub fn triad() -> f64 {
    // Written by the threads that will read them, so that they are near to these.
    let [mut a, b, c] = [1.0, 2.0, 3.0].map(|value| parallel::runs(TRIAD, 1, |_| value));
    let part = TRIAD.div_ceil(rayon::current_num_threads());
    let seconds = best(|| {
        let parts = a.par_chunks_mut(part).zip(b.par_chunks(part)).zip(c.par_chunks(part));
        parts.for_each(|((a, b), c)| scaled_sums(a, b, c, black_box(0.5)));
    });
    black_box(a);
    (3 * TRIAD * size_of::<f32>()) as f64 / seconds
}

#[multiversion(targets = "simd")]
fn scaled_sums(a: &mut [f32], b: &[f32], c: &[f32], scale: f32) {
    for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
        *a = scale.mul_add(*c, *b);
    }
}

/// The shortest time of several tries, in seconds.
fn best(mut work: impl FnMut()) -> f64 {
    let timed = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..TRIES).map(timed).fold(f64::INFINITY, f64::min)
}

fn turns_of_ten_milliseconds(busy: &Loop) -> usize {
    const FIRST: usize = 10_000;
    let start = Instant::now();
    black_box((busy.run)(black_box(FIRST)));
    let turns = FIRST as f64 * 0.01 / start.elapsed().as_secs_f64().max(1e-6);
    turns.ceil() as usize
}

fn busy_loop(precision: Precision) -> Option<Loop> {
    #[cfg(target_arch = "x86_64")]
    let of_vectors = x86::busy_loop(precision);
    #[cfg(not(target_arch = "x86_64"))]
    let of_vectors = None;
    match precision {
        Precision::Bf16 if tiles::usable() => {
            let run = |turns| tiles::busy_loop(turns);
            Some(Loop { run, operations: tiles::OPERATIONS_OF_A_TURN })
        }
        Precision::Bf16 | Precision::Int8 => of_vectors,
        Precision::Fp32 => Some(of_vectors.unwrap_or(PORTABLE)),
    }
}

/// Sixteen vectors of four lanes, for processors without a loop of their own.
const PORTABLE: Loop = Loop { run: portable, operations: 2 * 16 * 4 };

fn portable(turns: usize) -> f32 {
    let [factor, summand] = black_box([0.999f32, 1e-3]);
    let mut sums = [[0.5f32; 4]; 16];
    for _ in 0..turns {
        for sum in sums.as_flattened_mut() {
            *sum = sum.mul_add(factor, summand);
        }
    }
    sums.as_flattened().iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loop_computes_what_it_counts() {
        for (precision, of_a_sum) in [(Precision::Fp32, 2), (Precision::Bf16, 4)] {
            let Some(busy) = busy_loop(precision) else { continue };
            let value = (busy.run)(1000);
            assert!(value.is_finite() && value > 0.0, "{value}");
            // Without turns, vectors return their sums as they begin, 0.5 each; tiles do not.
            if precision == Precision::Fp32 || !tiles::usable() {
                assert_eq!(busy.operations, of_a_sum * ((busy.run)(0) / 0.5) as usize);
            }
        }
        // Every sum is `0.999 sum + 0.001`, from 0.5 towards 1.
        let after = |turns: i32| 1.0 - 0.5 * 0.999_f64.powi(turns);
        for run in [portable as fn(usize) -> f32].into_iter().chain(of_vectors()) {
            let lanes = f64::from(run(0)) / 0.5;
            let expected = lanes * after(700);
            assert!((f64::from(run(700)) - expected).abs() < 1e-3 * expected);
        }
    }

    fn of_vectors() -> Option<fn(usize) -> f32> {
        #[cfg(target_arch = "x86_64")]
        let found = x86::busy_loop(Precision::Fp32).map(|busy| busy.run);
        #[cfg(not(target_arch = "x86_64"))]
        let found = None;
        found
    }

    #[test]
    fn the_triad_is_right() {
        let (mut a, b, c) = (vec![0.0; 37], vec![2.0; 37], vec![3.0; 37]);
        scaled_sums(&mut a, &b, &c, 0.5);
        assert_eq!(a, vec![3.5; 37]);
    }
}
