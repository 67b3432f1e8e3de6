//! Windows, doors and curtains. They sit on the wall, a little in front of it.

use super::{Assembly, Span};
use crate::draw::{Stream, between, chance, count};
use crate::labels::Label;
use crate::material::{Material, Texture};
use crate::style::{Style, cloth};
use crate::vec3::Vec3;

/// A window: frame, bars, sill, and the bright outside. `daylight` is how bright that is.
pub(crate) fn window(
    piece: &mut Assembly<'_>,
    (width, z): (f32, Span),
    daylight: f32,
    rng: &mut Stream,
) {
    let x = 0.5 * width;
    let pane = Material::glowing(Texture::Outside, Vec3::splat(1.0), Vec3::splat(1.0), daylight);
    piece.block((-x, x), (0.0, 0.008), z, pane.on(Label::Window));
    let white = Material::paint(Vec3::splat(between(rng, 0.55, 0.85))).on(Label::Window);
    let rim = 0.05;
    for x in [(-x - rim, -x + 0.01), (x - 0.01, x + rim)] {
        piece.block(x, (0.0, 0.035), (z.0 - rim, z.1 + rim), white);
    }
    for z in [(z.0 - rim, z.0 + 0.01), (z.1 - 0.01, z.1 + rim)] {
        piece.block((-x - rim, x + rim), (0.0, 0.035), z, white);
    }
    let columns = (width / 0.6).round().max(1.0) as usize;
    for i in 1..columns {
        let at = -x + width * i as f32 / columns as f32;
        piece.block((at - 0.02, at + 0.02), (0.0, 0.03), z, white);
    }
    if chance(rng, 0.4) {
        let at = z.0 + (z.1 - z.0) * between(rng, 0.5, 0.75);
        piece.block((-x, x), (0.0, 0.03), (at - 0.015, at + 0.015), white);
    }
    piece.block((-x - 0.08, x + 0.08), (0.0, 0.13), (z.0 - 0.09, z.0 - rim), white);
}

/// A curtain at each side of a window, on a rod.
pub(crate) fn curtains(
    piece: &mut Assembly<'_>,
    (width, z): (f32, Span),
    style: &Style,
    rng: &mut Stream,
) {
    let plain = cloth(rng, style.accent);
    let folds = Texture::Folds { period: between(rng, 0.07, 0.12) };
    let curtain = Material::printed(folds, plain.base, plain.base * 0.45).on(Label::Curtain);
    let (x, drawn) = (0.5 * width + 0.12, between(rng, 0.18, 0.4) * width);
    let count = (drawn / 0.09).ceil().max(2.0) as usize;
    for side in [-1.0, 1.0] {
        for i in 0..count {
            // Each fold is a flat column.
            let at = side * (x - drawn * (i as f32 + 0.5) / count as f32);
            let radius = 0.5 * drawn / count as f32 + 0.006;
            let mut fold = piece.at(at, 0.095, 0.0, 0.0);
            fold.column((0.0, 0.012 * (i % 2) as f32), radius, z, 0.0, curtain);
        }
    }
    let rod = style.metal.on(Label::Curtain);
    piece.bar_x((-x - 0.1, x + 0.1), (0.095, z.1 + 0.01), 0.014, rod);
}

/// A closed door with its frame and handle.
pub(crate) fn door(piece: &mut Assembly<'_>, width: f32, style: &Style, rng: &mut Stream) {
    let x = 0.5 * width;
    let height = 2.02;
    let white = Material::paint(Vec3::splat(between(rng, 0.6, 0.85)));
    let leaf = if chance(rng, 0.5) { white } else { Material::wood(style.wood) };
    let leaf = leaf.on(Label::Door);
    piece.block((-x, x), (0.0, 0.02), (0.0, height), leaf);
    for x in [(-x - 0.07, -x), (x, x + 0.07)] {
        piece.block(x, (0.0, 0.035), (0.0, height + 0.07), leaf);
    }
    piece.block((-x, x), (0.0, 0.035), (height, height + 0.07), leaf);
    // Panels.
    for i in 0..count(rng, 0, 3) {
        let low = 0.15 + 0.62 * i as f32;
        piece.block((-x + 0.12, x - 0.12), (0.02, 0.028), (low, low + 0.52), leaf);
    }
    let metal = style.metal.on(Label::Door);
    let side = if chance(rng, 0.5) { x - 0.07 } else { -x + 0.07 };
    piece.bar_y((0.02, 0.07), (side, 1.03), 0.012, metal);
    let end = side - 0.11 * side.signum();
    piece.bar_x((side.min(end), side.max(end)), (0.065, 1.03), 0.011, metal);
}
