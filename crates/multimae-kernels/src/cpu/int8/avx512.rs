//! The kernel of AVX-512 with VNNI.

use std::arch::x86_64::{
    __m512i, __mmask16, _MM_HINT_T0, _mm_prefetch, _mm512_add_epi32, _mm512_cvtepi32_ps,
    _mm512_dpbusd_epi32, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_storeu_ps, _mm512_mul_ps,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512,
};

use super::by_rows;
use super::kernel::{Kernel, Left, Right, STEP, Tile};

/// Sums of a vector.
const LANES: usize = 16;
/// Bytes of a vector.
const BYTES: usize = LANES * STEP;
/// Steps ahead of which columns are fetched.
const AHEAD: usize = 8;

/// Fourteen rows by two vectors of columns: 28 of 32 registers are sums.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512;

pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")
}

// SAFETY: its instructions are those that `is_supported` asks for.
#[allow(unsafe_code)]
unsafe impl Kernel for Avx512 {
    const ROWS: usize = 14;
    const COLUMNS: usize = 2 * LANES;

    unsafe fn multiply(into: *mut f32, tile: Tile, left: Left<'_>, right: Right<'_>) {
        // SAFETY: as the caller promises; the kernel is used only where it is supported.
        unsafe {
            by_rows!(multiply, tile.columns <= LANES, tile.rows, (into, tile, left, right),
                [1 2 3 4 5 6 7 8 9 10 11 12 13 14]);
        }
    }
}

/// # Safety
/// As [`Kernel::multiply`] of [`Avx512`], for a tile of `R` rows and at most `16 V` columns.
#[target_feature(enable = "avx512f,avx512vnni")]
#[allow(unsafe_code)]
unsafe fn multiply<const R: usize, const V: usize>(
    into: *mut f32,
    tile: Tile,
    left: Left<'_>,
    right: Right<'_>,
) {
    let mut sums = [[_mm512_setzero_si512(); V]; R];
    let mut columns_at = right.panel.as_ptr();
    // SAFETY: the runs of `R` rows and as many steps of the panel are readable. Prefetching reads
    // nothing.
    unsafe {
        for row in 0..R {
            for vector in 0..V {
                let place = into.wrapping_add(row * tile.stride + vector * LANES);
                _mm_prefetch::<_MM_HINT_T0>(place.cast());
            }
        }
        for &run in left.runs {
            for at in (run..run + left.len).step_by(STEP) {
                let mut columns = [_mm512_setzero_si512(); V];
                for (vector, columns) in columns.iter_mut().enumerate() {
                    let place = columns_at.add(vector * BYTES);
                    *columns = _mm512_loadu_si512(place.cast());
                    let ahead = place.wrapping_add(AHEAD * Avx512::COLUMNS * STEP);
                    _mm_prefetch::<_MM_HINT_T0>(ahead);
                }
                for (sums, row) in sums.iter_mut().zip(&left.rows) {
                    let values = _mm512_set1_epi32(row.add(at).cast::<i32>().read_unaligned());
                    for (sum, &columns) in sums.iter_mut().zip(&columns) {
                        *sum = _mm512_dpbusd_epi32(*sum, values, columns);
                    }
                }
                columns_at = columns_at.add(Avx512::COLUMNS * STEP);
            }
        }
    }
    // SAFETY: as the caller promises.
    unsafe { write(into, tile, &sums, left, right) }
}

/// Writes a tile of these sums.
///
/// # Safety
/// As [`multiply`].
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code)]
unsafe fn write<const R: usize, const V: usize>(
    into: *mut f32,
    tile: Tile,
    sums: &[[__m512i; V]; R],
    left: Left<'_>,
    right: Right<'_>,
) {
    for vector in 0..V {
        let first = vector * LANES;
        let (scales, compensation) =
            (&right.scales[first..][..LANES], &right.compensation[first..][..LANES]);
        let count = tile.columns.saturating_sub(first).min(LANES);
        let mask = ((1_u32 << count) - 1) as __mmask16;
        // SAFETY: the slices have a vector each, and the mask leaves the columns of the tile, whose
        // elements all exist.
        unsafe {
            let scales = _mm512_loadu_ps(scales.as_ptr());
            let compensation = _mm512_loadu_si512(compensation.as_ptr().cast());
            for (row, sums) in sums.iter().enumerate() {
                let sum = _mm512_cvtepi32_ps(_mm512_add_epi32(sums[vector], compensation));
                let of_row = _mm512_set1_ps(left.scales[row]);
                let value = _mm512_mul_ps(_mm512_mul_ps(sum, scales), of_row);
                _mm512_mask_storeu_ps(into.add(row * tile.stride + first), mask, value);
            }
        }
    }
}
