//! Procedural textures, in metres on the surface.

use std::f32::consts::TAU;

use super::noise::{floor, fraction, hash, rough, smooth, unit};
use crate::vec3::{Vec3, vec3};

/// A place on a surface.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patch {
    /// Local coordinates of the part, about its centre, in metres.
    pub(crate) point: Vec3,
    /// Half sizes of the part.
    pub(crate) half: Vec3,
    /// The normal, in local coordinates.
    pub(crate) normal: Vec3,
    /// Makes equal parts differ.
    pub(crate) seed: u32,
}

impl Patch {
    /// The two coordinates along the surface: across, and up where there is an up.
    fn flat(&self, v: Vec3) -> (f32, f32) {
        let n = self.normal.abs();
        if n.z >= n.x && n.z >= n.y {
            (v.x, v.y)
        } else if n.x >= n.y {
            (v.y, v.z)
        } else {
            (v.x, v.z)
        }
    }

    fn uv(&self) -> (f32, f32) {
        self.flat(self.point)
    }

    /// The coordinates over the face, from 0 to 1.
    fn share(&self) -> (f32, f32) {
        let ((u, v), (hu, hv)) = (self.uv(), self.flat(self.half));
        (0.5 + 0.5 * u / hu, 0.5 + 0.5 * v / hv)
    }

    /// The point, moved to a part of the noise that belongs to this part alone.
    fn own_point(&self) -> Vec3 {
        self.point + Vec3::splat((self.seed % 1024) as f32 * 3.7)
    }

    fn random(&self, a: i32, b: i32) -> f32 {
        unit(hash(a, b, self.seed as i32))
    }
}

/// The kinds of texture. Lengths in metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Texture {
    /// Lighter and darker by `amount`, `scale` times in a metre.
    Mottled { scale: f32, amount: f32 },
    /// Grain along the longest side.
    Wood,
    /// Boards of this size, each of another piece of wood.
    Planks { width: f32, length: f32 },
    /// Square tiles with joints.
    Tiles { size: f32, joint: f32 },
    /// Brickwork with joints.
    Bricks,
    /// Two colours in turn.
    Checks { size: f32 },
    /// Upright stripes.
    Stripes { period: f32, share: f32 },
    /// Bands across the part.
    Bands { period: f32 },
    /// Dots in rows.
    Dots { period: f32, radius: f32 },
    /// Patches of irregular outline.
    Blotches { scale: f32 },
    /// Threads over and under.
    Weave { period: f32 },
    /// Pile: fine noise.
    Pile,
    /// Veins, as in marble.
    Veins,
    /// Hanging folds.
    Folds { period: f32 },
    /// The second colour up to a height over the floor of the room, as panels.
    Wainscot { height: f32 },
    /// Frames within frames: medallion of an oriental rug.
    Medallion,
    /// A painting.
    Painting,
    /// The view through a window: sky above, trees or houses below.
    Outside,
    /// A switched-on screen.
    Screen,
}

impl Texture {
    /// The colour at a place.
    pub(super) fn colour(&self, base: Vec3, second: Vec3, patch: &Patch) -> Vec3 {
        match *self {
            Self::Mottled { scale, amount } => {
                base * (1.0 + amount * (rough(patch.own_point() * scale) - 0.5))
            }
            Self::Wood => wood(base, second, patch.own_point(), patch.half),
            Self::Planks { width, length } => planks(base, second, patch, (width, length)),
            Self::Tiles { size, joint } => tiles(base, second, patch, size, joint),
            Self::Bricks => bricks(base, second, patch),
            Self::Checks { size } => {
                let (u, v) = patch.uv();
                let odd = fraction(0.5 * (floor(u / size) + floor(v / size))) > 0.25;
                let grime = 0.94 + 0.12 * rough(patch.own_point() * 3.0);
                (if odd { second } else { base }) * grime
            }
            Self::Stripes { period, share } => {
                let inside = fraction(patch.uv().0 / period) < share;
                if inside { second } else { base }
            }
            Self::Bands { period } => {
                let band = floor(patch.uv().1 / period) as i32;
                let share = [0.0, 1.0, 0.35][band.rem_euclid(3) as usize];
                base.lerp(second, share) * (0.95 + 0.1 * patch.random(band, 7))
            }
            Self::Dots { period, radius } => dots(base, second, patch, period, radius),
            Self::Blotches { scale } => {
                let noise = rough(patch.own_point() * scale);
                base.lerp(second, step(0.52, 0.06, noise))
            }
            Self::Weave { period } => weave(base, second, patch, period),
            Self::Pile => {
                let p = patch.own_point();
                base * (0.62 + 0.5 * smooth(p * 110.0) + 0.26 * rough(p * 4.0))
            }
            Self::Veins => {
                let p = patch.own_point();
                let wave = (p.x * 2.3 + p.y * 3.1 + p.z * 2.0 + 9.0 * rough(p * 2.6)).sin().abs();
                second.lerp(base, step(0.08, 0.1, wave) * 0.7 + 0.3 * rough(p * 6.0))
            }
            Self::Folds { period } => {
                let u = patch.uv().0 + 0.02 * smooth(patch.own_point() * 4.0);
                let fold = 0.5 + 0.5 * (u / period * TAU).sin();
                second.lerp(base, fold * fold * 0.7 + 0.3)
            }
            Self::Wainscot { height } => wainscot(base, second, patch, height),
            Self::Medallion => medallion(base, second, patch),
            Self::Painting => painting(base, second, patch),
            Self::Outside => outside(patch),
            Self::Screen => screen(base, second, patch),
        }
    }
}

