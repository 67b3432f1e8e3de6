//! Fused norm and two-layer MLP for inference. Many rows are computed some at a time, whose hidden
//! values stay in the cache and are never in memory as a whole; few rows layer by layer.

use super::epilogue::Epilogue;
use super::matrix::{Form, Matrix, Operand, Shape, multiplied_then};
use super::{layer_norm, parallel};
use crate::precision::Precision;

/// Hidden values of the rows that one thread takes at a time.
const HIDDEN_AT_ONCE: usize = 1 << 18;

/// The fewest rows per thread that are worth it: with fewer, columns are not shared among threads.
/// Few in tests, which have few.
const WORTH_ROWS: usize = if cfg!(test) { 32 } else { 256 };

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
    /// The weight as kernels read it, if it was packed before.
    packed: Option<&'a Operand>,
}

impl<'a> Layer<'a> {
    /// A layer of a weight and a bias.
    #[must_use]
    pub fn new(weight: &'a [f32], bias: &'a [f32]) -> Self {
        Self { weight, bias, packed: None }
    }

    /// The same layer with its weight packed.
    pub(crate) fn with_packed(self, packed: Option<&'a Operand>) -> Self {
        Self { packed, ..self }
    }

    /// The transposed weight.
    fn matrix(&self, inputs: usize) -> Matrix<'_> {
        (self.weight, Shape::rows(self.bias.len(), inputs, inputs).transposed())
    }

    /// The weight packed now, if it was not before and its GEMM is computed of a packed one: with `many`
    /// rows, and in 8 bits.
    fn pack(
        &self,
        precision: Precision,
        rows: usize,
        inputs: usize,
        many: bool,
    ) -> Option<Operand> {
        let form = Form::of(precision, rows, self.bias.len(), inputs)?;
        if !many && form != Form::Int8 {
            return None;
        }
        self.packed.is_none().then(|| Operand::new(form, self.matrix(inputs)))
    }

    /// The same layer, with a weight packed now if it was not before.
    fn or_packed(self, packed: Option<&'a Operand>) -> Self {
        Self { packed: self.packed.or(packed), ..self }
    }

    /// The layer of a packed weight and an epilogue, on this thread.
    fn applied_here(&self, x: Matrix<'_>, epilogue: Epilogue<'_>) -> Vec<f32> {
        self.packed.map_or_else(Vec::new, |packed| packed.multiplied_here(x, epilogue))
    }

    /// [`applied_here`](Self::applied_here) into a slice.
    fn apply_here(&self, into: &mut [f32], x: Matrix<'_>, epilogue: Epilogue<'_>) {
        if let Some(packed) = self.packed {
            packed.multiply_here(into, x, epilogue);
        }
    }

    /// The layer and an epilogue, by all threads.
    fn applied(&self, precision: Precision, x: Matrix<'_>, epilogue: Epilogue<'_>) -> Vec<f32> {
        match self.packed {
            Some(packed) => packed.multiplied(x, false, epilogue),
            None => multiplied_then(precision, (x, self.matrix(x.1.columns)), None, epilogue),
        }
    }
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
    let many = rows >= WORTH_ROWS * rayon::current_num_threads();
    let fresh =
        (first.pack(precision, rows, width, many), second.pack(precision, rows, hidden, many));
    let layers = (first.or_packed(fresh.0.as_ref()), second.or_packed(fresh.1.as_ref()));
    match (layers.0.packed, layers.1.packed) {
        (Some(_), Some(_)) if many => some_rows_at_a_time(x, norm, layers),
        _ => layer_by_layer(precision, x, norm, layers),
    }
}

/// The epilogues of both layers.
fn epilogues<'a>((first, second): (Layer<'a>, Layer<'a>)) -> (Epilogue<'a>, Epilogue<'a>) {
    let to_hidden = Epilogue { gelu: true, ..Epilogue::bias(Some(first.bias)) };
    (to_hidden, Epilogue::bias(Some(second.bias)))
}

/// Each layer for all rows, by all threads.
fn layer_by_layer(
    precision: Precision,
    x: &[f32],
    norm: Norm<'_>,
    layers: (Layer<'_>, Layer<'_>),
) -> Vec<f32> {
    let (width, hidden) = (norm.scale.len(), layers.0.bias.len());
    let rows = x.len() / width;
    let (to_hidden, to_outputs) = epilogues(layers);
    let (normed, _) = layer_norm::forward(x, norm.scale, norm.shift, norm.eps);
    let normed = (normed.as_slice(), Shape::rows(rows, width, width));
    let between = layers.0.applied(precision, normed, to_hidden);
    let between = (between.as_slice(), Shape::rows(rows, hidden, hidden));
    layers.1.applied(precision, between, to_outputs)
}

/// Both layers, which must be packed, for some rows at a time, by one thread each.
fn some_rows_at_a_time(x: &[f32], norm: Norm<'_>, layers: (Layer<'_>, Layer<'_>)) -> Vec<f32> {
    let (width, hidden, outputs) = (norm.scale.len(), layers.0.bias.len(), layers.1.bias.len());
    let rows = x.len() / width;
    let (to_hidden, to_outputs) = epilogues(layers);
    let share = rows.div_ceil(rayon::current_num_threads());
    let part = (HIDDEN_AT_ONCE / hidden).next_multiple_of(32).min(share.next_multiple_of(32));
    let parts = (0..rows).step_by(part).map(|row| (part.min(rows - row) * outputs, row));
    let work = |row: usize, y: &mut [f32]| {
        let rows = y.len() / outputs;
        let mut normed = vec![0.0; rows * width];
        layer_norm::normalized(&x[row * width..][..rows * width], norm, &mut normed);
        let normed = (normed.as_slice(), Shape::rows(rows, width, width));
        let between = layers.0.applied_here(normed, to_hidden);
        let between = (between.as_slice(), Shape::rows(rows, hidden, hidden));
        layers.1.apply_here(y, between, to_outputs);
    };
    parallel::produce(rows * hidden, parts, work).0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::gelu;
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
            let (first, second) = (Layer::new(&w1, &b1), Layer::new(&w2, &b2));
            let (normed, _) = layer_norm::forward(&x, &scale, &shift, 1e-6);
            let shape = LinearShape { rows, inputs: width, outputs: hidden };
            let between = gelu::forward(&linear::forward(fp32, shape, &normed, &w1, Some(&b1)));
            let shape = LinearShape { rows, inputs: hidden, outputs };
            let expected = linear::forward(fp32, shape, &between, &w2, Some(&b2));
            assert_close(&forward(fp32, &x, norm, first, second), &expected, 1e-4);
        }
    }
}
