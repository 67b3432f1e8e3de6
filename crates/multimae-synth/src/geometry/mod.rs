//! Shapes, and where rays meet them. World coordinates: metres, z up, the floor at z = 0.

mod body;
mod rotation;
mod solid;
mod tree;

#[cfg(test)]
pub(crate) use body::Body;
pub(crate) use rotation::Rotation;
pub(crate) use solid::{Shape, Solid};
pub(crate) use tree::{Bounds, Tree};

use crate::vec3::Vec3;

/// Hits nearer than this are the surface that the ray starts on.
pub(crate) const NEAREST: f32 = 1e-4;

/// A half line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ray {
    pub(crate) origin: Vec3,
    /// Any length: distances along the ray count in it.
    pub(crate) direction: Vec3,
}

impl Ray {
    pub(crate) fn at(&self, distance: f32) -> Vec3 {
        self.origin + self.direction * distance
    }

    /// One over the direction, finite: a ray along a face must not meet it at "0 times infinity".
    fn inverse(&self) -> Vec3 {
        self.direction.map(|d| if d.abs() > 1e-12 { d.recip() } else { 1e12_f32.copysign(d) })
    }
}
