//! The place and the direction of the camera.

use crate::camera::{Camera, Intrinsics, intrinsics};
use crate::draw::{Stream, between};
use crate::labels::Label;
use crate::scene::Scene;
use crate::vec3::vec3;

/// Viewpoints that are tried; the best one is taken.
const CANDIDATES: usize = 24;

/// A viewpoint is judged by a grid of this number of rays each way.
const GRID: usize = 12;

/// Nothing of the picture should be nearer, in metres.
const NEAREST_DEPTH: f32 = 0.5;

/// Nor farther.
const FARTHEST_DEPTH: f32 = 10.0;

/// Draws a viewpoint that shows the room: several kinds of things, nothing right before the lens.
pub(crate) fn draw(scene: &Scene, rng: &mut Stream) -> Camera {
    let mut best = candidate(scene, rng);
    let mut best_score = score(scene, &best);
    for _ in 1..CANDIDATES {
        let camera = candidate(scene, rng);
        let score = score(scene, &camera);
        if score > best_score {
            (best, best_score) = (camera, score);
        }
    }
    best
}

/// Somewhere in the outer part of the room, looking across it.
fn candidate(scene: &Scene, rng: &mut Stream) -> Camera {
    let size = scene.room.size;
    let mut edge = |length: f32| {
        let from_wall = between(rng, 0.25, 0.35 * length);
        if between(rng, 0.0, 1.0) < 0.5 { from_wall } else { length - from_wall }
    };
    let (x, y) = (edge(size.x), edge(size.y));
    let position = vec3(x, y, between(rng, 1.2, 1.8));
    let target = vec3(
        size.x * between(rng, 0.15, 0.85),
        size.y * between(rng, 0.15, 0.85),
        between(rng, 0.3, 1.3),
    );
    let way = target - position;
    let level = way.x.hypot(way.y).max(1.0);
    let pitch = (way.z / level).atan() + between(rng, -0.08, 0.08);
    Camera::new(position, way.y.atan2(way.x), pitch.clamp(-0.55, 0.12), between(rng, -0.03, 0.03))
}

/// Returns the quality of a view: its classes, less its flaws.
fn score(scene: &Scene, camera: &Camera) -> f32 {
    let rays = grid(&intrinsics((GRID, GRID)));
    let mut seen = [0_u32; 41];
    let (mut too_near, mut too_far) = (0, 0);
    for &(x, y) in &rays {
        let hit = scene.hit(&camera.ray(&intrinsics((GRID, GRID)), x, y));
        seen[hit.surface.label as usize] += 1;
        too_near += u32::from(hit.distance < 1.2 * NEAREST_DEPTH);
        too_far += u32::from(hit.distance > FARTHEST_DEPTH);
    }
    let classes = seen.iter().filter(|&&n| n > 0).count() as f32;
    // The room's main furniture should be in the picture, and not just a corner of it.
    let main = [Label::Bed, Label::Sofa, Label::Desk, Label::Counter];
    let about = main.iter().filter(|&&label| seen[label as usize] > 3).count() as f32;
    let floor = seen[Label::Floor as usize];
    let largest = seen.iter().max().copied().unwrap_or(0) as f32 / rays.len() as f32;
    let blind = if floor < 4 { 4.0 } else { 0.0 };
    classes + 2.0 * about.min(1.0)
        - 8.0 * (largest - 0.4).max(0.0)
        - 3.0 * too_near as f32
        - too_far as f32
        - blind
}

fn grid(intrinsics: &Intrinsics) -> Vec<(f32, f32)> {
    let side = (2.0 * intrinsics.cx) as usize;
    (0..side * side).map(|i| ((i % side) as f32 + 0.5, (i / side) as f32 + 0.5)).collect()
}
