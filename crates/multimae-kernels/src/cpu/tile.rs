//! The destination of the product of two panels, for the kernels of all units.

/// Rows and columns of a result that a kernel writes at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    /// At most those of the kernel's left panel.
    pub rows: usize,
    /// At most those of its right panel.
    pub columns: usize,
    /// From one row to the next.
    pub stride: usize,
    /// Whether it is added to what is there.
    pub add: bool,
    /// The multiplier of the product.
    pub scale: f32,
}
