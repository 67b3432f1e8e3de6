//! Turned coordinate systems.

use crate::vec3::{Vec3, vec3};

/// A rotation: the axes of the local system, in the outer one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rotation([Vec3; 3]);

impl Rotation {
    pub(crate) const NONE: Self =
        Self([vec3(1.0, 0.0, 0.0), vec3(0.0, 1.0, 0.0), vec3(0.0, 0.0, 1.0)]);

    /// About the vertical axis, by radians, counterclockwise from above.
    pub(crate) fn about_z(angle: f32) -> Self {
        let (sin, cos) = exact_sin_cos(angle);
        Self([vec3(cos, sin, 0.0), vec3(-sin, cos, 0.0), vec3(0.0, 0.0, 1.0)])
    }

    /// About the x axis, by radians: the y axis rises.
    pub(crate) fn about_x(angle: f32) -> Self {
        let (sin, cos) = exact_sin_cos(angle);
        Self([vec3(1.0, 0.0, 0.0), vec3(0.0, cos, sin), vec3(0.0, -sin, cos)])
    }

    /// About the y axis, by radians: the x axis sinks.
    pub(crate) fn about_y(angle: f32) -> Self {
        let (sin, cos) = exact_sin_cos(angle);
        Self([vec3(cos, 0.0, -sin), vec3(0.0, 1.0, 0.0), vec3(sin, 0.0, cos)])
    }

    /// First `inner`, then this one.
    pub(crate) fn after(&self, inner: &Self) -> Self {
        Self(inner.0.map(|axis| self.to_outer(axis)))
    }

    pub(crate) fn to_outer(self, v: Vec3) -> Vec3 {
        self.0[0] * v.x + self.0[1] * v.y + self.0[2] * v.z
    }

    pub(crate) fn to_local(self, v: Vec3) -> Vec3 {
        vec3(self.0[0].dot(v), self.0[1].dot(v), self.0[2].dot(v))
    }

    /// Half the size of the upright box about a turned box of these half sizes.
    pub(crate) fn extent(&self, half: Vec3) -> Vec3 {
        self.0[0].abs() * half.x + self.0[1].abs() * half.y + self.0[2].abs() * half.z
    }
}

/// Sine and cosine. Quarter turns, which most furniture has, come out without rounding.
fn exact_sin_cos(angle: f32) -> (f32, f32) {
    let (sin, cos) = angle.sin_cos();
    let clean = |v: f32| if (v - v.round()).abs() < 1e-6 { v.round() } else { v };
    (clean(sin), clean(cos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::FRAC_PI_2;

    #[test]
    fn there_and_back() {
        let turn = Rotation::about_z(0.3).after(&Rotation::about_x(1.1));
        let v = vec3(0.3, -2.0, 1.5);
        assert!((turn.to_local(turn.to_outer(v)) - v).length() < 1e-6);
    }

    #[test]
    fn quarter_turns_are_exact() {
        let x = vec3(1.0, 0.0, 0.0);
        assert_eq!(Rotation::about_z(FRAC_PI_2).to_outer(x), vec3(0.0, 1.0, 0.0));
        assert_eq!(Rotation::about_y(FRAC_PI_2).to_outer(x), vec3(0.0, 0.0, -1.0));
    }
}
