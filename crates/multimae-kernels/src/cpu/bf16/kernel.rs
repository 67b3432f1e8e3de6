//! A panel of eight rows times a panel of 48 columns.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, __mmask16, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_loadu_si512,
    _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps,
};

use super::super::tile::Tile;
use super::{COLUMNS, ROWS};

/// Values of a vector.
const LANES: usize = 16;
/// Vectors of a row.
const VECTORS: usize = COLUMNS / LANES;

/// `into (+)= scale * left right`.
///
/// # Shapes
/// `left (pairs, ROWS)`, `right (pairs, COLUMNS)`, words of two values each.
///
/// # Panics
/// If the panels are of different length or the tile reaches over `into`.
pub(super) fn multiply(into: &mut [f32], tile: Tile, left: &[u32], right: &[u32]) {
    let pairs = left.len() / ROWS;
    assert!(left.len() == pairs * ROWS && right.len() == pairs * COLUMNS, "panels that do not fit");
    assert!(
        (1..=ROWS).contains(&tile.rows)
            && (1..=COLUMNS).contains(&tile.columns)
            && (tile.rows - 1) * tile.stride + tile.columns <= into.len(),
        "a tile that reaches over its matrix"
    );
    // SAFETY: the caller has seen that the processor has these instructions (`supported`, asserted
    // by `bf16::multiply`, the only way here); panels and tile lie in their slices (asserted
    // above).
    #[allow(unsafe_code)]
    unsafe {
        store(into.as_mut_ptr(), tile, &products(pairs, left.as_ptr(), right.as_ptr()));
    }
}

/// Sums of products of all rows and columns.
///
/// # Safety
/// `left` and `right` must hold `pairs` times [`ROWS`] and [`COLUMNS`] words.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn products(pairs: usize, left: *const u32, right: *const u32) -> [[__m512; VECTORS]; ROWS] {
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    for pair in 0..pairs {
        let mut columns = [_mm512_set1_epi32(0); VECTORS];
        for (vector, columns) in columns.iter_mut().enumerate() {
            // SAFETY: `pair < pairs`, and a pair has `COLUMNS` words.
            *columns = unsafe {
                _mm512_loadu_si512(right.add(pair * COLUMNS + vector * LANES).cast::<__m512i>())
            };
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `pair < pairs`, and a pair has `ROWS` words.
            let value = _mm512_set1_epi32(unsafe { *left.add(pair * ROWS + row) }.cast_signed());
            for (sum, &columns) in sums.iter_mut().zip(&columns) {
                *sum = _mm512_dpbf16_ps(*sum, halves(value), halves(columns));
            }
        }
    }
    sums
}

/// The same bits as 32 halves.
#[target_feature(enable = "avx512f")]
fn halves(words: __m512i) -> __m512bh {
    // SAFETY: both are 512 bits, of which every pattern is a value.
    #[allow(unsafe_code)]
    unsafe {
        std::mem::transmute::<__m512i, __m512bh>(words)
    }
}

/// Writes the sums that belong to the tile.
///
/// # Safety
/// Every element of the tile must lie behind `into`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[allow(unsafe_code)]
unsafe fn store(into: *mut f32, tile: Tile, sums: &[[__m512; VECTORS]; ROWS]) {
    let scale = _mm512_set1_ps(tile.scale);
    for (row, sums) in sums.iter().enumerate().take(tile.rows) {
        for (vector, &sum) in sums.iter().enumerate() {
            let first = vector * LANES;
            if first >= tile.columns {
                break;
            }
            let count = LANES.min(tile.columns - first);
            let mask: __mmask16 = (u32::MAX >> (32 - count)) as u16;
            // SAFETY: the mask leaves the columns of the tile, whose elements are all there.
            unsafe {
                let place = into.add(row * tile.stride + first);
                let mut value = _mm512_mul_ps(sum, scale);
                if tile.add {
                    value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, place));
                }
                _mm512_mask_storeu_ps(place, mask, value);
            }
        }
    }
}
