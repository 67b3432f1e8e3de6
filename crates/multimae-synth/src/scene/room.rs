//! The empty room: floor, ceiling and four walls, seen from inside.

use std::f32::consts::FRAC_PI_2;

use crate::draw::{Stream, between, chance, hsv, pick};
use crate::geometry::Ray;
use crate::labels::Label;
use crate::material::{Material, Surface, Texture};
use crate::pose::{Pose, Rect};
use crate::style::Style;
use crate::vec3::{Vec3, vec3};

/// The use of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bedroom,
    LivingRoom,
    Kitchen,
    Office,
}

/// A room from (0, 0, 0) to `size`, in metres.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) kind: Kind,
    pub(crate) size: Vec3,
    pub(crate) floor: Surface,
    pub(crate) ceiling: Surface,
    /// The walls at y = 0, x = size, y = size, x = 0.
    pub(crate) walls: [Surface; 4],
}

/// Returns the hit of a ray from inside with the room.
pub(crate) struct RoomHit {
    pub(crate) distance: f32,
    pub(crate) surface: Surface,
    /// Inward.
    pub(crate) normal: Vec3,
}

impl Room {
    pub(crate) fn draw(kind: Kind, style: &Style, rng: &mut Stream) -> Self {
        let (short, long) = match kind {
            Kind::Bedroom => ((3.0, 4.4), (3.4, 5.4)),
            Kind::LivingRoom => ((3.6, 5.6), (4.4, 7.5)),
            Kind::Kitchen => ((3.0, 4.6), (3.6, 6.2)),
            Kind::Office => ((3.0, 5.0), (3.4, 6.6)),
        };
        let (a, b) = (between(rng, short.0, short.1), between(rng, long.0, long.1));
        let (width, length) = if chance(rng, 0.5) { (a, b) } else { (b, a) };
        let size = vec3(width, length, between(rng, 2.3, 3.1));
        let wall = wall_material(style, rng);
        let mut walls = [wall.on(Label::Wall); 4];
        if chance(rng, 0.35) {
            // One wall stands out.
            walls[pick(rng, [0, 1, 2, 3])] = accent_material(style, rng).on(Label::Wall);
        }
        Self {
            kind,
            size,
            floor: floor_material(kind, style, rng).on(Label::Floor),
            ceiling: ceiling_material(kind, rng).on(Label::Ceiling),
            walls,
        }
    }

    pub(crate) fn rect(&self) -> Rect {
        Rect { x: (0.0, self.size.x), y: (0.0, self.size.y) }
    }

    /// Returns the length of a wall.
    pub(crate) fn wall_length(&self, side: usize) -> f32 {
        if side.is_multiple_of(2) { self.size.x } else { self.size.y }
    }

    /// With the back to a wall, `along` metres from its left end as seen from outside.
    pub(crate) fn wall_pose(&self, side: usize, along: f32) -> Pose {
        let Vec3 { x, y, .. } = self.size;
        let origin = match side {
            0 => vec3(along, 0.0, 0.0),
            1 => vec3(x, along, 0.0),
            2 => vec3(x - along, y, 0.0),
            _ => vec3(0.0, y - along, 0.0),
        };
        Pose { origin, yaw: side as f32 * FRAC_PI_2 }
    }

    /// The first wall, floor or ceiling ahead of a point inside.
    pub(crate) fn hit(&self, ray: &Ray) -> RoomHit {
        let along = |o: f32, d: f32, size: f32| match d {
            d if d > 0.0 => (size - o) / d,
            d if d < 0.0 => -o / d,
            _ => f32::INFINITY,
        };
        let (o, d) = (ray.origin, ray.direction);
        let x = along(o.x, d.x, self.size.x);
        let y = along(o.y, d.y, self.size.y);
        let z = along(o.z, d.z, self.size.z);
        if z <= x && z <= y {
            let surface = if d.z < 0.0 { self.floor } else { self.ceiling };
            RoomHit { distance: z, surface, normal: vec3(0.0, 0.0, -1_f32.copysign(d.z)) }
        } else if x <= y {
            let surface = self.walls[if d.x < 0.0 { 3 } else { 1 }];
            RoomHit { distance: x, surface, normal: vec3(-1_f32.copysign(d.x), 0.0, 0.0) }
        } else {
            let surface = self.walls[if d.y < 0.0 { 0 } else { 2 }];
            RoomHit { distance: y, surface, normal: vec3(0.0, -1_f32.copysign(d.y), 0.0) }
        }
    }
}

