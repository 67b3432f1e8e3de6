//! The interface of kernels, which are of a processor each.

/// Inner values of a column that lie side by side in a panel.
pub(super) const STEP: usize = 4;
/// The most rows of a tile, of all kernels.
pub(super) const MOST_ROWS: usize = 14;
/// The most columns of a panel, of all kernels.
pub(super) const MOST_COLUMNS: usize = 32;

/// Rows of the left operand: unsigned integers of 8 bits whose zero is 128.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left<'a> {
    /// The first value of every row of the tile.
    pub rows: [*const u8; MOST_ROWS],
    /// The scale of every row of the tile.
    pub scales: [f32; MOST_ROWS],
    /// The runs of neighbouring inner values, by their distance from a row's first value.
    pub runs: &'a [usize],
    /// Values of a run, a multiple of [`STEP`].
    pub len: usize,
}

/// A panel of columns of the right operand, whose zero is 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Right<'a> {
    /// `(inner / STEP, COLUMNS, STEP)`.
    pub panel: &'a [i8],
    /// `(COLUMNS)`.
    pub scales: &'a [f32],
    /// `(COLUMNS)`: what is added to a sum since the zero of the left operand is 128.
    pub compensation: &'a [i32],
}

/// Rows and columns of a result that a kernel writes at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    /// At most those of the kernel's tile.
    pub rows: usize,
    /// At most those of a panel.
    pub columns: usize,
    /// From one row to the next.
    pub stride: usize,
}

/// A tile of rows times a panel of columns.
///
/// # Safety
/// [`multiply`](Self::multiply) may use the instructions of the kernel's processors: a type is to be
/// used only where `is_supported` of its module holds.
#[allow(unsafe_code)]
pub(super) unsafe trait Kernel {
    /// Rows of a tile, at most [`MOST_ROWS`].
    const ROWS: usize;
    /// Columns of a panel, at most [`MOST_COLUMNS`].
    const COLUMNS: usize;

    /// Writes `((sum + compensation) as f32 * scale of the column) * scale of the row`, where sums are
    /// of 32 bits and wrap.
    ///
    /// # Safety
    /// Every run of the tile's rows must be readable, the panel must hold as many values of each
    /// column, and every element of the tile must lie behind `into`, be writable and be referred to by
    /// nothing else.
    unsafe fn multiply(into: *mut f32, tile: Tile, left: Left<'_>, right: Right<'_>);
}
