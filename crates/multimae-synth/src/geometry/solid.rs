//! Blocks, cylinders and ellipsoids.
//!
//! Every shape is the image of a shape of size one: the ray is brought into the local coordinates,
//! divided by the half sizes, and met there. Distances along the ray stay the same.

use super::{Bounds, NEAREST, Ray, Rotation};
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

    /// The distance along the ray to where it first meets the surface.
    pub(crate) fn intersect(&self, ray: &Ray) -> Option<f32> {
        let inverse = self.half.map(f32::recip);
        let ray = Ray {
            origin: self.local(ray.origin) * inverse,
            direction: self.rotation.to_local(ray.direction) * inverse,
        };
        match self.shape {
            Shape::Block => meet_block(&ray),
            Shape::Cylinder { taper } => meet_cylinder(&ray, taper),
            Shape::Ellipsoid => meet_sphere(&ray),
        }
    }

    /// The outward normal, in local coordinates, at a local point of the surface.
    pub(crate) fn local_normal(&self, point: Vec3) -> Vec3 {
        match self.shape {
            Shape::Block => self.block_normal(point),
            Shape::Cylinder { taper } => self.cylinder_normal(point, taper),
            Shape::Ellipsoid => point.zip(self.half, |p, half| p / (half * half)).normalised(),
        }
    }

    fn block_normal(&self, point: Vec3) -> Vec3 {
        let gap = (self.half - point.abs()).abs();
        if gap.x < gap.y && gap.x < gap.z {
            vec3(1_f32.copysign(point.x), 0.0, 0.0)
        } else if gap.y < gap.z {
            vec3(0.0, 1_f32.copysign(point.y), 0.0)
        } else {
            vec3(0.0, 0.0, 1_f32.copysign(point.z))
        }
    }

    fn cylinder_normal(&self, point: Vec3, taper: f32) -> Vec3 {
        let unit = point.zip(self.half, |p, half| p / half);
        let radius = cylinder_radius(unit.z, taper);
        let side_gap = (unit.x.hypot(unit.y) - radius).abs() * self.half.x.min(self.half.y);
        if (self.half.z - point.z.abs()).abs() < side_gap {
            return vec3(0.0, 0.0, 1_f32.copysign(point.z));
        }
        let slope = vec3(unit.x, unit.y, 0.5 * taper * radius);
        slope.zip(self.half, |n, half| n / half).normalised()
    }
}

/// The first of two crossings that lies ahead.
fn ahead(near: f32, far: f32) -> Option<f32> {
    [near, far].into_iter().find(|&t| t > NEAREST)
}

fn meet_block(ray: &Ray) -> Option<f32> {
    let inverse = ray.direction.map(f32::recip);
    let a = (Vec3::splat(-1.0) - ray.origin) * inverse;
    let b = (Vec3::splat(1.0) - ray.origin) * inverse;
    let (low, high) = (a.min(b), a.max(b));
    let near = low.x.max(low.y).max(low.z);
    let far = high.x.min(high.y).min(high.z);
    if near <= far { ahead(near, far) } else { None }
}

fn meet_sphere(ray: &Ray) -> Option<f32> {
    let a = ray.direction.dot(ray.direction);
    let b = ray.origin.dot(ray.direction);
    let c = ray.origin.dot(ray.origin) - 1.0;
    let root = b * b - a * c;
    if root < 0.0 {
        return None;
    }
    ahead((-b - root.sqrt()) / a, (-b + root.sqrt()) / a)
}

fn cylinder_radius(z: f32, taper: f32) -> f32 {
    1.0 - 0.5 * taper * (z + 1.0)
}

fn meet_cylinder(ray: &Ray, taper: f32) -> Option<f32> {
    let (o, d) = (ray.origin, ray.direction);
    let mut nearest = f32::INFINITY;
    for cap in [-1.0, 1.0] {
        let t = (cap - o.z) / d.z;
        let (x, y) = (o.x + t * d.x, o.y + t * d.y);
        let radius = cylinder_radius(cap, taper);
        if t > NEAREST && t < nearest && x * x + y * y <= radius * radius {
            nearest = t;
        }
    }
    // The side: x^2 + y^2 = radius(z)^2, a quadratic equation in t.
    let slope = 0.5 * taper;
    let radius = cylinder_radius(o.z, taper);
    let a = d.x * d.x + d.y * d.y - slope * slope * d.z * d.z;
    let b = o.x * d.x + o.y * d.y + slope * d.z * radius;
    let c = o.x * o.x + o.y * o.y - radius * radius;
    let root = b * b - a * c;
    if root >= 0.0 && a.abs() > 1e-12 {
        for t in [(-b - root.sqrt()) / a, (-b + root.sqrt()) / a] {
            if t > NEAREST && t < nearest && (o.z + t * d.z).abs() <= 1.0 {
                nearest = t;
            }
        }
    }
    nearest.is_finite().then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;
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
            for i in 0..200 {
                let angle = i as f32 * 0.7;
                let from = vec3(angle.cos(), angle.sin(), (i as f32 * 0.13).sin()) * 3.0;
                let ray = Ray { origin: solid.centre + from, direction: -from.normalised() };
                let distance = solid.intersect(&ray).unwrap();
                let local = solid.local(ray.at(distance));
                let normal = solid.rotation.to_outer(solid.local_normal(local));
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
            assert_eq!(solid(shape).intersect(&ray), None);
        }
    }

    #[test]
    fn a_block_is_met_at_its_face() {
        let block = Solid { rotation: Rotation::NONE, ..solid(Shape::Block) };
        let ray = Ray { origin: vec3(-1.0, 2.1, 0.6), direction: vec3(1.0, 0.0, 0.0) };
        assert!((block.intersect(&ray).unwrap() - 1.6).abs() < 1e-6);
    }
}
