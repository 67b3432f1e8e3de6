//! Resizing along rows and columns: linear between two neighbours by an operation of its own, by
//! other rules as two GEMMs.
//!
//! Either way every resize has a backward on every engine, and the sampling rule (half-pixel
//! centres or aligned corners) is defined here, not by the engine.

use burn::tensor::{Device, Tensor, TensorData};
use multimae_kernels::cpu::resize::{Resize, Tap};
use multimae_kernels::ops;

use crate::modality::Size;

/// The rule for values between grid points. Half-pixel centres unless stated otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// Linear between the two neighbours, borders repeated.
    Bilinear,
    /// Linear, first and last grid points of input and output coincide.
    BilinearAlignCorners,
    /// Cubic convolution with a = -0.75 (Keys, 1981; the constant of OpenCV and PyTorch), borders
    /// repeated, no antialiasing.
    Bicubic,
    /// The input cell that holds the output cell's upper left corner.
    Nearest,
}

/// Keys' cubic convolution kernel at distance `x >= 0`.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.75;
    if x <= 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
    } else {
        0.0
    }
}

/// The neighbours of every value along an axis, where the method has two.
fn taps(n_in: usize, n_out: usize, method: Interpolation) -> Option<Vec<Tap>> {
    let last = n_in.saturating_sub(1);
    let position: fn(f64, f64, f64) -> f64 = match method {
        Interpolation::Bilinear => |out, n_in, n_out| ((out + 0.5) * (n_in / n_out) - 0.5).max(0.0),
        Interpolation::BilinearAlignCorners => {
            |out, n_in, n_out| if n_out > 1.0 { out * ((n_in - 1.0) / (n_out - 1.0)) } else { 0.0 }
        }
        Interpolation::Bicubic | Interpolation::Nearest => return None,
    };
    let tap = |out: usize| {
        let x = position(out as f64, n_in as f64, n_out as f64);
        let left = x.floor();
        let index = left as usize;
        Tap { left: index.min(last), right: (index + 1).min(last), weight: (x - left) as f32 }
    };
    Some((0..n_out).map(tap).collect())
}

/// The matrix `(n_out, n_in)`, row-major, that resizes a column of `n_in` values to `n_out`.
#[must_use]
pub fn interpolation_matrix(n_in: usize, n_out: usize, method: Interpolation) -> Vec<f32> {
    let mut matrix = vec![0.0_f32; n_in * n_out];
    let last = n_in as isize - 1;
    let taps = taps(n_in, n_out, method);
    for (row, out) in matrix.chunks_exact_mut(n_in.max(1)).enumerate() {
        let mut add = |index: isize, weight: f64| {
            out[index.clamp(0, last) as usize] += weight as f32;
        };
        let scale = n_in as f64 / n_out as f64;
        let centre = (row as f64 + 0.5) * scale - 0.5;
        match method {
            Interpolation::Nearest => add((row as f64 * scale).floor() as isize, 1.0),
            Interpolation::Bilinear | Interpolation::BilinearAlignCorners => {
                if let Some(tap) = taps.as_ref().and_then(|taps| taps.get(row)) {
                    add(tap.left as isize, 1.0 - f64::from(tap.weight));
                    add(tap.right as isize, f64::from(tap.weight));
                }
            }
            Interpolation::Bicubic => {
                let left = centre.floor();
                for tap in -1..=2_isize {
                    let distance = (centre - (left + tap as f64)).abs();
                    add(left as isize + tap, cubic(distance));
                }
            }
        }
    }
    matrix
}

fn matrix_tensor(n_in: usize, n_out: usize, method: Interpolation, device: &Device) -> Tensor<2> {
    let data = TensorData::new(interpolation_matrix(n_in, n_out, method), [n_out, n_in]);
    Tensor::from_data(data, device)
}

