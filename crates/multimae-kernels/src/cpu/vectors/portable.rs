//! The kernel of processors without one of their own, of which the compiler makes what it can, and the
//! oracle of all others.

use super::super::matrix::Matrix;
use super::super::tile::Tile;
use super::kernel::{Kernel, Range, Source};
use super::pack;

/// Eight rows by eight columns: sixteen registers of four sums.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

// SAFETY: it uses no instruction that a processor may lack.
#[allow(unsafe_code)]
unsafe impl Kernel for Portable {
    const ROWS: usize = 8;
    const COLUMNS: usize = 8;

    fn pack_left(a: Matrix<'_>, lanes: Range, inner: Range, panel: &mut [f32]) {
        pack_rows(a, lanes, inner, panel);
    }

    fn pack_right(transposed: Matrix<'_>, lanes: Range, inner: Range, panel: &mut [f32]) {
        pack_rows(transposed, lanes, inner, panel);
    }

    unsafe fn multiply(into: *mut f32, tile: Tile, depth: usize, left: Source, right: Source) {
        debug_assert_eq!(right.lane, 1, "columns that lie apart");
        let mut sums = [[0.0f32; Self::COLUMNS]; Self::ROWS];
        for inner in 0..depth {
            // SAFETY: `inner < depth`, so that these columns are readable.
            let columns =
                unsafe { &*right.first.add(inner * right.inner).cast::<[f32; Self::COLUMNS]>() };
            for (row, sums) in sums.iter_mut().enumerate().take(tile.rows) {
                // SAFETY: a row of the tile, and `inner < depth`.
                let a = unsafe { *left.first.add(row * left.lane + inner * left.inner) };
                for (sum, &b) in sums.iter_mut().zip(columns) {
                    *sum = a.mul_add(b, *sum);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate().take(tile.rows) {
            for (column, sum) in sums.iter().enumerate().take(tile.columns) {
                // SAFETY: the element is one of the tile, all of which lie behind `into`; it is read
                // only if it is added to.
                unsafe {
                    let place = into.add(row * tile.stride + column);
                    let value = sum * tile.scale;
                    *place = if tile.add { *place + value } else { value };
                }
            }
        }
    }
}

fn pack_rows(matrix: Matrix<'_>, lanes: Range, inner: Range, panel: &mut [f32]) {
    if matrix.1.row_stride == 1 {
        pack::by_lanes::<8>(matrix, lanes, inner, panel);
    } else {
        pack::by_values::<8>(matrix, lanes, inner, panel);
    }
}
