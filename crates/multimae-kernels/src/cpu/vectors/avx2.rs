//! The kernel of AVX2 with fused multiply-add.

use std::arch::x86_64::{
    _MM_HINT_T0, _mm_prefetch, _mm256_add_ps, _mm256_broadcast_ss, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
};

use super::super::matrix::Matrix;
use super::super::tile::Tile;
use super::by_rows;
use super::kernel::{Kernel, Range, Source};
use super::x86_pack::pack_rows;

/// Values of a vector.
const LANES: usize = 8;

/// Six rows by two vectors of columns: twelve of sixteen registers are sums.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2;

pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

// SAFETY: its instructions are those that `is_supported` asks for.
#[allow(unsafe_code)]
unsafe impl Kernel for Avx2 {
    const ROWS: usize = 6;
    const COLUMNS: usize = 2 * LANES;

    fn pack_left(a: Matrix<'_>, lanes: Range, inner: Range, panel: &mut [f32]) {
        pack_rows::<{ Self::ROWS }, 1>(a, lanes, inner, panel);
    }

    fn pack_right(transposed: Matrix<'_>, lanes: Range, inner: Range, panel: &mut [f32]) {
        pack_rows::<{ Self::COLUMNS }, 2>(transposed, lanes, inner, panel);
    }

    unsafe fn multiply(into: *mut f32, tile: Tile, depth: usize, left: Source, right: Source) {
        debug_assert_eq!(right.lane, 1, "columns that lie apart");
        // Steps of a packed panel are known when the program is compiled.
        let panel = left.lane == 1 && left.inner == Self::ROWS;
        let narrow = tile.columns <= LANES;
        // SAFETY: as the caller promises; the kernel is used only where it is supported.
        unsafe {
            by_rows!(multiply, 2, (panel, narrow), tile.rows, (into, tile, depth, left, right),
                [1 2 3 4 5 6]);
        }
    }
}

/// # Safety
/// As [`Kernel::multiply`] of [`Avx2`], for a tile of `R` rows and at most `8 V` columns, of
/// which as many are read; if `PANEL`, the rows must be those of a packed panel.
#[target_feature(enable = "avx2,fma")]
#[allow(unsafe_code)]
unsafe fn multiply<const R: usize, const V: usize, const PANEL: bool>(
    into: *mut f32,
    tile: Tile,
    depth: usize,
    left: Source,
    right: Source,
) {
    let (lane, step) = if PANEL { (1, Avx2::ROWS) } else { (left.lane, left.inner) };
    // SAFETY: `R` rows and `V` vectors of columns are readable for each of `depth` turns; of the
    // tile, whose elements all exist, a vector that is not full is written value by value. Prefetching
    // reads nothing.
    unsafe {
        for row in 0..R {
            _mm_prefetch::<_MM_HINT_T0>(into.wrapping_add(row * tile.stride).cast());
        }
        let mut sums = [[_mm256_setzero_ps(); V]; R];
        for inner in 0..depth {
            let rows_at = left.first.add(inner * step);
            let columns_at = right.first.add(inner * right.inner);
            let mut columns = [_mm256_setzero_ps(); V];
            for (vector, columns) in columns.iter_mut().enumerate() {
                *columns = _mm256_loadu_ps(columns_at.add(vector * LANES));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let value = _mm256_broadcast_ss(&*rows_at.add(row * lane));
                for (sum, &columns) in sums.iter_mut().zip(&columns) {
                    *sum = _mm256_fmadd_ps(value, columns, *sum);
                }
            }
        }
        let scale = _mm256_set1_ps(tile.scale);
        for (row, sums) in sums.iter().enumerate() {
            for (vector, &sum) in sums.iter().enumerate() {
                let count = tile.columns.saturating_sub(vector * LANES).min(LANES);
                let place = into.add(row * tile.stride + vector * LANES);
                let mut value = _mm256_mul_ps(sum, scale);
                if count == LANES {
                    if tile.add {
                        value = _mm256_add_ps(value, _mm256_loadu_ps(place));
                    }
                    _mm256_storeu_ps(place, value);
                    continue;
                }
                let mut values = [0.0; LANES];
                _mm256_storeu_ps(values.as_mut_ptr(), value);
                for (lane, value) in values.iter().enumerate().take(count) {
                    let place = place.add(lane);
                    *place = if tile.add { *value + *place } else { *value };
                }
            }
        }
    }
}
