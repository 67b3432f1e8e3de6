//! The kernel of AVX-VNNI, which processors without AVX-512 have.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_cvtepi32_ps, _mm256_dpbusd_avx_epi32, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_mul_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_si256,
    _mm256_storeu_ps,
};

use super::by_rows;
use super::kernel::{Kernel, Left, Right, STEP, Tile};

/// Sums of a vector.
const LANES: usize = 8;
/// Bytes of a vector.
const BYTES: usize = LANES * STEP;
/// Columns of a panel.
const COLUMNS: usize = 2 * LANES;

pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni")
}

#[cfg(test)]
pub(super) fn is_half_supported() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

/// Defines a kernel of six rows by two vectors of columns, so that twelve of sixteen registers are
/// sums, by an instruction that adds the products of four pairs of 8 bits to a sum, and its features.
macro_rules! kernel {
    ($(#[$attribute:meta])* $kernel:ident, $module:ident, $dot:path, $features:literal) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy)]
        pub(super) struct $kernel;

        $(#[$attribute])*
        #[allow(unsafe_code)]
        // SAFETY: its instructions are those that its function above asks for.
        unsafe impl Kernel for $kernel {
            const ROWS: usize = 6;
            const COLUMNS: usize = COLUMNS;

            unsafe fn multiply(into: *mut f32, tile: Tile, left: Left<'_>, right: Right<'_>) {
                use $module::multiply;
                // SAFETY: as the caller promises; the kernel is used only where it is supported.
                unsafe {
                    by_rows!(multiply, tile.columns <= LANES, tile.rows, (into, tile, left, right),
                        [1 2 3 4 5 6]);
                }
            }
        }

        $(#[$attribute])*
        mod $module {
            use super::*;

            /// # Safety
            /// As [`Kernel::multiply`], for a tile of `R` rows and at most `8 V` columns.
            #[target_feature(enable = $features)]
            #[allow(unsafe_code)]
            pub(super) unsafe fn multiply<const R: usize, const V: usize>(
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
                                let place = columns_at.add(vector * BYTES);
                                *columns = _mm256_loadu_si256(place.cast());
                            }
                            for (sums, row) in sums.iter_mut().zip(&left.rows) {
                                let values = row.add(at).cast::<i32>().read_unaligned();
                                let values = _mm256_set1_epi32(values);
                                for (sum, &columns) in sums.iter_mut().zip(&columns) {
                                    *sum = $dot(*sum, values, columns);
                                }
                            }
                            columns_at = columns_at.add(COLUMNS * STEP);
                        }
                    }
                }
                // SAFETY: as the caller promises.
                unsafe { write(into, tile, &sums, left, right) }
            }
        }
    };
}

kernel!(AvxVnni, vnni, _mm256_dpbusd_avx_epi32, "avx2,avxvnni");
kernel!(
    #[cfg(test)]
    Avx512Half,
    half,
    std::arch::x86_64::_mm256_dpbusd_epi32,
    "avx2,avx512vl,avx512vnni"
);

/// Writes a tile of these sums.
///
/// # Safety
/// As [`Kernel::multiply`].
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
    for vector in 0..V {
        let first = vector * LANES;
        let (scales, compensation) =
            (&right.scales[first..][..LANES], &right.compensation[first..][..LANES]);
        let count = tile.columns.saturating_sub(first).min(LANES);
        // SAFETY: the slices have a vector each; of the tile, whose elements all exist, a vector that
        // is not full is written value by value.
        unsafe {
            let scales = _mm256_loadu_ps(scales.as_ptr());
            let compensation = _mm256_loadu_si256(compensation.as_ptr().cast());
            for (row, sums) in sums.iter().enumerate() {
                let sum = _mm256_cvtepi32_ps(_mm256_add_epi32(sums[vector], compensation));
                let of_row = _mm256_set1_ps(left.scales[row]);
                let value = _mm256_mul_ps(_mm256_mul_ps(sum, scales), of_row);
                let place = into.add(row * tile.stride + first);
                if count == LANES {
                    _mm256_storeu_ps(place, value);
                    continue;
                }
                let mut values = [0.0; LANES];
                _mm256_storeu_ps(values.as_mut_ptr(), value);
                for (lane, value) in values.iter().enumerate().take(count) {
                    *place.add(lane) = *value;
                }
            }
        }
    }
}
