//! Rounding to bfloat16 and bringing into panels.

use std::arch::x86_64::{
    __m256bh, __m256i, __m512, _mm256_loadu_ps, _mm256_permute2x128_si256,
    _mm256_permutexvar_epi16, _mm256_setr_epi16, _mm256_storeu_si256, _mm256_unpackhi_epi32,
    _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm512_castps256_ps512,
    _mm512_cvtneps_pbh, _mm512_insertf32x8, _mm512_loadu_ps,
};

use super::super::matrix::Matrix;

/// Lanes that are packed at once.
const GROUP: usize = 8;
/// Values of a vector.
const VECTOR: usize = 16;

/// Packs `LANES` rows of a matrix from `first` on; rows beyond the last are zeros.
///
/// # Shapes
/// `panel (pairs, LANES)`, words of two neighbouring values of a row, the first in the lower half; a
/// value beyond an odd number of columns is zero.
///
/// # Panics
/// If the panel has another size, or the matrix reaches over its slice.
pub(super) fn pack<const LANES: usize>(
    (slice, shape): Matrix<'_>,
    first: usize,
    panel: &mut [u32],
) {
    let pairs = shape.columns.div_ceil(2);
    assert!(LANES.is_multiple_of(GROUP) && panel.len() == pairs * LANES, "a panel of another size");
    assert!(shape.extent() <= slice.len(), "a matrix reaches over its slice");
    for group in (0..LANES).step_by(GROUP) {
        let lane = first + group;
        let lanes = GROUP.min(shape.rows.saturating_sub(lane));
        let done = if lanes < GROUP {
            0
        } else if shape.column_stride == 1 {
            // SAFETY: the processor has the instructions, as `bf16::multiply` asserts; all lanes are
            // rows of the matrix, which lies in its slice; the panel has room for all pairs.
            #[allow(unsafe_code)]
            unsafe {
                let from = slice.as_ptr().add(lane * shape.row_stride);
                rows_of_neighbours::<LANES>(
                    from,
                    shape.row_stride,
                    shape.columns / VECTOR,
                    panel.as_mut_ptr().add(group),
                )
            }
        } else if shape.row_stride == 1 {
            // SAFETY: as above.
            #[allow(unsafe_code)]
            unsafe {
                columns_of_neighbours::<LANES>(
                    slice.as_ptr().add(lane),
                    shape.column_stride,
                    shape.columns / 2,
                    panel.as_mut_ptr().add(group),
                )
            }
        } else {
            0
        };
        for pair in done..pairs {
            for offset in 0..GROUP {
                let value = |column: usize| -> u32 {
                    if offset >= lanes || column >= shape.columns {
                        return 0;
                    }
                    let at = (lane + offset) * shape.row_stride + column * shape.column_stride;
                    u32::from(rounded(slice[at]))
                };
                panel[pair * LANES + group + offset] = value(2 * pair) | value(2 * pair + 1) << 16;
            }
        }
    }
}

/// The nearest bfloat16, as the processor rounds: ties to even, denormal numbers to zero.
pub(super) fn rounded(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    if value.is_subnormal() {
        return (bits >> 16) as u16 & 0x8000;
    }
    let even = (bits >> 16) & 1;
    ((bits + 0x7fff + even) >> 16) as u16
}

/// Packs eight rows whose values are neighbours, `vectors` times 16 of them; gives the pairs.
///
/// # Safety
/// The rows must hold `vectors` times 16 values and `panel` as many pairs of `LANES` words.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn rows_of_neighbours<const LANES: usize>(
    from: *const f32,
    stride: usize,
    vectors: usize,
    panel: *mut u32,
) -> usize {
    for vector in 0..vectors {
        let mut rows = [words(_mm512_cvtneps_pbh(zeros())); GROUP];
        for (lane, row) in rows.iter_mut().enumerate() {
            // SAFETY: the row has this vector.
            let values = unsafe { _mm512_loadu_ps(from.add(lane * stride + vector * VECTOR)) };
            *row = words(_mm512_cvtneps_pbh(values));
        }
        for (pair, lanes) in mirrored(rows).into_iter().enumerate() {
            // SAFETY: the panel has this pair.
            unsafe {
                let to = panel.add((vector * VECTOR / 2 + pair) * LANES);
                _mm256_storeu_si256(to.cast::<__m256i>(), lanes);
            }
        }
    }
    vectors * VECTOR / 2
}

/// Packs eight neighbouring rows, `pairs` times two of their values; gives the pairs.
///
/// # Safety
/// The rows must hold `pairs` times two values and `panel` as many pairs of `LANES` words.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn columns_of_neighbours<const LANES: usize>(
    from: *const f32,
    stride: usize,
    pairs: usize,
    panel: *mut u32,
) -> usize {
    let interleaving = _mm256_setr_epi16(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    for pair in 0..pairs {
        // SAFETY: both columns have eight rows from here on.
        let (first, second) = unsafe {
            (
                _mm256_loadu_ps(from.add(2 * pair * stride)),
                _mm256_loadu_ps(from.add((2 * pair + 1) * stride)),
            )
        };
        let both = _mm512_insertf32x8::<1>(_mm512_castps256_ps512(first), second);
        let lanes = _mm256_permutexvar_epi16(interleaving, words(_mm512_cvtneps_pbh(both)));
        // SAFETY: the panel has this pair.
        unsafe { _mm256_storeu_si256(panel.add(pair * LANES).cast::<__m256i>(), lanes) };
    }
    pairs
}

#[target_feature(enable = "avx512f")]
fn zeros() -> __m512 {
    std::arch::x86_64::_mm512_setzero_ps()
}

/// The same bits as words.
#[target_feature(enable = "avx512f")]
fn words(halves: __m256bh) -> __m256i {
    // SAFETY: both are 256 bits, of which every pattern is a value.
    #[allow(unsafe_code)]
    unsafe {
        std::mem::transmute::<__m256bh, __m256i>(halves)
    }
}

/// Eight rows of eight words, mirrored at the diagonal.
#[target_feature(enable = "avx2")]
fn mirrored(rows: [__m256i; GROUP]) -> [__m256i; GROUP] {
    let [a, b, c, d, e, f, g, h] = rows;
    // Words of pairs of rows side by side, then of four rows, in either half.
    let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
    let (ef, gh) = (_mm256_unpacklo_epi32(e, f), _mm256_unpacklo_epi32(g, h));
    let (ab2, cd2) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
    let (ef2, gh2) = (_mm256_unpackhi_epi32(e, f), _mm256_unpackhi_epi32(g, h));
    let above = [
        _mm256_unpacklo_epi64(ab, cd),
        _mm256_unpackhi_epi64(ab, cd),
        _mm256_unpacklo_epi64(ab2, cd2),
        _mm256_unpackhi_epi64(ab2, cd2),
    ];
    let below = [
        _mm256_unpacklo_epi64(ef, gh),
        _mm256_unpackhi_epi64(ef, gh),
        _mm256_unpacklo_epi64(ef2, gh2),
        _mm256_unpackhi_epi64(ef2, gh2),
    ];
    let low = |i: usize| _mm256_permute2x128_si256::<0x20>(above[i], below[i]);
    let high = |i: usize| _mm256_permute2x128_si256::<0x31>(above[i], below[i]);
    [low(0), low(1), low(2), low(3), high(0), high(1), high(2), high(3)]
}
