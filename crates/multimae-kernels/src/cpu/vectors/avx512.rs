//! The kernel of AVX-512.

use std::arch::x86_64::{
    __cpuid, __mmask16, _MM_HINT_T0, _mm_prefetch, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_setzero_ps,
};

use super::super::matrix::Matrix;
use super::super::tile::Tile;
use super::kernel::{Kernel, Range, Source};
use super::x86_pack::pack_rows;
use super::{avx2, by_rows};

/// Values of a vector.
const LANES: usize = 16;

/// Inner values ahead of which columns are fetched.
const AHEAD: usize = 8;

/// Fourteen rows by two vectors of columns: 28 of 32 registers are sums.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512;

pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx512f") && avx2::is_supported()
}

/// Whether the processor computes 512 bits as two halves, as AMD's Zen 4 (family 25) does: then the
/// panels of AVX2, half as large, are nearer to it (94 % of its limit where these reach 90 %).
pub(super) fn is_halved() -> bool {
    const AMD: [u32; 3] =
        [u32::from_le_bytes(*b"Auth"), u32::from_le_bytes(*b"enti"), u32::from_le_bytes(*b"cAMD")];
    let vendor = __cpuid(0);
    let signature = __cpuid(1).eax;
    let (family, extended) = (signature >> 8 & 0xf, signature >> 20 & 0xff);
    [vendor.ebx, vendor.edx, vendor.ecx] == AMD && family + extended == 25
}

// SAFETY: its instructions are those that `is_supported` asks for.
#[allow(unsafe_code)]
unsafe impl Kernel for Avx512 {
    const ROWS: usize = 14;
    const COLUMNS: usize = 2 * LANES;

    fn pack_left(a: Matrix<'_>, lanes: Range, inner: Range, panel: &mut [f32]) {
        pack_rows::<{ Self::ROWS }, 2>(a, lanes, inner, panel);
    }

    fn pack_right(transposed: Matrix<'_>, lanes: Range, inner: Range, panel: &mut [f32]) {
        pack_rows::<{ Self::COLUMNS }, 4>(transposed, lanes, inner, panel);
    }

    unsafe fn multiply(into: *mut f32, tile: Tile, depth: usize, left: Source, right: Source) {
        debug_assert_eq!(right.lane, 1, "columns that lie apart");
        // Steps of a packed panel are known when the program is compiled.
        let panel = left.lane == 1 && left.inner == Self::ROWS;
        let narrow = tile.columns <= LANES;
        // SAFETY: as the caller promises; the kernel is used only where it is supported.
        unsafe {
            by_rows!(multiply, 2, (panel, narrow), tile.rows, (into, tile, depth, left, right),
                [1 2 3 4 5 6 7 8 9 10 11 12 13 14]);
        }
    }
}

/// # Safety
/// As [`Kernel::multiply`] of [`Avx512`], for a tile of `R` rows and at most `16 V` columns, of
/// which as many are read; if `PANEL`, the rows must be those of a packed panel.
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
unsafe fn multiply<const R: usize, const V: usize, const PANEL: bool>(
    into: *mut f32,
    tile: Tile,
    depth: usize,
    left: Source,
    right: Source,
) {
    let (lane, step) = if PANEL { (1, Avx512::ROWS) } else { (left.lane, left.inner) };
    // SAFETY: `R` rows and `V` vectors of columns are readable for each of `depth` turns, and the
    // masks leave the columns of the tile, whose elements all exist. Prefetching reads nothing.
    unsafe {
        for row in 0..R {
            for vector in 0..V {
                let place = into.wrapping_add(row * tile.stride + vector * LANES);
                _mm_prefetch::<_MM_HINT_T0>(place.cast());
            }
        }
        let mut sums = [[_mm512_setzero_ps(); V]; R];
        for inner in 0..depth {
            let rows_at = left.first.add(inner * step);
            let columns_at = right.first.add(inner * right.inner);
            _mm_prefetch::<_MM_HINT_T0>(columns_at.wrapping_add(AHEAD * right.inner).cast());
            let mut columns = [_mm512_setzero_ps(); V];
            for (vector, columns) in columns.iter_mut().enumerate() {
                *columns = _mm512_loadu_ps(columns_at.add(vector * LANES));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let value = _mm512_set1_ps(*rows_at.add(row * lane));
                for (sum, &columns) in sums.iter_mut().zip(&columns) {
                    *sum = _mm512_fmadd_ps(value, columns, *sum);
                }
            }
        }
        let scale = _mm512_set1_ps(tile.scale);
        for (row, sums) in sums.iter().enumerate() {
            for (vector, &sum) in sums.iter().enumerate() {
                let count = tile.columns.saturating_sub(vector * LANES).min(LANES);
                let mask = ((1_u32 << count) - 1) as __mmask16;
                let place = into.add(row * tile.stride + vector * LANES);
                let mut value = _mm512_mul_ps(sum, scale);
                if tile.add {
                    value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, place));
                }
                _mm512_mask_storeu_ps(place, mask, value);
            }
        }
    }
}
