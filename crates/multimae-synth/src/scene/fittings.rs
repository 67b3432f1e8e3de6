//! The fittings of every room: doors, windows, lamps, skirting boards, and small things.

use super::{Kind, Layout, Light, Needs};
use crate::draw::{Stream, between, chance, count, pick};
use crate::furniture::{
    bookshelf, carton, ceiling_lamp, cupboard, curtains, door, floor_lamp, picture, things_on_top,
    wall_shelf, wall_television, window,
};
use crate::labels::Label;
use crate::material::Material;
use crate::vec3::{Vec3, vec3};

/// Most lights that a room has: each costs a shadow ray.
const LIGHTS: usize = 3;

/// A door and windows, before anything stands in their way.
pub(super) fn openings(layout: &mut Layout, rng: &mut Stream) {
    put_door(layout, rng);
    let windows = pick(rng, [0, 1, 1, 1, 2, 2]);
    for _ in 0..windows {
        put_window(layout, rng);
    }
}

fn put_door(layout: &mut Layout, rng: &mut Stream) {
    let width = between(rng, 0.8, 0.95);
    let Some((_, pose)) = layout.on_wall(width + 0.16, (0.0, 2.1), rng) else { return };
    let half = 0.5 * width;
    layout.take_floor(pose.footprint((-half, half), (0.0, 0.8)));
    let style = layout.style;
    door(&mut layout.build(pose), width, &style, rng);
}

fn put_window(layout: &mut Layout, rng: &mut Stream) {
    let width = between(rng, 0.8, 2.2);
    let low = between(rng, 0.75, 1.05);
    let high = (low + between(rng, 1.0, 1.45)).min(layout.room.size.z - 0.25);
    let hung = chance(rng, 0.6);
    let rim = if hung { 0.3 } else { 0.1 };
    let Some((_, pose)) = layout.on_wall(width + 2.0 * rim, (low - 0.1, high + 0.15), rng) else {
        return;
    };
    let style = layout.style;
    let daylight = between(rng, 0.8, 3.2);
    window(&mut layout.build(pose), (width, (low, high)), daylight, rng);
    if hung {
        let end = pick(rng, [0.06, 0.06, low - 0.2]);
        curtains(&mut layout.build(pose), (width, (end, high + 0.08)), &style, rng);
    }
    let half = 0.5 * width;
    let turn = pose.rotation();
    let middle = 0.5 * (low + high);
    let light = Light {
        centre: pose.point(vec3(0.0, 0.14, middle)),
        sides: [turn.to_outer(vec3(0.8 * half, 0.0, 0.0)), Vec3::UP * (0.4 * (high - low))],
        power: vec3(0.85, 0.93, 1.05) * (daylight * 0.9 * width * (high - low)),
        facing: Some(turn.to_outer(vec3(0.0, 1.0, 0.0))),
    };
    add_light(layout, light);
}

fn add_light(layout: &mut Layout, light: Light) {
    if layout.lights.len() < LIGHTS {
        layout.lights.push(light);
    }
}

/// Everything after the main furniture.
pub(super) fn finish(layout: &mut Layout, rng: &mut Stream) {
    hang_ceiling_lamps(layout, rng);
    if layout.room.kind != Kind::Kitchen {
        for _ in 0..count(rng, 0, 1) {
            put_floor_lamp(layout, rng);
        }
    }
    fill_walls(layout, rng);
    for _ in 0..count(rng, 0, 3) {
        put_carton(layout, rng);
    }
    skirting(layout, rng);
}

fn hang_ceiling_lamps(layout: &mut Layout, rng: &mut Stream) {
    let size = layout.room.size;
    let style = layout.style;
    let place =
        |x: f32, y: f32| crate::pose::Pose { origin: vec3(x * size.x, y * size.y, 0.0), yaw: 0.0 };
    let lamps = if size.x * size.y > 22.0 && chance(rng, 0.6) { 2 } else { 1 };
    let power = between(rng, 2.0, 6.0) / lamps as f32;
    let warm = vec3(1.0, 0.86, 0.66).lerp(Vec3::splat(1.0), between(rng, 0.0, 0.8));
    for i in 0..lamps {
        let share = (i as f32 + 0.5) / lamps as f32;
        let (x, y) = if size.x > size.y { (share, 0.5) } else { (0.5, share) };
        // Lamps hang about the middle, rarely exactly there.
        let pose = place(x + between(rng, -0.06, 0.06), y + between(rng, -0.06, 0.06));
        let centre = ceiling_lamp(&mut layout.build(pose), size.z, &style, rng);
        add_light(layout, Light::lamp(centre, 0.13, warm * power));
    }
}

