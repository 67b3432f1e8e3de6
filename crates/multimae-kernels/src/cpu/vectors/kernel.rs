//! The interface of kernels, which are of a processor each.

use super::super::matrix::Matrix;
use super::super::tile::Tile;

/// Values that packing may write behind a panel of rows.
pub(super) const SPILL: usize = 8;

/// The place of an operand, and the steps from one lane (row of the left operand, column of the
/// right one) to the next, and from one inner value to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub first: *const f32,
    pub lane: usize,
    pub inner: usize,
}

/// The first lane of a panel and their number, or the first inner value and their number.
pub(super) type Range = (usize, usize);

/// A panel times a panel, and packing.
///
/// # Safety
/// [`multiply`](Self::multiply) and packing may use the instructions of the kernel's processors: a
/// type is to be used only where `is_supported` of its module holds.
#[allow(unsafe_code)]
pub(super) unsafe trait Kernel {
    /// Rows of a panel of the left operand.
    const ROWS: usize;
    /// Columns of a panel of the right operand.
    const COLUMNS: usize;

    /// Packs rows of `a`; rows beyond the last are zeros. Writes at most [`SPILL`] values of anything
    /// behind the panel.
    ///
    /// # Shapes
    /// `panel (depth, ROWS)` and [`SPILL`] values.
    fn pack_left(a: Matrix<'_>, lanes: Range, inner: Range, panel: &mut [f32]);

    /// Packs columns of `b`, which are the rows of `b` transposed; columns beyond the last are zeros.
    ///
    /// # Shapes
    /// `panel (depth, COLUMNS)`.
    fn pack_right(transposed: Matrix<'_>, lanes: Range, inner: Range, panel: &mut [f32]);

    /// `into (+)= scale * left right`, over `depth` inner values.
    ///
    /// # Safety
    /// Of `left` the rows of the tile and of `right` [`COLUMNS`](Self::COLUMNS) columns, which lie side
    /// by side, must be readable. Every element of the tile must lie behind `into`, be writable and
    /// referred to by nothing else, and be initialised if it is added to.
    unsafe fn multiply(into: *mut f32, tile: Tile, depth: usize, left: Source, right: Source);
}
