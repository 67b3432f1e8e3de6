//! The fastest product that this machine is seen to do.

use std::time::Instant;

use multimae::burn::tensor::{Device, Distribution, Tensor};
use multimae_kernels::ops;
use multimae_kernels::precision::Precision;

/// Side of the matrices: large enough to be limited by arithmetic.
const SIDE: usize = 1536;
/// The best of this many counts.
const TRIES: usize = 8;

/// Operations per second of a square product with all threads of this process in a precision, which
/// the processor must have.
#[must_use]
pub fn measured_peak(precision: Precision) -> f64 {
    let device = Device::default();
    let matrix = || Tensor::<2>::random([SIDE, SIDE], Distribution::Default, &device);
    let (x, weight) = (matrix(), matrix());
    let seconds = (0..TRIES).map(|_| {
        let start = Instant::now();
        let product = precision.scope(|| ops::linear(x.clone(), weight.clone(), None));
        // The engine may do it only when the result is asked for.
        let _ = product.slice([0..1, 0..1]).into_data();
        start.elapsed().as_secs_f64()
    });
    2.0 * (SIDE as f64).powi(3) / seconds.fold(f64::INFINITY, f64::min)
}
