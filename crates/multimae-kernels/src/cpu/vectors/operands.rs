//! The operands of a GEMM as kernels read them: packed, or in their own place.

use std::marker::PhantomData;
use std::ops::Range;

use super::super::gelu;
use super::super::matrix::{Matrix, Shape, Side};
use super::Gemm;
use super::kernel::{Kernel, SPILL, Source};
use super::packed::{Part, aligned};

/// Rows times the step from one row of the right operand to the next from which its columns, where they
/// lie side by side, are packed: few rows do not pay for it, and far steps miss the caches.
const WORTH_PACKING: usize = 1 << 17;
/// The fewest panels of columns by which rows are multiplied packed.
const WORTH_PACKING_LEFT: usize = 12;
/// Values of a page of memory, and the lines that the first cache holds of as many pages' beginnings.
const PAGE: usize = 1024;
const WAYS: usize = 8;

/// The right operand, panel by panel.
#[derive(Debug, Clone, Copy)]
pub(super) enum Panels<'a> {
    /// The panels of a group of parts, one behind the other.
    Packed(&'a [f32]),
    /// Whole panels where they lie, in rows; and packed, of each part of the group, the last panel if
    /// it is not whole.
    InPlace(Matrix<'a>, &'a [f32]),
}

impl<'a> Panels<'a> {
    /// The panel `index` of part number `number` of a group.
    pub(super) fn source<K: Kernel>(self, group: &[Part], number: usize, index: usize) -> Source {
        let (first, part) = (group[0], group[number]);
        let packed = |panels: &'a [f32], at: usize| {
            let panel = &panels[at..][..K::COLUMNS * part.depth];
            Source { first: panel.as_ptr(), lane: 1, inner: K::COLUMNS }
        };
        match self {
            Self::Packed(panels) => {
                let of_part = part.offset::<K>() - first.offset::<K>();
                packed(panels, of_part + index * K::COLUMNS * part.depth)
            }
            Self::InPlace((slice, shape), _) if (index + 1) * K::COLUMNS <= part.columns => {
                let at = part.inner * shape.row_stride + part.column + index * K::COLUMNS;
                let reach = (part.depth - 1) * shape.row_stride + K::COLUMNS;
                Source { first: slice[at..][..reach].as_ptr(), lane: 1, inner: shape.row_stride }
            }
            Self::InPlace(_, last) => packed(last, (part.inner - first.inner) * K::COLUMNS),
        }
    }
}

/// Whether this number of rows multiplies a right operand in its own place.
pub(super) fn stays_in_place(b: Shape, rows: usize) -> bool {
    b.column_stride == 1 && rows.saturating_mul(b.row_stride) < WORTH_PACKING
}

/// The rows of a block, panel by panel.
pub(super) struct Left<'a, K> {
    /// Packed, or where they lie from the first inner value of the part on.
    rows: std::result::Result<&'a [f32], Matrix<'a>>,
    depth: usize,
    kernel: PhantomData<K>,
}

impl<'a, K: Kernel> Left<'a, K> {
    /// Packs the rows if the number of panels that they are multiplied by is worth it.
    pub(super) fn new(
        buffer: &'a mut Vec<f32>,
        rows: Range<usize>,
        gemm: &Gemm<'a>,
        part: Part,
        panels: usize,
    ) -> Self {
        let Part { inner, depth, .. } = part;
        let (slice, shape) = gemm.a;
        let activated = gemm.activated == Some(Side::Left);
        // Rows a multiple of a page apart would share a few places of the first cache.
        let apart = shape.column_stride == 1 && shape.row_stride % PAGE == 0 && rows.len() > WAYS;
        if !activated && !apart && panels < WORTH_PACKING_LEFT {
            let first = rows.start * shape.row_stride + inner * shape.column_stride;
            let of_block = Shape { rows: rows.len(), columns: depth, ..shape };
            let rows = Err((&slice[first..], of_block));
            return Self { rows, depth, kernel: PhantomData };
        }
        let packed = rows.len().next_multiple_of(K::ROWS) * depth;
        let left = aligned(buffer, packed + SPILL);
        for first in (0..rows.len()).step_by(K::ROWS) {
            let lanes = (rows.start + first, K::ROWS.min(rows.len() - first));
            let panel = &mut left[first * depth..][..K::ROWS * depth + SPILL];
            K::pack_left(gemm.a, lanes, (inner, depth), panel);
            if activated {
                gelu::in_place(&mut panel[..K::ROWS * depth]);
            }
        }
        Self { rows: Ok(left), depth, kernel: PhantomData }
    }

    /// `count` rows of the block from `first` on.
    pub(super) fn source(&self, first: usize, count: usize) -> Source {
        match self.rows {
            Ok(packed) => {
                let panel = &packed[first * self.depth..][..K::ROWS * self.depth];
                Source { first: panel.as_ptr(), lane: 1, inner: K::ROWS }
            }
            Err((slice, shape)) => {
                let reach = Shape { rows: count, ..shape }.extent();
                let rows = &slice[first * shape.row_stride..][..reach];
                let (lane, inner) = (shape.row_stride, shape.column_stride);
                Source { first: rows.as_ptr(), lane, inner }
            }
        }
    }
}
