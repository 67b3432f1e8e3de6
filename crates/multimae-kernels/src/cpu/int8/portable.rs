//! The kernel of processors without one of their own, and the oracle of the others.

use super::kernel::{Kernel, Left, Right, STEP, Tile};

/// Four rows by eight columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

// SAFETY: it uses no instruction that a processor may lack.
#[allow(unsafe_code)]
unsafe impl Kernel for Portable {
    const ROWS: usize = 4;
    const COLUMNS: usize = 8;

    unsafe fn multiply(into: *mut f32, tile: Tile, left: Left<'_>, right: Right<'_>) {
        for row in 0..tile.rows {
            let mut sums = [0i32; Self::COLUMNS];
            let mut columns = right.panel.as_chunks::<STEP>().0.chunks_exact(Self::COLUMNS);
            for run in left.runs {
                for (at, columns) in (0..left.len).step_by(STEP).zip(&mut columns) {
                    // SAFETY: the values from `at` on are of a run of a row of the tile.
                    let values = unsafe { *left.rows[row].add(run + at).cast::<[u8; STEP]>() };
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        let products = values.iter().zip(column);
                        let products = products.map(|(&a, &b)| i32::from(a) * i32::from(b));
                        *sum = sum.wrapping_add(products.sum());
                    }
                }
            }
            for (column, sum) in sums.iter().enumerate().take(tile.columns) {
                let sum = sum.wrapping_add(right.compensation[column]) as f32;
                // SAFETY: an element of the tile.
                unsafe {
                    *into.add(row * tile.stride + column) =
                        sum * right.scales[column] * left.scales[row];
                }
            }
        }
    }
}
