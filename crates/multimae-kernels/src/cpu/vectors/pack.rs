//! Operands into panels, on any processor.

use super::super::matrix::Matrix;
use super::kernel::Range;

/// Packs rows of a matrix value by value. The oracle of all other ways.
///
/// # Shapes
/// `panel (depth, LANES)`.
pub(super) fn by_values<const LANES: usize>(
    (slice, shape): Matrix<'_>,
    (first, count): Range,
    (inner, depth): Range,
    panel: &mut [f32],
) {
    for (index, lanes) in panel.chunks_exact_mut(LANES).take(depth).enumerate() {
        let (taken, beyond) = lanes.split_at_mut(count);
        let at = first * shape.row_stride + (inner + index) * shape.column_stride;
        for (lane, into) in taken.iter_mut().enumerate() {
            *into = slice[at + lane * shape.row_stride];
        }
        beyond.fill(0.0);
    }
}

/// Packs rows that lie side by side: all lanes of an inner value at once.
///
/// # Shapes
/// `panel (depth, LANES)`.
pub(super) fn by_lanes<const LANES: usize>(
    (slice, shape): Matrix<'_>,
    (first, count): Range,
    (inner, depth): Range,
    panel: &mut [f32],
) {
    debug_assert_eq!(shape.row_stride, 1, "rows that lie apart");
    for (index, lanes) in panel.chunks_exact_mut(LANES).take(depth).enumerate() {
        let at = first + (inner + index) * shape.column_stride;
        if count == LANES {
            // Of a constant length, which the compiler turns into a few instructions.
            lanes.copy_from_slice(&slice[at..at + LANES]);
        } else {
            let (taken, beyond) = lanes.split_at_mut(count);
            taken.copy_from_slice(&slice[at..at + count]);
            beyond.fill(0.0);
        }
    }
}
