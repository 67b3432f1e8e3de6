//! The transforms of Winograd F(4, 3) along one axis.
//!
//! They interpolate at 0, 1/q, -1/q, q, -q and infinity with q = sqrt 2. That the points are each other's
//! inverses keeps the factors small and leaves a fourth of the rounding errors of the usual 1, -1, 2, -2
//! (Barabasz et al., 2020, study the choice).

use super::{SIDE, TILE};

const ROOT: f32 = std::f32::consts::SQRT_2;
const INVERSE: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// `G g`.
#[inline(always)]
pub(super) fn spread_taps([a, b, c]: [f32; 3]) -> [f32; SIDE] {
    let (near, far) = (a.mul_add(-2.0 / 3.0, c * (-1.0 / 3.0)), a.mul_add(1.0 / 6.0, c / 3.0));
    let (slope, steep) = (b * (-2.0 / 3.0 * INVERSE), b * (ROOT / 6.0));
    [a, near + slope, near - slope, far + steep, far - steep, c]
}

/// `G^T g`.
#[inline(always)]
pub(super) fn gather_taps([a, b, c, d, e, f]: [f32; SIDE]) -> [f32; 3] {
    let (near, far) = (b + c, d + e);
    [
        near.mul_add(-2.0 / 3.0, far.mul_add(1.0 / 6.0, a)),
        (b - c).mul_add(-2.0 / 3.0 * INVERSE, (d - e) * (ROOT / 6.0)),
        (far - near).mul_add(1.0 / 3.0, f),
    ]
}

/// `B^T d`.
#[inline(always)]
pub(super) fn spread_pixels([a, b, c, d, e, f]: [f32; SIDE]) -> [f32; SIDE] {
    let (near, far) = (c.mul_add(-2.0, e), c.mul_add(-0.5, e));
    let (slope, steep) = (INVERSE * b.mul_add(-2.0, d), b.mul_add(-0.5, d) * ROOT);
    [
        c.mul_add(-2.5, a + e),
        near + slope,
        near - slope,
        far + steep,
        far - steep,
        d.mul_add(-2.5, b + f),
    ]
}

/// `A^T m`.
#[inline(always)]
pub(super) fn gather_pixels([a, b, c, d, e, f]: [f32; SIDE]) -> [f32; TILE] {
    let (near, far) = (b + c, d + e);
    let (slope, steep) = ((b - c) * INVERSE, (d - e) * ROOT);
    [
        a + near + far,
        slope + steep,
        near.mul_add(0.5, far * 2.0),
        slope.mul_add(0.5, steep.mul_add(2.0, f)),
    ]
}

/// `A dy`.
#[inline(always)]
pub(super) fn spread_outputs([a, b, c, d]: [f32; TILE]) -> [f32; SIDE] {
    let (near, far) = (c.mul_add(0.5, a), c.mul_add(2.0, a));
    let (slope, steep) = (d.mul_add(0.5, b) * INVERSE, d.mul_add(2.0, b) * ROOT);
    [a, near + slope, near - slope, far + steep, far - steep, d]
}