/// Resizes maps to another size. The identity where the size is already right.
///
/// # Shapes
/// `(B, C, h, w)` to `(B, C, size.height, size.width)`.
#[must_use]
pub fn resize(maps: Tensor<4>, size: Size, method: Interpolation) -> Tensor<4> {
    let [_, _, height, width] = maps.dims();
    if [height, width] == [size.height, size.width] {
        return maps;
    }
    let rows = taps(height, size.height, method);
    if let (Some(rows), Some(columns)) = (rows, taps(width, size.width, method)) {
        return ops::resize(maps, &Resize { from: [height, width], rows, columns });
    }
    let device = maps.device();
    let mut maps = maps;
    if width != size.width {
        let columns = matrix_tensor(width, size.width, method, &device).transpose();
        maps = maps.matmul(columns.unsqueeze::<4>());
    }
    if height != size.height {
        let rows = matrix_tensor(height, size.height, method, &device);
        maps = rows.unsqueeze::<4>().matmul(maps);
    }
    maps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f32], n_out: usize, method: Interpolation) -> Vec<f32> {
        interpolation_matrix(values.len(), n_out, method)
            .chunks_exact(values.len())
            .map(|row| row.iter().zip(values).map(|(w, v)| w * v).sum())
            .collect()
    }

    #[test]
    fn rows_sum_to_one() {
        for method in [
            Interpolation::Bilinear,
            Interpolation::BilinearAlignCorners,
            Interpolation::Bicubic,
            Interpolation::Nearest,
        ] {
            for (n_in, n_out) in [(1, 1), (1, 5), (4, 6), (7, 3), (14, 40)] {
                for row in interpolation_matrix(n_in, n_out, method).chunks_exact(n_in) {
                    let sum: f32 = row.iter().sum();
                    assert!((sum - 1.0).abs() < 1e-5, "{method:?} {n_in}->{n_out}: {sum}");
                }
            }
        }
    }

    #[test]
    fn known_columns() {
        let values = [1.0, 2.0, 4.0];
        // Half-pixel centres: -0.25, 0.25, 0.75, 1.25, 1.75, 2.25.
        assert_eq!(column(&values, 6, Interpolation::Bilinear), [1.0, 1.25, 1.75, 2.5, 3.5, 4.0]);
        assert_eq!(
            column(&values, 5, Interpolation::BilinearAlignCorners),
            [1.0, 1.5, 2.0, 3.0, 4.0]
        );
        assert_eq!(column(&values, 6, Interpolation::Nearest), [1.0, 1.0, 2.0, 2.0, 4.0, 4.0]);
        // Taps of Keys' kernel at t = 0.25, a = -0.75: -0.10546875, 0.87890625, 0.26171875, -0.03515625.
        let cubic = column(&[0.0, 0.0, 1.0, 0.0, 0.0, 0.0], 12, Interpolation::Bicubic);
        assert!((cubic[3] - 0.261_718_75).abs() < 1e-6, "{cubic:?}");
        assert!((cubic[5] - 0.878_906_25).abs() < 1e-6, "{cubic:?}");
    }

    #[test]
    fn products_resize_rows_and_columns() {
        let device = Device::default();
        let maps = Tensor::<4>::from_data(
            TensorData::new((0..12).map(|v| v as f32).collect::<Vec<_>>(), [1, 1, 3, 4]),
            &device,
        );
        let same = resize(maps.clone(), Size::new(3, 4), Interpolation::Bicubic);
        assert_eq!(same.to_data(), maps.to_data());
        let big = resize(maps, Size::new(5, 7), Interpolation::BilinearAlignCorners);
        let values = big.into_data().try_to_vec::<f32>().unwrap();
        // v(r, c) = 4 r + c is linear, so the resized map is linear in the new coordinates.
        for row in 0..5 {
            for column in 0..7 {
                let expected = 4.0 * (row as f32 * 0.5) + column as f32 * 0.5;
                assert!((values[row * 7 + column] - expected).abs() < 1e-5);
            }
        }
    }
}
