//! Smooth noise: a random number for every place, without a table.

use crate::vec3::Vec3;

/// A well mixed number from three.
pub(crate) fn hash(x: i32, y: i32, z: i32) -> u32 {
    let mut h = (x as u32).wrapping_mul(0x8da6_b343)
        ^ (y as u32).wrapping_mul(0xd816_3841)
        ^ (z as u32).wrapping_mul(0xcb1a_b31f);
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    h ^ (h >> 15)
}

/// A hash as a number from 0 to 1.
pub(crate) fn unit(hash: u32) -> f32 {
    (hash >> 8) as f32 / 16_777_216.0
}

/// The whole number below. Faster than `f32::floor`, which is a call on older processors; for
/// numbers that fit an `i32`.
pub(super) fn floor(x: f32) -> f32 {
    let whole = x as i32 as f32;
    if whole > x { whole - 1.0 } else { whole }
}

/// The fraction above the whole number below.
pub(super) fn fraction(x: f32) -> f32 {
    x - floor(x)
}

/// Noise from 0 to 1 that varies over lengths of about 1.
pub(super) fn smooth(p: Vec3) -> f32 {
    let cell = p.map(floor);
    let share = (p - cell).map(|s| s * s * (3.0 - 2.0 * s));
    let (x, y, z) = (cell.x as i32, cell.y as i32, cell.z as i32);
    let corner =
        |dx, dy, dz| unit(hash(x.wrapping_add(dx), y.wrapping_add(dy), z.wrapping_add(dz)));
    let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
    let edge = |dy, dz| mix(corner(0, dy, dz), corner(1, dy, dz), share.x);
    let face = |dz| mix(edge(0, dz), edge(1, dz), share.y);
    mix(face(0), face(1), share.z)
}

/// Noise of two sizes, from 0 to 1.
pub(super) fn rough(p: Vec3) -> f32 {
    0.65 * smooth(p) + 0.35 * smooth(p * 2.7 + Vec3::splat(5.3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vec3::vec3;

    #[test]
    fn noise_is_smooth_and_spread() {
        let (mut sum, mut low, mut high) = (0.0, 1.0_f32, 0.0_f32);
        for i in 0..2000 {
            let p = vec3(i as f32 * 0.37, i as f32 * -0.11, 0.5);
            let (value, near) = (smooth(p), smooth(p + Vec3::splat(1e-3)));
            assert!((value - near).abs() < 0.02);
            sum += value;
            low = low.min(value);
            high = high.max(value);
        }
        assert!((sum / 2000.0 - 0.5).abs() < 0.05 && low < 0.15 && high > 0.85);
    }
}
