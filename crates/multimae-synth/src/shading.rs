//! The light that comes from a place to the camera.

use crate::geometry::Ray;
use crate::scene::{Hit, Light, Scene};
use crate::vec3::Vec3;

/// Shadow rays start this far off the surface, in metres.
const OFF_SURFACE: f32 = 1e-3;

/// The distance at which things still hide the surroundings from a place, in metres.
const NEARBY: f32 = 0.45;

/// The light queries of one sample of a pixel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// The point of each light's area, each coordinate from -1 to 1.
    pub(crate) on_light: (f32, f32),
    /// Added to the normal: a direction in which the surroundings are looked at, shorter than 1.
    pub(crate) around: Vec3,
}

/// The light that is everywhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ambient {
    /// From above and from the sides.
    pub(crate) colour: Vec3,
}

impl Ambient {
    /// The share of the mean light of the room's lamps that walls reflect.
    pub(crate) fn of(scene: &Scene) -> Self {
        let size = scene.room.size;
        let area = 2.0 * (size.x * size.y + (size.x + size.y) * size.z);
        let flux = scene.lights.iter().fold(Vec3::default(), |sum, light| {
            sum + light.power * if light.facing.is_some() { 3.1 } else { 12.6 }
        });
        let wall = scene.room.walls[0].material.base;
        let tint = Vec3::splat(0.55).lerp(wall, 0.4);
        Self { colour: flux * tint * (1.1 / area) }
    }
}

/// The light that leaves the place `hit` towards the ray's origin.
pub(crate) fn radiance(
    scene: &Scene,
    ambient: &Ambient,
    ray: &Ray,
    hit: &Hit,
    sample: &Sample,
) -> Vec3 {
    let material = &hit.surface.material;
    let colour = material.colour(&hit.patch);
    if material.shines() {
        return colour * material.emission;
    }
    let point = ray.at(hit.distance);
    let open = openness(scene, point, hit.normal, sample) * (0.78 + 0.22 * hit.normal.z);
    let mut light = ambient.colour * open;
    let mut gloss = Vec3::default();
    let eye = -ray.direction.normalised();
    for lamp in &scene.lights {
        let (diffuse, highlight) = direct(scene, lamp, point, hit.normal, eye, sample.on_light);
        light += diffuse;
        gloss += highlight;
    }
    colour * light + gloss * material.gloss
}

/// The light of one lamp at a place, and its highlight.
fn direct(
    scene: &Scene,
    lamp: &Light,
    point: Vec3,
    normal: Vec3,
    eye: Vec3,
    on_light: (f32, f32),
) -> (Vec3, Vec3) {
    let start = point + normal * OFF_SURFACE;
    let way = lamp.point(on_light) - start;
    let towards = way.normalised();
    let angle = normal.dot(towards);
    let arriving = lamp.arriving(way);
    if angle <= 0.0 || arriving == Vec3::default() {
        return Default::default();
    }
    // Up to the lamp: the ray's length is 1 there.
    if scene.blocked(&Ray { origin: start, direction: way }, 0.999) {
        return Default::default();
    }
    let half = (towards + eye).normalised();
    let shine = normal.dot(half).max(0.0).powi(48) * 0.6;
    (arriving * angle, arriving * shine)
}

/// Returns the visible share of the surroundings: less in the corners of the room and close to
/// furniture.
fn openness(scene: &Scene, point: Vec3, normal: Vec3, sample: &Sample) -> f32 {
    let start = point + normal * OFF_SURFACE;
    let look = Ray { origin: start, direction: (normal + sample.around) * NEARBY };
    let furniture = if scene.blocked(&look, 1.0) { 0.45 } else { 1.0 };
    let size = scene.room.size;
    let gap = point.min(size - point);
    // The surface that the place lies on does not hide it: only the ones across its normal do.
    let hidden = |gap: f32, along: f32| 1.0 - 0.35 * (1.0 - along.abs()) * (-gap / 0.25).exp();
    let walls = hidden(gap.x, normal.x) * hidden(gap.y, normal.y) * hidden(gap.z, normal.z);
    walls * furniture
}
