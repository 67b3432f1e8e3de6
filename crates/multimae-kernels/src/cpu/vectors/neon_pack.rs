//! Packing with NEON.

use std::arch::aarch64::{
    float32x4_t, vcombine_f32, vdupq_n_f32, vget_high_f32, vget_low_f32, vld1q_f32, vst1q_f32,
    vtrn1q_f32, vtrn2q_f32,
};

use super::super::matrix::Matrix;
use super::kernel::Range;
use super::pack;

/// Rows and inner values that are transposed at once.
const GROUP: usize = 4;

/// Packs rows of a matrix in the way that its strides allow.
///
/// # Panics
/// If rows or panel do not hold what is packed.
pub(super) fn pack_rows<const LANES: usize>(
    matrix: Matrix<'_>,
    lanes: Range,
    inner: Range,
    panel: &mut [f32],
) {
    const { assert!(LANES.is_multiple_of(GROUP)) };
    let (slice, shape) = matrix;
    if shape.row_stride == 1 {
        return pack::by_lanes::<LANES>(matrix, lanes, inner, panel);
    }
    let ((first, count), (start, depth)) = (lanes, inner);
    let whole = if shape.column_stride == 1 { depth / GROUP * GROUP } else { 0 };
    if whole > 0 {
        let at = first * shape.row_stride + start;
        let reach = at + (count - 1) * shape.row_stride + whole;
        assert!(count <= LANES && reach <= slice.len(), "rows that reach over their slice");
        assert!(panel.len() >= whole * LANES, "a panel of another size");
        // SAFETY: every processor of this architecture has NEON; rows and panel were just checked.
        #[allow(unsafe_code)]
        unsafe {
            let rows = (slice.as_ptr().add(at), shape.row_stride);
            transpose_rows::<LANES>(rows, count, whole, panel.as_mut_ptr());
        }
    }
    let rest = &mut panel[whole * LANES..];
    pack::by_values::<LANES>(matrix, lanes, (start + whole, depth - whole), rest);
}

/// Packs `count` rows of `depth` values, a multiple of [`GROUP`], by groups of four by four; lanes beyond
/// them are zeros.
///
/// # Safety
/// The rows must exist, and `panel` must have room for `depth` times `LANES` values.
#[target_feature(enable = "neon")]
#[allow(unsafe_code)]
unsafe fn transpose_rows<const LANES: usize>(
    (rows, stride): (*const f32, usize),
    count: usize,
    depth: usize,
    panel: *mut f32,
) {
    for inner in (0..depth).step_by(GROUP) {
        for group in (0..LANES).step_by(GROUP) {
            let mut of_group = [vdupq_n_f32(0.0); GROUP];
            for (lane, values) in of_group.iter_mut().enumerate() {
                if group + lane < count {
                    // SAFETY: one of the `count` rows, each of which has `depth` values.
                    *values = unsafe { vld1q_f32(rows.add((group + lane) * stride + inner)) };
                }
            }
            for (value, lanes) in transpose(of_group).into_iter().enumerate() {
                // SAFETY: `inner + value < depth`, and the group's lanes are among `LANES`.
                unsafe { vst1q_f32(panel.add((inner + value) * LANES + group), lanes) };
            }
        }
    }
}

#[target_feature(enable = "neon")]
fn transpose([a, b, c, d]: [float32x4_t; GROUP]) -> [float32x4_t; GROUP] {
    let (even, odd) = (vtrn1q_f32(a, b), vtrn2q_f32(a, b));
    let (even_below, odd_below) = (vtrn1q_f32(c, d), vtrn2q_f32(c, d));
    [
        vcombine_f32(vget_low_f32(even), vget_low_f32(even_below)),
        vcombine_f32(vget_low_f32(odd), vget_low_f32(odd_below)),
        vcombine_f32(vget_high_f32(even), vget_high_f32(even_below)),
        vcombine_f32(vget_high_f32(odd), vget_high_f32(odd_below)),
    ]
}
