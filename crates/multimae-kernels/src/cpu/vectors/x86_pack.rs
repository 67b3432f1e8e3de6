//! Packing with AVX2.

use std::arch::x86_64::{
    __m256, _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_setzero_ps, _mm256_shuffle_ps,
    _mm256_storeu_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

use super::super::matrix::Matrix;
use super::kernel::{Range, SPILL};
use super::pack;

/// Rows and inner values that are transposed at once.
const GROUP: usize = 8;

/// Packs rows of a matrix in the way that its strides allow. `GROUPS` is `LANES / 8`, rounded up; of
/// the last group up to [`SPILL`] values land behind the panel.
///
/// # Panics
/// If the processor has no AVX2, or rows or panel do not hold what is packed.
pub(super) fn pack_rows<const LANES: usize, const GROUPS: usize>(
    matrix: Matrix<'_>,
    lanes: Range,
    inner: Range,
    panel: &mut [f32],
) {
    const { assert!(GROUPS == LANES.div_ceil(GROUP) && GROUPS * GROUP - LANES <= SPILL) };
    let (slice, shape) = matrix;
    if shape.row_stride == 1 {
        return pack::by_lanes::<LANES>(matrix, lanes, inner, panel);
    }
    let ((first, count), (start, depth)) = (lanes, inner);
    let whole = if shape.column_stride == 1 { depth / GROUP * GROUP } else { 0 };
    if whole > 0 {
        let at = first * shape.row_stride + start;
        let reach = at + (count - 1) * shape.row_stride + whole;
        assert!(is_x86_feature_detected!("avx2"), "a processor without AVX2");
        assert!(count <= LANES && reach <= slice.len(), "rows that reach over their slice");
        assert!(panel.len() >= whole * LANES + GROUPS * GROUP - LANES, "a panel of another size");
        // SAFETY: the processor has AVX2; rows and panel were just checked.
        #[allow(unsafe_code)]
        unsafe {
            let rows = slice.as_ptr().add(at);
            transpose_rows::<LANES, GROUPS>(
                (rows, shape.row_stride),
                count,
                whole,
                panel.as_mut_ptr(),
            );
        }
    }
    let rest = &mut panel[whole * LANES..];
    pack::by_values::<LANES>(matrix, lanes, (start + whole, depth - whole), rest);
}

/// Packs `count` rows of `depth` values, a multiple of [`GROUP`], by groups of eight by eight.
///
/// # Safety
/// The rows must exist, and `panel` must have room for `depth` times `LANES` values and for those of a
/// group beyond the last lane.
#[target_feature(enable = "avx2")]
#[allow(unsafe_code)]
unsafe fn transpose_rows<const LANES: usize, const GROUPS: usize>(
    (rows, stride): (*const f32, usize),
    count: usize,
    depth: usize,
    panel: *mut f32,
) {
    for inner in (0..depth).step_by(GROUP) {
        let mut transposed = [[_mm256_setzero_ps(); GROUP]; GROUPS];
        for (group, transposed) in transposed.iter_mut().enumerate() {
            let mut of_group = [_mm256_setzero_ps(); GROUP];
            for (lane, values) in of_group.iter_mut().enumerate() {
                let row = group * GROUP + lane;
                if row < count {
                    // SAFETY: one of the `count` rows, each of which has `depth` values.
                    *values = unsafe { _mm256_loadu_ps(rows.add(row * stride + inner)) };
                }
            }
            *transposed = transpose(of_group);
        }
        // The next inner value overwrites the lanes of a group beyond the last.
        for value in 0..GROUP {
            for (group, transposed) in transposed.iter().enumerate() {
                // SAFETY: `inner + value < depth`; room beyond the last lane is promised.
                unsafe {
                    let place = panel.add((inner + value) * LANES + group * GROUP);
                    _mm256_storeu_ps(place, transposed[value]);
                }
            }
        }
    }
}

#[target_feature(enable = "avx2")]
fn transpose(rows: [__m256; GROUP]) -> [__m256; GROUP] {
    let pairs = |a: __m256, b: __m256| (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    let fours = |a: (__m256, __m256), b: (__m256, __m256)| {
        [
            _mm256_shuffle_ps::<0x44>(a.0, b.0),
            _mm256_shuffle_ps::<0xee>(a.0, b.0),
            _mm256_shuffle_ps::<0x44>(a.1, b.1),
            _mm256_shuffle_ps::<0xee>(a.1, b.1),
        ]
    };
    let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
    let front = fours(pairs(r0, r1), pairs(r2, r3));
    let back = fours(pairs(r4, r5), pairs(r6, r7));
    let low = |at: usize| _mm256_permute2f128_ps::<0x20>(front[at], back[at]);
    let high = |at: usize| _mm256_permute2f128_ps::<0x31>(front[at], back[at]);
    [low(0), low(1), low(2), low(3), high(0), high(1), high(2), high(3)]
}
