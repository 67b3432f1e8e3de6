//! The place of a piece of furniture, and the floor that it takes.

use crate::geometry::Rotation;
use crate::vec3::{Vec3, vec3};

/// A place and a direction. Furniture is described in its own coordinates: x to the right along
/// its back, y from its back to its front, z up from the floor, in metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pose {
    pub(crate) origin: Vec3,
    /// Radians, counterclockwise from above.
    pub(crate) yaw: f32,
}

impl Pose {
    pub(crate) fn rotation(&self) -> Rotation {
        Rotation::about_z(self.yaw)
    }

    /// A point of the furniture, in the room.
    pub(crate) fn point(&self, local: Vec3) -> Vec3 {
        self.origin + self.rotation().to_outer(local)
    }

    /// A pose relative to this one.
    pub(crate) fn shifted(&self, x: f32, y: f32, turn: f32) -> Self {
        Self { origin: self.point(vec3(x, y, 0.0)), yaw: self.yaw + turn }
    }

    /// The same, this high.
    pub(crate) fn raised(&self, z: f32) -> Self {
        Self { origin: self.origin + vec3(0.0, 0.0, z), ..*self }
    }

    /// The upright rectangle about these local coordinates.
    pub(crate) fn footprint(&self, x: (f32, f32), y: (f32, f32)) -> Rect {
        let centre = self.point(vec3(0.5 * (x.0 + x.1), 0.5 * (y.0 + y.1), 0.0));
        let half = vec3(0.5 * (x.1 - x.0), 0.5 * (y.1 - y.0), 0.0);
        let extent = self.rotation().extent(half);
        Rect {
            x: (centre.x - extent.x, centre.x + extent.x),
            y: (centre.y - extent.y, centre.y + extent.y),
        }
    }
}

/// An upright rectangle, of the floor or of a wall.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rect {
    pub(crate) x: (f32, f32),
    pub(crate) y: (f32, f32),
}

impl Rect {
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let apart = |a: (f32, f32), b: (f32, f32)| a.1 <= b.0 || b.1 <= a.0;
        !apart(self.x, other.x) && !apart(self.y, other.y)
    }

    pub(crate) fn within(&self, other: &Self) -> bool {
        let inside = |a: (f32, f32), b: (f32, f32)| a.0 >= b.0 && a.1 <= b.1;
        inside(self.x, other.x) && inside(self.y, other.y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::FRAC_PI_2;

    #[test]
    fn footprints_turn_with_the_furniture() {
        let pose = Pose { origin: vec3(1.0, 1.0, 0.0), yaw: FRAC_PI_2 };
        let rect = pose.footprint((-0.5, 0.5), (0.0, 2.0));
        assert_eq!(rect, Rect { x: (-1.0, 1.0), y: (0.5, 1.5) });
        assert!(rect.overlaps(&Rect { x: (0.9, 3.0), y: (1.4, 2.0) }));
        assert!(!rect.overlaps(&Rect { x: (1.0, 3.0), y: (0.0, 2.0) }));
        let larger = Rect { x: (-1.1, 1.0), y: (0.5, 1.5) };
        assert!(rect.within(&larger) && !larger.within(&rect));
    }
}