/// From 0 to 1 around `edge`, over `width`.
fn step(edge: f32, width: f32, value: f32) -> f32 {
    ((value - edge) / width + 0.5).clamp(0.0, 1.0)
}

fn wood(base: Vec3, second: Vec3, p: Vec3, half: Vec3) -> Vec3 {
    // Stretched along the part, fine across it.
    let longest = half.x.max(half.y).max(half.z);
    let scale = half.map(|h| if h >= longest { 1.2 } else { 22.0 });
    let p = p * scale;
    let grain = rough(p);
    let rings = 0.5 + 0.5 * ((p.x + p.y + p.z) * 0.45 + 5.0 * grain).sin();
    second.lerp(base, 0.25 + 0.45 * grain + 0.3 * rings)
}

fn planks(base: Vec3, second: Vec3, patch: &Patch, (width, length): (f32, f32)) -> Vec3 {
    let (u, v) = patch.uv();
    let row = floor(u / width);
    let along = v / length + patch.random(row as i32, 1);
    let board = floor(along);
    let (across, along) = (u / width - row, along - board);
    if across.min(1.0 - across) * width < 0.002 || along.min(1.0 - along) * length < 0.002 {
        return second * 0.35;
    }
    let tint = 0.78 + 0.44 * patch.random(row as i32, board as i32 + 50);
    let p = vec3(u, v, row * 3.3 + board * 1.7);
    wood(base, second, p, vec3(0.1, 1.0, 0.1)) * tint
}

fn tiles(base: Vec3, second: Vec3, patch: &Patch, size: f32, joint: f32) -> Vec3 {
    let (u, v) = patch.uv();
    let (column, row) = (floor(u / size), floor(v / size));
    let (a, b) = (u / size - column, v / size - row);
    let gap = a.min(1.0 - a).min(b.min(1.0 - b)) * size;
    if gap < 0.5 * joint {
        return second;
    }
    let tint = 0.92 + 0.16 * patch.random(column as i32, row as i32);
    base * tint * (0.94 + 0.12 * rough(patch.own_point() * 5.0))
}

fn bricks(base: Vec3, second: Vec3, patch: &Patch) -> Vec3 {
    const LENGTH: f32 = 0.24;
    const HEIGHT: f32 = 0.075;
    let (u, v) = patch.uv();
    let row = floor(v / HEIGHT);
    let u = u / LENGTH + fraction(0.5 * row);
    let column = floor(u);
    let (a, b) = (u - column, v / HEIGHT - row);
    if a.min(1.0 - a) * LENGTH < 0.006 || b.min(1.0 - b) * HEIGHT < 0.006 {
        return second;
    }
    let tint = 0.7 + 0.5 * patch.random(column as i32, row as i32);
    base * tint * (0.85 + 0.3 * rough(patch.own_point() * 30.0))
}

fn dots(base: Vec3, second: Vec3, patch: &Patch, period: f32, radius: f32) -> Vec3 {
    let (u, v) = patch.uv();
    let row = floor(v / period);
    let a = fraction(u / period + fraction(0.5 * row)) - 0.5;
    let b = v / period - row - 0.5;
    let petals = 1.0 + 0.3 * (5.0 * b.atan2(a)).sin();
    base.lerp(second, step(0.0, 0.05, radius * petals - a.hypot(b)))
}

fn weave(base: Vec3, second: Vec3, patch: &Patch, period: f32) -> Vec3 {
    let (u, v) = patch.uv();
    let threads = (u / period * TAU).sin() * (v / period * TAU).sin();
    let creases = rough(patch.own_point() * 5.0);
    second.lerp(base, 0.55 + 0.15 * threads + 0.6 * (creases - 0.5))
}

