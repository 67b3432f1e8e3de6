//! From a room to a frame.

use crate::camera::{Camera, Intrinsics, intrinsics};
use crate::draw::stream;
use crate::frame::Frame;
use crate::scene::Scene;
use crate::sensor;
use crate::shading::{Ambient, Sample, radiance};
use crate::vec3::{Vec3, vec3};
use crate::viewpoint;

/// The places in a pixel at which its colour is sampled, and the lights and surroundings of each
/// sample: the same four for every pixel, so that soft shadows have no grain. The first two are
/// taken first; if they agree, they stand for all.
const SAMPLES: [((f32, f32), Sample); 4] = [
    ((0.375, 0.125), Sample { on_light: (-0.5, -0.75), around: vec3(0.55, 0.55, 0.55) }),
    ((0.625, 0.875), Sample { on_light: (0.25, 0.75), around: vec3(-0.55, -0.55, 0.55) }),
    ((0.875, 0.375), Sample { on_light: (0.75, -0.25), around: vec3(0.55, -0.55, -0.55) }),
    ((0.125, 0.625), Sample { on_light: (-0.75, 0.5), around: vec3(-0.55, 0.55, -0.55) }),
];

/// Relative difference up to which two samples agree.
const AGREE: f32 = 0.08;

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
    let shade = |((x, y), sample): &((f32, f32), Sample)| {
        let ray = camera.ray(intrinsics, column as f32 + x, row as f32 + y);
        radiance(scene, ambient, &ray, &scene.hit(&ray), sample)
    };
    let [first, second] = [shade(&SAMPLES[0]), shade(&SAMPLES[1])];
    let sum = first + second;
    let apart = (first - second).abs();
    let limit = sum * (0.5 * AGREE);
    if apart.x <= limit.x && apart.y <= limit.y && apart.z <= limit.z {
        return sum * 0.5;
    }
    SAMPLES[2..].iter().fold(sum, |sum, sample| sum + shade(sample)) * 0.25
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Label;

    const SIZE: (usize, usize) = (60, 80);

    fn view(index: u64) -> (Scene, Camera, Frame) {
        let scene = Scene::draw(11, index);
        let camera = viewpoint::draw(&scene, &mut stream(11, "camera", index));
        let frame = trace(&scene, &camera, SIZE);
        (scene, camera, frame)
    }

    fn normal(frame: &Frame, i: usize) -> Vec3 {
        let pixels = frame.height * frame.width;
        vec3(frame.normals[i], frame.normals[pixels + i], frame.normals[2 * pixels + i])
    }

    /// Depth and intrinsics alone put the pixels of the floor on the floor.
    #[test]
    fn floor_pixels_lie_on_the_floor() {
        let at = intrinsics(SIZE);
        let mut found = 0;
        for index in 0..10 {
            let (_, camera, frame) = view(index);
            for i in (0..frame.depth.len()).filter(|&i| frame.labels[i] == Label::Floor as u8) {
                let (x, y) = ((i % SIZE.1) as f32 + 0.5, (i / SIZE.1) as f32 + 0.5);
                let point = camera.ray(&at, x, y).at(frame.depth[i]);
                assert!(point.z.abs() < 1e-3, "{point:?}");
                let up = camera.to_camera(Vec3::UP);
                assert!((normal(&frame, i) - up).length() < 1e-4);
                found += 1;
            }
        }
        assert!(found > 1000, "{found}");
    }

    /// If its neighbours show the ceiling, its normal is that of the depth.
    #[test]
    fn normals_fit_the_depth() {
        let at = intrinsics(SIZE);
        let mut found = 0;
        for index in 0..8 {
            let (_, _, frame) = view(index);
            let ceiling = |i: usize| frame.labels[i] == Label::Ceiling as u8;
            let point = |i: usize| {
                let (x, y) = ((i % SIZE.1) as f32 + 0.5, (i / SIZE.1) as f32 + 0.5);
                vec3((x - at.cx) / at.focal, (y - at.cy) / at.focal, 1.0) * frame.depth[i]
            };
            for i in (0..frame.depth.len() - SIZE.1).filter(|i| (i + 1) % SIZE.1 != 0) {
                let (right, below) = (i + 1, i + SIZE.1);
                let n = normal(&frame, i);
                assert!((n.length() - 1.0).abs() < 1e-5);
                assert!(n.dot(point(i)) < 1e-4, "{index} {i}: label {}, {n:?}", frame.labels[i]);
                if ceiling(i) && ceiling(right) && ceiling(below) {
                    let (down, across) = (point(below) - point(i), point(right) - point(i));
                    let expected = down.cross(across).normalised();
                    assert!((expected - n).length() < 0.02, "{expected:?} {n:?}");
                    found += 1;
                }
            }
        }
        assert!(found > 1000, "{found}");
    }
}
