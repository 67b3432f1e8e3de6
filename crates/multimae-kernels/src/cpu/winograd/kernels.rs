//! Kernels into transformed ones, and back.

use multiversion::multiversion;

use super::super::conv::ConvShape;
use super::super::parallel;
use super::transforms::{gather_taps, spread_taps};
use super::{POINTS, SIDE, TAPS};

/// Channels whose kernels are transformed together.
const LANES: usize = 16;

/// `G g G^T` of every kernel.
///
/// # Shapes
/// `weight (outputs, inputs, 3, 3)` to `(outputs, 36, inputs)`.
pub(super) fn transformed_kernels(shape: ConvShape, weight: &[f32]) -> Vec<f32> {
    let ConvShape { inputs, outputs, .. } = shape;
    let of_outputs = weight.chunks(TAPS * inputs).map(|weight| (POINTS * inputs, weight));
    let work = |weight: &[f32], to: &mut [f32]| transform(weight, to, inputs);
    parallel::produce(POINTS * outputs * inputs, of_outputs, work).0
}

#[multiversion(targets = "simd")]
fn transform(weight: &[f32], to: &mut [f32], inputs: usize) {
    for (chunk, weight) in weight.chunks(TAPS * LANES).enumerate() {
        let lanes = weight.len() / TAPS;
        let mut taps = [[0.0f32; LANES]; TAPS];
        for (lane, kernel) in weight.chunks_exact(TAPS).enumerate() {
            for (tap, value) in kernel.iter().enumerate() {
                taps[tap][lane] = *value;
            }
        }
        let mut points = [[0.0f32; LANES]; POINTS];
        for lane in 0..LANES {
            let mut rows = [[0.0; 3]; SIDE];
            for column in 0..3 {
                let spread = spread_taps(std::array::from_fn(|row| taps[3 * row + column][lane]));
                for row in 0..SIDE {
                    rows[row][column] = spread[row];
                }
            }
            for row in 0..SIDE {
                let spread = spread_taps(rows[row]);
                for column in 0..SIDE {
                    points[SIDE * row + column][lane] = spread[column];
                }
            }
        }
        for (point, values) in points.iter().enumerate() {
            to[point * inputs + chunk * LANES..][..lanes].copy_from_slice(&values[..lanes]);
        }
    }
}

/// `G^T k G` of every kernel.
///
/// # Shapes
/// `kernels (36, outputs, inputs)` to `(outputs, inputs, 3, 3)`.
pub(super) fn kernel_gradients(shape: ConvShape, kernels: &[f32]) -> Vec<f32> {
    let ConvShape { inputs, outputs, .. } = shape;
    let of_outputs = (0..outputs).map(|output| (TAPS * inputs, output));
    let work = |output: usize, gradient: &mut [f32]| {
        gather(&kernels[output * inputs..], outputs * inputs, gradient);
    };
    parallel::produce(kernels.len(), of_outputs, work).0
}

#[multiversion(targets = "simd")]
fn gather(from: &[f32], stride: usize, gradient: &mut [f32]) {
    for (chunk, gradient) in gradient.chunks_mut(TAPS * LANES).enumerate() {
        let lanes = gradient.len() / TAPS;
        let mut points = [[0.0f32; LANES]; POINTS];
        for (point, values) in points.iter_mut().enumerate() {
            let from = &from[point * stride + chunk * LANES..][..lanes];
            values[..lanes].copy_from_slice(from);
        }
        let mut taps = [[0.0f32; LANES]; TAPS];
        for lane in 0..LANES {
            let mut rows = [[0.0; SIDE]; 3];
            for column in 0..SIDE {
                let values = std::array::from_fn(|row| points[SIDE * row + column][lane]);
                let gathered = gather_taps(values);
                for row in 0..3 {
                    rows[row][column] = gathered[row];
                }
            }
            for row in 0..3 {
                let gathered = gather_taps(rows[row]);
                for column in 0..3 {
                    taps[3 * row + column][lane] = gathered[column];
                }
            }
        }
        for (lane, kernel) in gradient.chunks_exact_mut(TAPS).enumerate() {
            for (tap, value) in kernel.iter_mut().enumerate() {
                *value = taps[tap][lane];
            }
        }
    }
}
