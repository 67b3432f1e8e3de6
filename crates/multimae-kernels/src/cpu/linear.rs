//! The affine map `y = x W^T + b` and its gradients.

use multiversion::multiversion;

use super::matrix::{Shape, multiplied};
use super::parallel;
use crate::precision::Precision;

/// Sizes of an affine map.
#[derive(Debug, Clone, Copy)]
pub struct LinearShape {
    /// Rows of the input.
    pub rows: usize,
    /// Width of the input.
    pub inputs: usize,
    /// Width of the output.
    pub outputs: usize,
}

impl LinearShape {
    fn input(self) -> Shape {
        Shape::rows(self.rows, self.inputs, self.inputs)
    }

    fn weight(self) -> Shape {
        Shape::rows(self.outputs, self.inputs, self.inputs)
    }

    fn output(self) -> Shape {
        Shape::rows(self.rows, self.outputs, self.outputs)
    }
}

/// `x W^T + b`.
///
/// # Shapes
/// `x (rows, inputs)`, `weight (outputs, inputs)`, `bias (outputs)` to `(rows, outputs)`.
///
/// # Panics
/// If a slice does not have its shape.
#[must_use]
pub fn forward(
    precision: Precision,
    shape: LinearShape,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let mut y = multiplied(precision, (x, shape.input()), (weight, shape.weight().transposed()));
    if let Some(bias) = bias {
        assert_eq!(bias.len(), shape.outputs, "a bias for {shape:?}");
        let part = parallel::rows_per_part(shape.outputs) * shape.outputs.max(1);
        parallel::for_each(y.len(), y.chunks_mut(part), |rows| add_to_rows(rows, bias));
    }
    y
}

/// The gradient of the input, `dy W`.
///
/// # Panics
/// If a slice does not have its shape.
#[must_use]
pub fn input_gradient(
    precision: Precision,
    shape: LinearShape,
    dy: &[f32],
    weight: &[f32],
) -> Vec<f32> {
    multiplied(precision, (dy, shape.output()), (weight, shape.weight()))
}

/// The gradient of the weight, `dy^T x`.
///
/// # Panics
/// If a slice does not have its shape.
#[must_use]
pub fn weight_gradient(
    precision: Precision,
    shape: LinearShape,
    dy: &[f32],
    x: &[f32],
) -> Vec<f32> {
    multiplied(precision, (dy, shape.output().transposed()), (x, shape.input()))
}

/// The gradient of the bias, the sum of the rows of `dy`.
///
/// # Panics
/// If `dy` does not hold whole rows.
#[must_use]
pub fn bias_gradient(outputs: usize, dy: &[f32]) -> Vec<f32> {
    let part = parallel::rows_per_part(outputs) * outputs.max(1);
    let sums = parallel::map(dy.len(), dy.chunks(part), |rows| {
        let mut sum = vec![0.0; outputs];
        add_rows(&mut sum, rows);
        sum
    });
    let mut total = vec![0.0; outputs];
    sums.iter().for_each(|sum| add_rows(&mut total, sum));
    total
}

/// Adds a row to every row of `rows`.
#[multiversion(targets = "simd")]
fn add_to_rows(rows: &mut [f32], row: &[f32]) {
    for sums in rows.chunks_exact_mut(row.len().max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
}

/// Adds every row of `rows` to `sum`.
#[multiversion(targets = "simd")]
pub(crate) fn add_rows(sum: &mut [f32], rows: &[f32]) {
    for row in rows.chunks_exact(sum.len().max(1)) {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, values};
    use super::*;

    /// A linear function of its arguments: gradients are exact differences.
    #[test]
    fn gradients_are_those_of_the_weighted_sum_of_outputs() {
        for (rows, inputs, outputs) in [(1, 1, 1), (3, 5, 7), (64, 33, 17), (0, 3, 2)] {
            let (fp32, shape) = (Precision::Fp32, LinearShape { rows, inputs, outputs });
            let x = values(1, rows * inputs);
            let weight = values(2, outputs * inputs);
            let bias = values(3, outputs);
            let dy = values(4, rows * outputs);
            let y = forward(fp32, shape, &x, &weight, Some(&bias));
            let without = forward(fp32, shape, &x, &weight, None);
            let value = |y: &[f32]| y.iter().zip(&dy).map(|(y, d)| y * d).sum::<f32>();
            let inner = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let of_bias = inner(&bias, &bias_gradient(outputs, &dy));
            let by_x = inner(&x, &input_gradient(fp32, shape, &dy, &weight));
            let by_weight = inner(&weight, &weight_gradient(fp32, shape, &dy, &x));
            assert_close(&[by_x, by_weight], &[value(&without); 2], 1e-4);
            assert_close(&[of_bias + by_x], &[value(&y)], 1e-4);
        }
    }
}
