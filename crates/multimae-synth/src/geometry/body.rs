//! Intersections of rays and solids.
//!
//! Every shape is the image of a shape of size one: the ray is brought into the local coordinates,
//! divided by the half sizes, and met there. Distances along the ray stay the same.

use super::solid::cylinder_radius;
use super::{NEAREST, Ray, Shape, Solid};
use crate::vec3::{Vec3, vec3};

/// A solid as rays see it, small and prepared: most of the time of a frame is spent here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body {
    shape: Shape,
    /// Whether it stops light on its way from a lamp.
    pub(super) casts_shadow: bool,
    centre: Vec3,
    /// Rows of the map from the room to the shape of size one.
    rows: [Vec3; 3],
}

impl Body {
    pub(crate) fn of(solid: &Solid) -> Self {
        let inverse = solid.half.map(f32::recip);
        let column = |axis: Vec3| solid.rotation.to_local(axis) * inverse;
        let x = column(vec3(1.0, 0.0, 0.0));
        let y = column(vec3(0.0, 1.0, 0.0));
        let z = column(vec3(0.0, 0.0, 1.0));
        let rows = [vec3(x.x, y.x, z.x), vec3(x.y, y.y, z.y), vec3(x.z, y.z, z.z)];
        let casts_shadow = !solid.surface.material.shines();
        Self { shape: solid.shape, casts_shadow, centre: solid.centre, rows }
    }

    /// The distance along the ray to where it first meets the surface.
    pub(crate) fn intersect(&self, ray: &Ray) -> Option<f32> {
        let map = |v: Vec3| vec3(self.rows[0].dot(v), self.rows[1].dot(v), self.rows[2].dot(v));
        let ray = Ray { origin: map(ray.origin - self.centre), direction: map(ray.direction) };
        match self.shape {
            Shape::Block => meet_block(&ray),
            Shape::Cylinder { taper } => meet_cylinder(&ray, taper),
            Shape::Ellipsoid => meet_sphere(&ray),
        }
    }
}

/// The first of two crossings that lies ahead.
fn ahead(near: f32, far: f32) -> Option<f32> {
    [near, far].into_iter().find(|&t| t > NEAREST)
}

fn meet_block(ray: &Ray) -> Option<f32> {
    let inverse = ray.inverse();
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
