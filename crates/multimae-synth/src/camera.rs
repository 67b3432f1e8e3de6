//! The camera: a pinhole like that of NYUv2.

use crate::geometry::Ray;
use crate::vec3::{Vec3, vec3};

/// Focal length of the NYUv2 colour camera, in widths of the picture.
const FOCAL_PER_WIDTH: f32 = 519.0 / 640.0;

/// The projection of points to pixels. In pixels; the first pixel's centre is at `(0.5, 0.5)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Intrinsics {
    /// Focal length, the same along both axes.
    pub focal: f32,
    /// The column of the optical axis.
    pub cx: f32,
    /// The row of the optical axis.
    pub cy: f32,
}

/// The intrinsics of frames of this size, (height, width): those of NYUv2, scaled to the width.
#[must_use]
pub fn intrinsics(size: (usize, usize)) -> Intrinsics {
    let (height, width) = (size.0 as f32, size.1 as f32);
    Intrinsics { focal: FOCAL_PER_WIDTH * width, cx: 0.5 * width, cy: 0.5 * height }
}

/// A camera at its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Camera {
    pub(crate) position: Vec3,
    right: Vec3,
    down: Vec3,
    forward: Vec3,
}

impl Camera {
    /// Looks along `yaw` (radians, counterclockwise from the x axis), up by `pitch`, rolled by
    /// `roll`.
    pub(crate) fn new(position: Vec3, yaw: f32, pitch: f32, roll: f32) -> Self {
        let forward = vec3(yaw.cos() * pitch.cos(), yaw.sin() * pitch.cos(), pitch.sin());
        let level = forward.cross(Vec3::UP).normalised();
        let plumb = forward.cross(level);
        let right = level * roll.cos() + plumb * roll.sin();
        Self { position, right, down: forward.cross(right), forward }
    }

    /// The ray through the pixel coordinates `(x, y)`. Distances along it are depths: the
    /// direction's part along the optical axis is 1.
    pub(crate) fn ray(&self, intrinsics: &Intrinsics, x: f32, y: f32) -> Ray {
        let right = (x - intrinsics.cx) / intrinsics.focal;
        let down = (y - intrinsics.cy) / intrinsics.focal;
        let direction = self.forward + self.right * right + self.down * down;
        Ray { origin: self.position, direction }
    }

    /// A direction in camera coordinates: x right, y down, z forward.
    pub(crate) fn to_camera(self, direction: Vec3) -> Vec3 {
        vec3(direction.dot(self.right), direction.dot(self.down), direction.dot(self.forward))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_as_documented() {
        let camera = Camera::new(vec3(1.0, 2.0, 1.5), 0.0, 0.0, 0.0);
        let close = |a: Vec3, b: Vec3| assert!((a - b).length() < 1e-6, "{a:?} {b:?}");
        close(camera.to_camera(vec3(1.0, 0.0, 0.0)), vec3(0.0, 0.0, 1.0));
        close(camera.to_camera(vec3(0.0, -1.0, 0.0)), vec3(1.0, 0.0, 0.0));
        close(camera.to_camera(Vec3::UP), vec3(0.0, -1.0, 0.0));
        let axis = camera.ray(&intrinsics((224, 224)), 112.0, 112.0);
        close(axis.direction, vec3(1.0, 0.0, 0.0));
    }

    #[test]
    fn widths_scale_the_focal_length() {
        assert_eq!(intrinsics((480, 640)), Intrinsics { focal: 519.0, cx: 320.0, cy: 240.0 });
        assert!((intrinsics((224, 224)).focal - 181.65).abs() < 1e-3);
    }
}
