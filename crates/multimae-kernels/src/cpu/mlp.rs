//! Fused norm and two-layer MLP for inference: some rows at a time, whose hidden values stay in the
//! cache and are never in memory as a whole.

use multiversion::multiversion;

use super::matrix::{Operand, Shape};
use super::{gelu, layer_norm, parallel};
use crate::precision::Precision;

/// Hidden values of the rows that one thread takes at a time.
const HIDDEN_AT_ONCE: usize = 1 << 18;

/// The fewest rows per thread that are worth it: with fewer, columns are not shared among threads.
const WORTH_ROWS: usize = 256;

/// Scale and shift of the norm, and what is added to the variance.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// `(width)`.
    pub scale: &'a [f32],
    /// `(width)`.
    pub shift: &'a [f32],
    /// Added to the variance.
    pub eps: f32,
}

/// Weight `(outputs, inputs)` and bias `(outputs)` of a layer.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// `(outputs, inputs)`.
    pub weight: &'a [f32],
    /// `(outputs)`.
    pub bias: &'a [f32],
}

impl Layer<'_> {
    /// The mirrored weight, ready for several GEMMs.
    fn operand(&self, precision: Precision, inputs: usize) -> Operand<'_> {
        let weight = Shape::rows(self.bias.len(), inputs, inputs);
        Operand::new(precision, (self.weight, weight.transposed()))
    }
}

/// Whether this number of rows is faster fused than layer by layer.
#[must_use]
pub fn worth_it(rows: usize) -> bool {
    Operand::packs() && rows >= WORTH_ROWS * rayon::current_num_threads()
}

/// `W2 gelu(W1 norm(x) + b1) + b2` of every row, with the exact GELU.
///
/// # Shapes
/// `x (rows, width)`, `first (hidden, width)`, `second (outputs, hidden)` to `(rows, outputs)`.
///
/// # Panics
/// If a slice does not have its shape.
#[must_use]
pub fn forward(
    precision: Precision,
    x: &[f32],
    norm: Norm<'_>,
    first: Layer<'_>,
    second: Layer<'_>,
) -> Vec<f32> {
    let (width, hidden, outputs) = (norm.scale.len(), first.bias.len(), second.bias.len());
    let rows = x.len() / width.max(1);
    assert!(
        x.len() == rows * width
            && norm.shift.len() == width
            && first.weight.len() == hidden * width
            && second.weight.len() == outputs * hidden,
        "an MLP of {width}, {hidden} and {outputs} over {} values",
        x.len()
    );
    if rows == 0 || hidden == 0 || outputs == 0 {
        return parallel::runs(rows * outputs, 1, |at| second.bias[at % outputs]);
    }
    let (to_hidden, to_outputs) =
        (first.operand(precision, width), second.operand(precision, hidden));
    let share = rows.div_ceil(rayon::current_num_threads());
    let part = (HIDDEN_AT_ONCE / hidden).next_multiple_of(32).min(share.next_multiple_of(32));
    let parts = (0..rows).step_by(part).map(|row| (part.min(rows - row) * outputs, row));
    let work = |row: usize, y: &mut [f32]| {
        let rows = y.len() / outputs;
        let mut normed = vec![0.0; rows * width];
        layer_norm::normalized(&x[row * width..][..rows * width], norm, &mut normed);
        let normed = (normed.as_slice(), Shape::rows(rows, width, width));
        let mut between = to_hidden.multiplied_here(normed);
        between.chunks_exact_mut(hidden).for_each(|row| gelu::of_sums(row, first.bias));
        let between = (between.as_slice(), Shape::rows(rows, hidden, hidden));
        write_sums(y, &to_outputs.multiplied_here(between), second.bias);
    };
    parallel::produce(rows * hidden, parts, work).0
}

#[multiversion(targets = "simd")]
fn write_sums(to: &mut [f32], rows: &[f32], bias: &[f32]) {
    let width = bias.len().max(1);
    for (to, row) in to.chunks_exact_mut(width).zip(rows.chunks_exact(width)) {
        for ((to, value), bias) in to.iter_mut().zip(row).zip(bias) {
            *to = value + bias;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::linear::{self, LinearShape};
    use super::super::testing::{assert_close, values};
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn is_layer_behind_layer(rows in 0usize..400, width in 1usize..70, hidden in 1usize..150,
                                 outputs in 1usize..70, seed in 0u64..9) {
            let (fp32, x) = (Precision::Fp32, values(seed, rows * width));
            let (scale, shift) = (values(seed + 1, width), values(seed + 2, width));
            let (w1, b1) = (values(seed + 3, hidden * width), values(seed + 4, hidden));
            let (w2, b2) = (values(seed + 5, outputs * hidden), values(seed + 6, outputs));
            let norm = Norm { scale: &scale, shift: &shift, eps: 1e-6 };
            let (first, second) = (Layer { weight: &w1, bias: &b1 }, Layer { weight: &w2, bias: &b2 });
            let (normed, _) = layer_norm::forward(&x, &scale, &shift, 1e-6);
            let shape = LinearShape { rows, inputs: width, outputs: hidden };
            let between = gelu::forward(&linear::forward(fp32, shape, &normed, &w1, Some(&b1)));
            let shape = LinearShape { rows, inputs: hidden, outputs };
            let expected = linear::forward(fp32, shape, &between, &w2, Some(&b2));
            assert_close(&forward(fp32, &x, norm, first, second), &expected, 1e-4);
        }
    }
}