fn put_floor_lamp(layout: &mut Layout, rng: &mut Stream) {
    let needs = Needs { width: 0.44, depth: 0.44, height: 1.7, front: 0.0 };
    let Some(pose) = layout.against_wall(needs, rng) else { return };
    let style = layout.style;
    let lit = chance(rng, 0.7) && layout.lights.len() < LIGHTS;
    let mut piece = layout.build(pose.shifted(0.0, 0.22, 0.0));
    let centre = floor_lamp(&mut piece, lit, &style, rng);
    if lit {
        let power = vec3(1.0, 0.78, 0.5) * between(rng, 0.6, 1.6);
        add_light(layout, Light::lamp(centre, 0.12, power));
    }
}

/// Cupboards, shelves and pictures, where the walls are still bare.
fn fill_walls(layout: &mut Layout, rng: &mut Stream) {
    let style = layout.style;
    for _ in 0..count(rng, 0, 2) {
        if chance(rng, 0.5) {
            put_cupboard(layout, rng);
        } else {
            put_bookshelf(layout, rng);
        }
    }
    if layout.room.kind == Kind::Bedroom && chance(rng, 0.3) {
        let width = between(rng, 0.7, 1.2);
        if let Some((_, pose)) = layout.on_wall(width, (1.2, 1.2 + 0.57 * width), rng) {
            let z = (1.2, 1.2 + 0.57 * width);
            wall_television(&mut layout.build(pose), (width, z), rng);
        }
    }
    for _ in 0..count(rng, 0, 2) {
        let (width, z) = (between(rng, 0.5, 1.1), between(rng, 1.35, 1.7));
        if let Some((_, pose)) = layout.on_wall(width, (z - 0.1, z + 0.3), rng) {
            wall_shelf(&mut layout.build(pose), (width, z), &style, rng);
        }
    }
    for _ in 0..count(rng, 2, 6) {
        put_picture(layout, rng);
    }
}

fn put_picture(layout: &mut Layout, rng: &mut Stream) {
    let (width, height) = (between(rng, 0.25, 1.1), between(rng, 0.25, 0.8));
    let low = between(rng, 1.3, 1.55);
    let z = (low, low + height);
    let Some((_, pose)) = layout.on_wall(width, z, rng) else { return };
    let style = layout.style;
    picture(&mut layout.build(pose), (width, z), &style, rng);
}

/// A cupboard of half height with things on it.
pub(super) fn put_cupboard(layout: &mut Layout, rng: &mut Stream) {
    let (width, depth) = (between(rng, 0.6, 1.2), between(rng, 0.38, 0.5));
    let height = between(rng, 0.7, 1.15);
    let needs = Needs { width, depth, height: height + 0.1, front: 0.35 };
    let Some(pose) = layout.against_wall(needs, rng) else { return };
    let style = layout.style;
    let mut piece = layout.build(pose);
    cupboard(&mut piece, (width, depth, height), &style, rng);
    let x = 0.5 * width;
    things_on_top(&mut piece, ((-x, x), 0.2, height), &style, rng);
}

/// A bookshelf.
pub(super) fn put_bookshelf(layout: &mut Layout, rng: &mut Stream) {
    let (width, depth) = (between(rng, 0.6, 1.7), between(rng, 0.26, 0.36));
    let height = between(rng, 1.0, 2.15);
    let needs = Needs { width, depth, height, front: 0.35 };
    let Some(pose) = layout.against_wall(needs, rng) else { return };
    let style = layout.style;
    bookshelf(&mut layout.build(pose), (width, depth, height), &style, rng);
}

/// A box on the floor, and sometimes one on it.
fn put_carton(layout: &mut Layout, rng: &mut Stream) {
    let size = vec3(between(rng, 0.25, 0.5), between(rng, 0.25, 0.45), between(rng, 0.2, 0.45));
    let needs = Needs { width: size.x + 0.1, depth: size.y + 0.1, height: size.z, front: 0.0 };
    let pose = if chance(rng, 0.7) {
        layout.against_wall(needs, rng).map(|p| p.shifted(0.0, 0.5 * needs.depth, 0.0))
    } else {
        layout.on_floor((size.x, size.y), 0.5, rng)
    };
    let Some(pose) = pose else { return };
    let style = layout.style;
    let mut piece = layout.build(pose);
    carton(&mut piece, size, &style, rng);
    if chance(rng, 0.3) {
        let mut upper = piece.at(0.0, 0.0, size.z + 0.002, between(rng, -0.3, 0.3));
        carton(&mut upper, size * between(rng, 0.6, 0.9), &style, rng);
    }
}

/// Skirting boards along all walls.
fn skirting(layout: &mut Layout, rng: &mut Stream) {
    if chance(rng, 0.2) {
        return;
    }
    let white = Material::paint(Vec3::splat(between(rng, 0.5, 0.85)));
    let wood = Material::wood(layout.style.floor_wood);
    let surface = if chance(rng, 0.6) { white } else { wood }.on(Label::Wall);
    let height = between(rng, 0.05, 0.14);
    for side in 0..4 {
        let half = 0.5 * layout.room.wall_length(side);
        let pose = layout.room.wall_pose(side, half);
        layout.build(pose).block((-half, half), (0.0, 0.015), (0.0, height), surface);
    }
}