fn wainscot(base: Vec3, second: Vec3, patch: &Patch, height: f32) -> Vec3 {
    let (u, v) = patch.uv();
    let over_floor = v + patch.flat(patch.half).1;
    let paper = base * (0.97 + 0.06 * rough(patch.own_point() * 3.0));
    if over_floor > height {
        return paper;
    }
    let panel = fraction(u / 0.35);
    let edge = panel.min(1.0 - panel);
    let groove = edge < 0.03 || over_floor > height - 0.03 && over_floor < height - 0.015;
    if groove { second * 0.55 } else { second }
}

fn medallion(base: Vec3, second: Vec3, patch: &Patch) -> Vec3 {
    let (u, v) = patch.share();
    let border = u.min(1.0 - u).min(v.min(1.0 - v));
    let (x, y) = (2.0 * u - 1.0, 2.0 * v - 1.0);
    let ring = (x * x + y * y).sqrt() + 0.08 * (8.0 * y.atan2(x)).cos();
    let p = patch.own_point();
    let pattern = match () {
        () if border < 0.03 => 0.9,
        () if border < 0.10 => step(0.5, 0.1, rough(p * 14.0)),
        () if border < 0.12 => 0.85,
        () if ring < 0.3 => 0.8 - 0.5 * step(0.15, 0.05, ring),
        () if ring < 0.36 => 0.1,
        () => 0.45 * step(0.58, 0.08, smooth(p * 9.0)),
    };
    base.lerp(second, pattern) * (0.8 + 0.4 * smooth(p * 80.0))
}

/// A landscape, or fields of colour.
fn painting(base: Vec3, second: Vec3, patch: &Patch) -> Vec3 {
    let (u, v) = patch.share();
    let own = (patch.seed % 97) as f32;
    let noise = rough(vec3(u * 3.0, v * 3.0, own));
    let third = vec3(base.z, base.x, second.y);
    if patch.seed.is_multiple_of(2) {
        let hill = |height: f32, way: f32| height + 0.18 * smooth(vec3(u * 4.0, way, own));
        if v > hill(0.5, 1.0) {
            return base.lerp(Vec3::splat(0.8), 0.6 * (1.0 - v) + 0.3 * noise);
        }
        let near = v < hill(0.2, 2.0);
        return (if near { second } else { third }) * (0.6 + 0.7 * noise);
    }
    let field = floor(u * 3.0 + noise) + 2.0 * floor(v * 2.0 + noise);
    let colours = [base, second, third, Vec3::splat(0.6), base * 0.3];
    colours[(field as i32).rem_euclid(5) as usize] * (0.8 + 0.4 * noise)
}

fn outside(patch: &Patch) -> Vec3 {
    let (u, v) = patch.share();
    let own = (patch.seed % 89) as f32;
    let clouds = rough(vec3(u * 2.0, v * 5.0, own));
    let sky = vec3(0.55, 0.75, 1.0).lerp(Vec3::splat(1.0), step(0.55, 0.4, clouds));
    let skyline = 0.25 + 0.25 * unit(patch.seed);
    if patch.seed.is_multiple_of(3) {
        // Houses.
        let column = floor(u * 5.0);
        let roof = skyline + 0.2 * patch.random(column as i32, 3);
        let wall = vec3(0.55, 0.5, 0.45) * (0.5 + 0.6 * patch.random(column as i32, 9));
        let pane = fraction(u * 25.0) > 0.5 && fraction(v * 18.0) > 0.5;
        return if v > roof { sky } else { wall * if pane { 0.5 } else { 1.0 } };
    }
    let trees = skyline + 0.25 * (rough(vec3(u * 6.0, 0.5, own)) - 0.3);
    let leaves = 0.3 + 0.9 * rough(vec3(u * 22.0, v * 22.0, own));
    if v > trees { sky } else { vec3(0.25, 0.42, 0.14) * leaves }
}

fn screen(base: Vec3, second: Vec3, patch: &Patch) -> Vec3 {
    let (u, v) = patch.share();
    let own = (patch.seed % 61) as f32;
    let bar = v > 0.9 || u < 0.12;
    let text = fraction(v * 24.0) > 0.5 && smooth(vec3(u * 30.0, floor(v * 24.0), own)) > 0.45;
    match () {
        () if bar => second,
        () if text => base.lerp(second, 0.5),
        () => base * (0.8 + 0.4 * rough(vec3(u * 3.0, v * 3.0, own))),
    }
}
