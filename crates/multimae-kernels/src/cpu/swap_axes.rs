//! Two axes of a tensor in each other's place.

use super::parallel;

/// Side of the squares by which single values change places: a square's rows and columns stay near the
/// processor.
const SQUARE: usize = 32;

/// Sizes of an array `(outer, first, second, tail)` whose middle axes change places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwapShape {
    /// The extent in front of the axes.
    pub outer: usize,
    /// The one axis.
    pub first: usize,
    /// The other axis.
    pub second: usize,
    /// Values that stay neighbours.
    pub tail: usize,
}

impl SwapShape {
    /// The way back.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { first: self.second, second: self.first, ..self }
    }

    fn len(self) -> usize {
        self.outer * self.first * self.second * self.tail
    }
}

/// The array with its middle axes swapped; also the gradient of itself, [reversed](SwapShape::reversed).
///
/// # Shapes
/// `x (outer, first, second, tail)` to `(outer, second, first, tail)`.
///
/// # Panics
/// If `x` does not have the shape.
#[must_use]
pub fn forward(shape: SwapShape, x: &[f32]) -> Vec<f32> {
    assert_eq!(x.len(), shape.len(), "an array of {shape:?}");
    let SwapShape { first, second, tail, .. } = shape;
    // Rows of the second axis per block, so that squares fit.
    let rows = parallel::rows_per_part(first * tail).next_multiple_of(SQUARE).min(second.max(1));
    let parts = (0..shape.outer).flat_map(|outer| {
        let row = move |at: usize| (rows.min(second - at) * first * tail, (outer, at));
        (0..second).step_by(rows).map(row)
    });
    let work = |(outer, at): (usize, usize), y: &mut [f32]| {
        let x = &x[outer * first * second * tail..][..first * second * tail];
        if tail == 1 { turn(shape, at, x, y) } else { gather_rows(shape, at, x, y) }
    };
    parallel::produce(x.len(), parts, work).0
}

/// Rows from `at` on of the second axis, values one by one.
fn turn(shape: SwapShape, at: usize, x: &[f32], y: &mut [f32]) {
    let SwapShape { first, second, .. } = shape;
    let rows = y.len() / first.max(1);
    for top in (0..rows).step_by(SQUARE) {
        let height = SQUARE.min(rows - top);
        for left in (0..first).step_by(SQUARE) {
            let width = SQUARE.min(first - left);
            for row in 0..height {
                let from = &x[left * second + at + top + row..];
                let to = &mut y[(top + row) * first + left..][..width];
                for (to, from) in to.iter_mut().zip(from.iter().step_by(second)) {
                    *to = *from;
                }
            }
        }
    }
}

/// Rows from `at` on of the second axis, whose values keep their neighbours.
fn gather_rows(shape: SwapShape, at: usize, x: &[f32], y: &mut [f32]) {
    let SwapShape { first, second, tail, .. } = shape;
    for (index, to) in y.chunks_exact_mut(tail.max(1)).enumerate() {
        let (row, column) = (at + index / first, index % first);
        to.copy_from_slice(&x[(column * second + row) * tail..][..tail]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::values;
    use super::*;

    proptest! {
        #[test]
        fn every_value_finds_its_place_and_back(outer in 0usize..4, first in 0usize..80,
                                                second in 0usize..80, tail in 1usize..6) {
            let shape = SwapShape { outer, first, second, tail };
            let x = values(1, shape.len());
            let y = forward(shape, &x);
            for (index, value) in x.iter().enumerate() {
                let (at, rest) = (index % tail, index / tail);
                let (column, rest) = (rest % second, rest / second);
                let (row, outer) = (rest % first, rest / first);
                prop_assert_eq!(y[((outer * second + column) * first + row) * tail + at], *value);
            }
            prop_assert_eq!(forward(shape.reversed(), &y), x);
        }
    }
}
