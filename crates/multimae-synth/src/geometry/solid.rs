//! Blocks, cylinders and ellipsoids: what they are and where their surfaces look.

use super::{Bounds, Rotation};
use crate::material::Surface;
use crate::vec3::{Vec3, vec3};

/// The shape of a solid, about its centre, in units of its half sizes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    /// A box.
    Block,
    /// About the local z axis. The radius falls from 1 at the bottom to `1 - taper` at the top.
    Cylinder { taper: f32 },
    /// An ellipsoid.
    Ellipsoid,
}

/// One body of the scene.
#[derive(Debug, Clone)]
pub(crate) struct Solid {
    pub(crate) shape: Shape,
    pub(crate) centre: Vec3,
    pub(crate) half: Vec3,
    pub(crate) rotation: Rotation,
    pub(crate) surface: Surface,
}

impl Solid {
    pub(crate) fn bounds(&self) -> Bounds {
        let extent = self.rotation.extent(self.half);
        Bounds { low: self.centre - extent, high: self.centre + extent }
    }

    /// The point in local coordinates, in metres.
    pub(crate) fn local(&self, point: Vec3) -> Vec3 {
        self.rotation.to_local(point - self.centre)
    }

    /// The outward normal, in local coordinates, where a ray of this local direction meets the
    /// surface. At an edge the direction decides: the ray comes from outside.
    pub(crate) fn local_normal(&self, point: Vec3, direction: Vec3) -> Vec3 {
        match self.shape {
            Shape::Block => self.block_normal(point, direction),
            Shape::Cylinder { taper } => self.cylinder_normal(point, direction, taper),
            Shape::Ellipsoid => point.zip(self.half, |p, half| p / (half * half)).normalised(),
        }
    }

    /// Of the faces that look at the ray, the nearest.
    fn block_normal(&self, point: Vec3, direction: Vec3) -> Vec3 {
        let side = direction.map(|d| -1_f32.copysign(d));
        let gap = (self.half * side - point).abs();
        if gap.x < gap.y && gap.x < gap.z {
            vec3(side.x, 0.0, 0.0)
        } else if gap.y < gap.z {
            vec3(0.0, side.y, 0.0)
        } else {
            vec3(0.0, 0.0, side.z)
        }
    }

    fn cylinder_normal(&self, point: Vec3, direction: Vec3, taper: f32) -> Vec3 {
        let unit = point.zip(self.half, |p, half| p / half);
        let radius = cylinder_radius(unit.z, taper);
        let side_gap = (unit.x.hypot(unit.y) - radius).abs() * self.half.x.min(self.half.y);
        let slope = vec3(unit.x, unit.y, 0.5 * taper * radius);
        let side = slope.zip(self.half, |n, half| n / half).normalised();
        let cap = -1_f32.copysign(direction.z);
        let on_cap = (self.half.z * cap - point.z).abs() < side_gap;
        if on_cap || side.dot(direction) > 0.0 { vec3(0.0, 0.0, cap) } else { side }
    }
}

/// The radius at the height `z`, from -1 to 1.
pub(super) fn cylinder_radius(z: f32, taper: f32) -> f32 {
    1.0 - 0.5 * taper * (z + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Body, Ray};
    use crate::labels::Label;
    use crate::material::Material;

    fn solid(shape: Shape) -> Solid {
        Solid {
            shape,
            centre: vec3(1.0, 2.0, 0.5),
            half: vec3(0.4, 0.3, 0.5),
            rotation: Rotation::about_z(0.4).after(&Rotation::about_x(0.2)),
            surface: Material::paint(Vec3::splat(0.5)).on(Label::Box),
        }
    }

    const SHAPES: [Shape; 4] = [
        Shape::Block,
        Shape::Cylinder { taper: 0.0 },
        Shape::Cylinder { taper: 0.5 },
        Shape::Ellipsoid,
    ];

    /// Rays from all around: where they hit, the normal looks at them, and a step back is outside.
    #[test]
    fn normals_look_outward() {
        for shape in SHAPES {
            let solid = solid(shape);
            for i in 0..20_000 {
                let angle = i as f32 * 0.7;
                let from = vec3(angle.cos(), angle.sin(), (i as f32 * 0.13).sin()) * 3.0;
                let ray = Ray { origin: solid.centre + from, direction: -from.normalised() };
                let distance = Body::of(&solid).intersect(&ray).unwrap();
                let local = solid.local(ray.at(distance));
                let direction = solid.rotation.to_local(ray.direction);
                let normal = solid.rotation.to_outer(solid.local_normal(local, direction));
                assert!((normal.length() - 1.0).abs() < 1e-5);
                assert!(normal.dot(ray.direction) < 0.0, "{shape:?} {i}");
                assert!(solid.bounds().padded(1e-4).contains(ray.at(distance)));
            }
        }
    }

    #[test]
    fn rays_beside_miss() {
        for shape in SHAPES {
            let ray = Ray { origin: vec3(1.0, 2.0, 3.0), direction: vec3(1.0, 0.0, 0.0) };
            assert_eq!(Body::of(&solid(shape)).intersect(&ray), None);
        }
    }

    #[test]
    fn a_block_is_met_at_its_face() {
        let block = Solid { rotation: Rotation::NONE, ..solid(Shape::Block) };
        let ray = Ray { origin: vec3(-1.0, 2.1, 0.6), direction: vec3(1.0, 0.0, 0.0) };
        assert!((Body::of(&block).intersect(&ray).unwrap() - 1.6).abs() < 1e-6);
    }
}
