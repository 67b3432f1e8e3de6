//! `y = x * scale + shift`, every channel of a row by itself, and its gradients.

use multiversion::multiversion;

use super::parallel;

/// `x * scale + shift`.
///
/// # Shapes
/// `x (rows, width)`, `scale` and `shift (width)` to `(rows, width)`.
///
/// # Panics
/// If a slice does not have its shape.
#[must_use]
pub fn forward(x: &[f32], scale: &[f32], shift: &[f32]) -> Vec<f32> {
    check(x.len(), scale.len());
    assert!(shift.len() == scale.len(), "{} shifts of {} channels", shift.len(), scale.len());
    rows_of(x, scale.len(), |x, y| affine_rows(x, scale, shift, y))
}

/// The gradient of the input, `dy * scale`.
///
/// # Panics
/// If a slice does not have its shape.
#[must_use]
pub fn input_gradient(dy: &[f32], scale: &[f32]) -> Vec<f32> {
    check(dy.len(), scale.len());
    rows_of(dy, scale.len(), |dy, dx| scale_rows(dy, scale, dx))
}

/// The gradient of the scale, the sum of the rows of `dy * x`.
///
/// # Panics
/// If a slice does not have its shape.
#[must_use]
pub fn scale_gradient(width: usize, dy: &[f32], x: &[f32]) -> Vec<f32> {
    check(dy.len(), width);
    assert!(dy.len() == x.len(), "gradients of {} values for {}", dy.len(), x.len());
    let part = parallel::rows_per_part(width) * width.max(1);
    let sums = parallel::map(dy.len(), dy.chunks(part).zip(x.chunks(part)), |(dy, x)| {
        let mut sum = vec![0.0; width];
        add_products(&mut sum, dy, x);
        sum
    });
    let mut total = vec![0.0; width];
    sums.iter().for_each(|sum| super::linear::add_rows(&mut total, sum));
    total
}

fn check(len: usize, width: usize) {
    assert!(width > 0 && len.is_multiple_of(width), "{len} values in rows of {width}");
}

/// `work` from parts of whole rows to parts of the result.
fn rows_of(x: &[f32], width: usize, work: impl Fn(&[f32], &mut [f32]) + Sync + Send) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    let part = parallel::rows_per_part(width) * width;
    parallel::for_each(x.len(), x.chunks(part).zip(y.chunks_mut(part)), |(x, y)| work(x, y));
    y
}

#[multiversion(targets = "simd")]
fn affine_rows(x: &[f32], scale: &[f32], shift: &[f32], y: &mut [f32]) {
    for (x, y) in x.chunks_exact(scale.len()).zip(y.chunks_exact_mut(scale.len())) {
        for (((y, x), scale), shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
            *y = x.mul_add(*scale, *shift);
        }
    }
}

#[multiversion(targets = "simd")]
fn scale_rows(x: &[f32], scale: &[f32], y: &mut [f32]) {
    for (x, y) in x.chunks_exact(scale.len()).zip(y.chunks_exact_mut(scale.len())) {
        y.iter_mut().zip(x).zip(scale).for_each(|((y, x), scale)| *y = x * scale);
    }
}

/// Adds the products of every row to `sum`.
#[multiversion(targets = "simd")]
fn add_products(sum: &mut [f32], a: &[f32], b: &[f32]) {
    let width = sum.len();
    for (a, b) in a.chunks_exact(width).zip(b.chunks_exact(width)) {
        for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
            *sum = a.mul_add(*b, *sum);
        }
    }
}
