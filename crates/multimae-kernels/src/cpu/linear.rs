//! The affine map `y = x W^T + b` and its gradients.

use multiversion::multiversion;

use super::epilogue::Epilogue;
use super::matrix::{Form, Operand, Shape, Side, activates, multiplied, multiplied_then};
use super::{gelu, parallel};
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
    affine(precision, shape, (x, None), weight, bias)
}

/// `gelu(x) W^T + b`, with the exact GELU.
///
/// # Shapes
/// As [`forward`].
///
/// # Panics
/// If a slice does not have its shape.
#[must_use]
pub fn forward_of_gelu(
    precision: Precision,
    shape: LinearShape,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    affine(precision, shape, (x, Some(Side::Left)), weight, bias)
}

/// The map of an input that goes through the GELU first if it is `activated`.
fn affine(
    precision: Precision,
    shape: LinearShape,
    (x, activated): (&[f32], Option<Side>),
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    if let Some(form @ Form::Int8) = form(precision, shape) {
        return forward_packed(shape, (x, activated.is_some()), &pack(form, shape, weight), bias);
    }
    let operands = ((x, shape.input()), (weight, shape.weight().transposed()));
    multiplied_then(precision, operands, activated, Epilogue::bias(bias))
}

/// [`forward`], or [`forward_of_gelu`] if `activated`, of a packed weight.
///
/// # Panics
/// If a slice does not have its shape.
pub(crate) fn forward_packed(
    shape: LinearShape,
    (x, activated): (&[f32], bool),
    weight: &Operand,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    weight.multiplied((x, shape.input()), activated, Epilogue::bias(bias))
}

/// The weight packed for [`forward_packed`].
pub(crate) fn pack(form: Form, shape: LinearShape, weight: &[f32]) -> Operand {
    Operand::new(form, (weight, shape.weight().transposed()))
}

/// The form in which the weight of a map of these sizes is packed, if it is.
pub(crate) fn form(precision: Precision, shape: LinearShape) -> Option<Form> {
    Form::of(precision, shape.rows, shape.outputs, shape.inputs)
}

/// The gradients of `x` and of the weight through [`forward_of_gelu`]. Only those that are
/// wanted are computed.
///
/// # Panics
/// If a slice does not have its shape.
#[must_use]
pub fn gradients_of_gelu(
    precision: Precision,
    shape: LinearShape,
    dy: &[f32],
    x: &[f32],
    weight: Option<&[f32]>,
    wants_weight: bool,
) -> (Option<Vec<f32>>, Option<Vec<f32>>) {
    let LinearShape { rows, inputs, outputs } = shape;
    let fused =
        activates(precision, rows, inputs, outputs) && activates(precision, outputs, inputs, rows);
    let of_weight = |activated: Option<Side>, x: &[f32]| {
        let operands = ((dy, shape.output().transposed()), (x, shape.input()));
        multiplied_then(precision, operands, activated, Epilogue::default())
    };
    if fused {
        let dx = weight.map(|weight| {
            let operands = ((dy, shape.output()), (weight, shape.weight()));
            let epilogue = Epilogue { slopes_at: Some(x), ..Epilogue::default() };
            multiplied_then(precision, operands, None, epilogue)
        });
        return (dx, wants_weight.then(|| of_weight(Some(Side::Right), x)));
    }
    let behind = weight.map(|weight| input_gradient(precision, shape, dy, weight));
    match (behind, wants_weight) {
        (Some(behind), true) => {
            // Both the GELU and its derivative come of one exponential.
            let (dx, activated) = gelu::input_gradient_and_values(behind, x);
            (Some(dx), Some(of_weight(None, &activated)))
        }
        (Some(behind), false) => (Some(gelu::input_gradient_again(behind, x)), None),
        (None, true) => (None, Some(of_weight(Some(Side::Right), x))),
        (None, false) => (None, None),
    }
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

    #[test]
    fn a_gelu_on_the_way_is_one_before() {
        for (rows, inputs, outputs) in [(1, 1, 1), (3, 5, 7), (130, 96, 70), (0, 3, 2)] {
            let (fp32, shape) = (Precision::Fp32, LinearShape { rows, inputs, outputs });
            let [x, dy] = [rows * inputs, rows * outputs].map(|count| values(1, count));
            let [weight, bias] = [outputs * inputs, outputs].map(|count| values(2, count));
            let activated = gelu::forward(&x);
            let y = forward_of_gelu(fp32, shape, &x, &weight, Some(&bias));
            assert_close(&y, &forward(fp32, shape, &activated, &weight, Some(&bias)), 1e-6);
            let behind = input_gradient(fp32, shape, &dy, &weight);
            let dx = gelu::input_gradient_again(behind, &x);
            let dw = weight_gradient(fp32, shape, &dy, &activated);
            for (of_x, of_weight) in [(true, true), (true, false), (false, true), (false, false)] {
                let weight = of_x.then_some(weight.as_slice());
                let got = gradients_of_gelu(fp32, shape, &dy, &x, weight, of_weight);
                assert_eq!((got.0.is_some(), got.1.is_some()), (of_x, of_weight));
                got.0.iter().for_each(|got| assert_close(got, &dx, 1e-6));
                got.1.iter().for_each(|got| assert_close(got, &dw, 1e-6));
            }
        }
    }

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
