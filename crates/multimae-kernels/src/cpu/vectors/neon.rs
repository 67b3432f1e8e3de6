//! The kernel of NEON, the vector instructions that every processor of aarch64 has.

use std::arch::aarch64::{
    float32x4_t, vaddq_f32, vdupq_n_f32, vfmaq_n_f32, vld1q_f32, vmulq_f32, vst1q_f32,
};

use super::super::matrix::Matrix;
use super::super::tile::Tile;
use super::by_rows;
use super::kernel::{Kernel, Range, Source};
use super::neon_pack::pack_rows;

/// Values of a vector.
const LANES: usize = 4;

/// Eight rows by three vectors of columns: 24 of 32 registers are sums.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neon;

pub(super) fn is_supported() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

// SAFETY: its instructions are those that `is_supported` asks for.
#[allow(unsafe_code)]
unsafe impl Kernel for Neon {
    const ROWS: usize = 8;
    const COLUMNS: usize = 3 * LANES;

    fn pack_left(a: Matrix<'_>, lanes: Range, inner: Range, panel: &mut [f32]) {
        pack_rows::<{ Self::ROWS }>(a, lanes, inner, panel);
    }

    fn pack_right(transposed: Matrix<'_>, lanes: Range, inner: Range, panel: &mut [f32]) {
        pack_rows::<{ Self::COLUMNS }>(transposed, lanes, inner, panel);
    }

    unsafe fn multiply(into: *mut f32, tile: Tile, depth: usize, left: Source, right: Source) {
        debug_assert_eq!(right.lane, 1, "columns that lie apart");
        // Steps of a packed panel are known when the program is compiled.
        let panel = left.lane == 1 && left.inner == Self::ROWS;
        let narrow = tile.columns <= LANES;
        // SAFETY: as the caller promises; the kernel is used only where it is supported.
        unsafe {
            by_rows!(multiply, 3, (panel, narrow), tile.rows, (into, tile, depth, left, right),
                [1 2 3 4 5 6 7 8]);
        }
    }
}

/// # Safety
/// As [`Kernel::multiply`] of [`Neon`], for a tile of `R` rows and at most `4 V` columns, of which as
/// many are read; if `PANEL`, the rows must be those of a packed panel.
#[target_feature(enable = "neon")]
#[allow(unsafe_code)]
unsafe fn multiply<const R: usize, const V: usize, const PANEL: bool>(
    into: *mut f32,
    tile: Tile,
    depth: usize,
    left: Source,
    right: Source,
) {
    let (lane, step) = if PANEL { (1, Neon::ROWS) } else { (left.lane, left.inner) };
    let mut sums = [[vdupq_n_f32(0.0); V]; R];
    // SAFETY: `R` rows and `V` vectors of columns are readable for each of `depth` turns.
    unsafe {
        for inner in 0..depth {
            let rows_at = left.first.add(inner * step);
            let columns_at = right.first.add(inner * right.inner);
            let mut columns = [vdupq_n_f32(0.0); V];
            for (vector, columns) in columns.iter_mut().enumerate() {
                *columns = vld1q_f32(columns_at.add(vector * LANES));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let value = *rows_at.add(row * lane);
                for (sum, &columns) in sums.iter_mut().zip(&columns) {
                    *sum = vfmaq_n_f32(*sum, columns, value);
                }
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        for (vector, &sum) in sums.iter().enumerate() {
            let count = tile.columns.saturating_sub(vector * LANES).min(LANES);
            // SAFETY: every element of the tile exists, and `count` of this vector's are in it.
            unsafe {
                let place = into.wrapping_add(row * tile.stride + vector * LANES);
                store(place, count, vmulq_f32(sum, vdupq_n_f32(tile.scale)), tile.add);
            }
        }
    }
}

/// Writes the first values of a vector, or adds them.
///
/// # Safety
/// There must be `count` of them behind `place`, initialised if they are added to; at most [`LANES`].
#[target_feature(enable = "neon")]
#[allow(unsafe_code)]
unsafe fn store(place: *mut f32, count: usize, value: float32x4_t, add: bool) {
    // SAFETY: as the caller promises; a vector that is not whole is written value by value.
    unsafe {
        if count == LANES {
            let value = if add { vaddq_f32(value, vld1q_f32(place)) } else { value };
            return vst1q_f32(place, value);
        }
        let mut values = [0.0; LANES];
        vst1q_f32(values.as_mut_ptr(), value);
        for (lane, value) in values.iter().enumerate().take(count) {
            let place = place.add(lane);
            *place = if add { *value + *place } else { *value };
        }
    }
}
