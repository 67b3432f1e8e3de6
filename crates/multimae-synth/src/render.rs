//! From a room to a frame.

use crate::camera::{Camera, Intrinsics, intrinsics};
use crate::draw::stream;
use crate::frame::Frame;
use crate::scene::Scene;
use crate::sensor;
use crate::shading::{Ambient, radiance};
use crate::vec3::Vec3;
use crate::viewpoint;

/// Where in a pixel its colour is sampled, and which points of the lights each sample asks: the
/// same four for every pixel, so that soft shadows have no grain.
const SAMPLES: [((f32, f32), (f32, f32)); 4] = [
    ((0.375, 0.125), (-0.5, -0.75)),
    ((0.875, 0.375), (0.75, -0.25)),
    ((0.125, 0.625), (-0.75, 0.5)),
    ((0.625, 0.875), (0.25, 0.75)),
];

/// Renders the frame `index` of the rooms of `seed`, with `size` = (height, width).
///
/// The result depends on these three alone, on a given platform. Every index is another room.
#[must_use]
pub fn render(seed: u64, index: u64, size: (usize, usize)) -> Frame {
    let scene = Scene::draw(seed, index);
    let camera = viewpoint::draw(&scene, &mut stream(seed, "camera", index));
    let mut frame = trace(&scene, &camera, size);
    let light = expose(&scene, &camera, size);
    frame.rgb = sensor::develop(&light, &mut stream(seed, "sensor", index));
    frame
}

/// Depth, labels and normals, along the ray through each pixel's centre.
pub(crate) fn trace(scene: &Scene, camera: &Camera, (height, width): (usize, usize)) -> Frame {
    let intrinsics = intrinsics((height, width));
    let pixels = height * width;
    let mut frame = Frame {
        height,
        width,
        rgb: Vec::new(),
        depth: Vec::with_capacity(pixels),
        labels: Vec::with_capacity(pixels),
        normals: vec![0.0; 3 * pixels],
    };
    for i in 0..pixels {
        let (x, y) = ((i % width) as f32 + 0.5, (i / width) as f32 + 0.5);
        let hit = scene.hit(&camera.ray(&intrinsics, x, y));
        frame.depth.push(hit.distance);
        frame.labels.push(hit.surface.label as u8);
        let normal = camera.to_camera(hit.normal).to_array();
        for (channel, value) in normal.into_iter().enumerate() {
            frame.normals[channel * pixels + i] = value.clamp(-1.0, 1.0);
        }
    }
    frame
}

/// The light that falls on each pixel.
fn expose(scene: &Scene, camera: &Camera, (height, width): (usize, usize)) -> Vec<Vec3> {
    let intrinsics = intrinsics((height, width));
    let ambient = Ambient::of(scene);
    (0..height * width)
        .map(|i| pixel(scene, camera, &intrinsics, &ambient, (i % width, i / width)))
        .collect()
}

fn pixel(
    scene: &Scene,
    camera: &Camera,
    intrinsics: &Intrinsics,
    ambient: &Ambient,
    (column, row): (usize, usize),
) -> Vec3 {
    let mut sum = Vec3::default();
    for ((x, y), on_light) in SAMPLES {
        let ray = camera.ray(intrinsics, column as f32 + x, row as f32 + y);
        let hit = scene.hit(&ray);
        sum += radiance(scene, ambient, &ray, &hit, on_light);
    }
    sum * (1.0 / SAMPLES.len() as f32)
}
