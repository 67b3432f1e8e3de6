//! Helpers of the kernels' tests.

use super::matrix::Matrix;

/// Deterministic numbers in [-1, 1).
pub(crate) fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Fails unless every difference is within `tolerance` of the larger of 1 and the largest value.
#[track_caller]
pub(crate) fn assert_close(got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len());
    let scale = expected.iter().fold(1.0f32, |scale, v| scale.max(v.abs()));
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(
            (got - expected).abs() <= tolerance * scale,
            "element {index}: {got} instead of {expected}"
        );
    }
}

/// A GEMM, summed in fp64.
pub(crate) fn product((a, a_shape): Matrix<'_>, (b, b_shape): Matrix<'_>) -> Vec<f32> {
    let mut product = Vec::new();
    for row in 0..a_shape.rows {
        for column in 0..b_shape.columns {
            let term = |i: usize| {
                f64::from(a[row * a_shape.row_stride + i * a_shape.column_stride])
                    * f64::from(b[i * b_shape.row_stride + column * b_shape.column_stride])
            };
            product.push((0..a_shape.columns).map(term).sum::<f64>() as f32);
        }
    }
    product
}