fn wall_material(style: &Style, rng: &mut Stream) -> Material {
    let colour = style.wall;
    match between(rng, 0.0, 1.0) {
        s if s < 0.6 => {
            Material::hard(Texture::Mottled { scale: 1.4, amount: 0.08 }, colour, colour, 0.0)
        }
        s if s < 0.72 => {
            let period = between(rng, 0.06, 0.3);
            Material::printed(Texture::Stripes { period, share: 0.5 }, colour, colour * 0.82)
        }
        s if s < 0.84 => {
            let period = between(rng, 0.12, 0.3);
            let second = colour.lerp(style.accent, 0.35);
            Material::printed(Texture::Dots { period, radius: 0.25 }, colour, second)
        }
        _ => {
            let panels = if chance(rng, 0.6) { Vec3::splat(0.75) } else { colour * 0.5 };
            let height = between(rng, 0.8, 1.2);
            Material::printed(Texture::Wainscot { height }, colour, panels)
        }
    }
}

fn accent_material(style: &Style, rng: &mut Stream) -> Material {
    let colour = style.accent * 0.8;
    match between(rng, 0.0, 1.0) {
        s if s < 0.5 => Material::paint(colour),
        s if s < 0.7 => {
            let clay = hsv(between(rng, 0.02, 0.06), between(rng, 0.3, 0.6), 0.7);
            Material::hard(Texture::Bricks, clay, Vec3::splat(0.45), 0.0)
        }
        s if s < 0.85 => Material::printed(
            Texture::Blotches { scale: between(rng, 4.0, 9.0) },
            style.wall,
            colour,
        ),
        _ => Material::hard(
            Texture::Planks { width: 0.12, length: 2.2 },
            style.wood,
            style.wood * 0.6,
            0.1,
        ),
    }
}

fn floor_material(kind: Kind, style: &Style, rng: &mut Stream) -> Material {
    let wood = style.floor_wood;
    let share = between(rng, 0.0, 1.0);
    let tiled = if kind == Kind::Kitchen { 0.6 } else { 0.15 };
    if share < tiled {
        let size = pick(rng, [0.3, 0.4, 0.6]);
        let stone = hsv(between(rng, 0.05, 0.15), between(rng, 0.02, 0.25), between(rng, 0.5, 0.9));
        return match between(rng, 0.0, 1.0) {
            s if s < 0.6 => {
                Material::hard(Texture::Tiles { size, joint: 0.008 }, stone, stone * 0.5, 0.35)
            }
            s if s < 0.8 => Material::hard(Texture::Checks { size }, stone, stone * 0.3, 0.35),
            _ => Material::hard(Texture::Veins, stone, stone * 0.55, 0.4),
        };
    }
    let soft = if matches!(kind, Kind::Kitchen) { 0.0 } else { 0.25 };
    if share > 1.0 - soft {
        let colour = hsv(between(rng, 0.0, 1.0), between(rng, 0.02, 0.3), between(rng, 0.35, 0.75));
        return Material::hard(Texture::Pile, colour, colour, 0.0);
    }
    let (width, length) = (between(rng, 0.07, 0.2), between(rng, 0.7, 1.8));
    let gloss = between(rng, 0.05, 0.35);
    Material::hard(Texture::Planks { width, length }, wood, wood * 0.55, gloss)
}

fn ceiling_material(kind: Kind, rng: &mut Stream) -> Material {
    let white = hsv(0.12, between(rng, 0.0, 0.06), between(rng, 0.88, 0.97));
    if kind == Kind::Office && chance(rng, 0.5) {
        return Material::hard(Texture::Tiles { size: 0.6, joint: 0.02 }, white, white * 0.6, 0.0);
    }
    Material::hard(Texture::Mottled { scale: 1.0, amount: 0.05 }, white, white, 0.0)
}
