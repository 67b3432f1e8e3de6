//! The kernel of AVX2, whose products are of 16 bits: those of 8 bits would saturate.

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm_set1_epi32, _mm256_add_epi32, _mm256_cvtepi8_epi16,
    _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16, _mm256_hadd_epi32, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_mul_ps, _mm256_permute4x64_epi64, _mm256_set1_ps,
    _mm256_setzero_si256, _mm256_storeu_ps,
};

use super::by_rows;
use super::kernel::{Kernel, Left, Right, STEP, Tile};

/// Columns of a panel: a vector of sums.
const LANES: usize = 8;
/// Columns of a vector of 16-bit values, of each of which two sums are kept.
const HALF: usize = LANES / 2;

/// Six rows by eight columns: twelve of sixteen registers are sums.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2;

pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx2")
}

// SAFETY: its instructions are those that `is_supported` asks for.
#[allow(unsafe_code)]
unsafe impl Kernel for Avx2 {
    const ROWS: usize = 6;
    const COLUMNS: usize = LANES;

    unsafe fn multiply(into: *mut f32, tile: Tile, left: Left<'_>, right: Right<'_>) {
        // SAFETY: as the caller promises; the kernel is used only where it is supported.
        unsafe {
            by_rows!(multiply, tile.columns <= HALF, tile.rows, (into, tile, left, right),
                [1 2 3 4 5 6]);
        }
    }
}

/// # Safety
/// As [`Kernel::multiply`] of [`Avx2`], for a tile of `R` rows and at most `4 V` columns.
#[target_feature(enable = "avx2")]
#[allow(unsafe_code)]
unsafe fn multiply<const R: usize, const V: usize>(
    into: *mut f32,
    tile: Tile,
    left: Left<'_>,
    right: Right<'_>,
) {
    let mut sums = [[_mm256_setzero_si256(); V]; R];
    let mut columns_at = right.panel.as_ptr();
    // SAFETY: the runs of `R` rows and as many steps of the panel are readable.
    unsafe {
        for &run in left.runs {
            for at in (run..run + left.len).step_by(STEP) {
                let mut columns = [_mm256_setzero_si256(); V];
                for (vector, columns) in columns.iter_mut().enumerate() {
                    let values = _mm_loadu_si128(columns_at.add(vector * HALF * STEP).cast());
                    *columns = _mm256_cvtepi8_epi16(values);
                }
                for (sums, row) in sums.iter_mut().zip(&left.rows) {
                    let values = _mm_set1_epi32(row.add(at).cast::<i32>().read_unaligned());
                    let values = _mm256_cvtepu8_epi16(values);
                    for (sum, &columns) in sums.iter_mut().zip(&columns) {
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(values, columns));
                    }
                }
                columns_at = columns_at.add(LANES * STEP);
            }
        }
    }
    // SAFETY: as the caller promises.
    unsafe { write(into, tile, &sums, left, right) }
}

/// Writes a tile of these sums, of which each column has two side by side.
///
/// # Safety
/// As [`multiply`].
#[target_feature(enable = "avx2")]
#[inline]
#[allow(unsafe_code)]
unsafe fn write<const R: usize, const V: usize>(
    into: *mut f32,
    tile: Tile,
    sums: &[[__m256i; V]; R],
    left: Left<'_>,
    right: Right<'_>,
) {
    let (scales, compensation) = (&right.scales[..LANES], &right.compensation[..LANES]);
    for (row, sums) in sums.iter().enumerate() {
        let joined = _mm256_hadd_epi32(sums[0], sums[V - 1]);
        // Both halves of the vectors lie in turn now.
        let sum = _mm256_permute4x64_epi64::<0b11_01_10_00>(joined);
        // SAFETY: the slices have a vector each; of the tile, whose elements all exist, a vector that
        // is not full is written value by value.
        unsafe {
            let sum = _mm256_add_epi32(sum, _mm256_loadu_si256(compensation.as_ptr().cast()));
            let value = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(scales.as_ptr()));
            let value = _mm256_mul_ps(value, _mm256_set1_ps(left.scales[row]));
            let place = into.add(row * tile.stride);
            if tile.columns >= LANES {
                _mm256_storeu_ps(place, value);
                continue;
            }
            let mut values = [0.0; LANES];
            _mm256_storeu_ps(values.as_mut_ptr(), value);
            for (lane, value) in values.iter().enumerate().take(tile.columns) {
                *place.add(lane) = *value;
            }
        }
    }
}
