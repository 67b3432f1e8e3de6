//! Cupboards, shelves and kitchens, with their backs at y = 0.

use super::{Assembly, Span, book_row};
use crate::draw::{Stream, between, chance, count, pick};
use crate::labels::Label;
use crate::material::{Material, Surface, Texture};
use crate::style::Style;
use crate::vec3::{Vec3, vec3};

/// Joints between doors.
const JOINT: f32 = 0.004;

/// Thickness of boards.
const BOARD: f32 = 0.022;

/// A body with `count` drawers, `width` about x = 0.
pub(super) fn drawers(
    piece: &mut Assembly<'_>,
    (width, depth): (f32, f32),
    z: Span,
    count: usize,
    (body, metal): (Surface, Surface),
) {
    let x = 0.5 * width;
    piece.block((-x, x), (0.0, depth - 0.02), z, body);
    let step = (z.1 - z.0) / count as f32;
    for i in 0..count {
        let low = z.0 + step * i as f32 + JOINT;
        let high = z.0 + step * (i + 1) as f32 - JOINT;
        piece.block((-x + JOINT, x - JOINT), (depth - 0.02, depth), (low, high), body);
        let middle = 0.5 * (low + high);
        piece.bar_x((-0.06, 0.06), (depth + 0.015, middle), 0.007, metal);
    }
}

/// A body with `count` doors side by side, handles between them.
fn doors(
    piece: &mut Assembly<'_>,
    (x, depth, z): (Span, f32, Span),
    count: usize,
    (body, metal): (Surface, Surface),
) {
    piece.block(x, (0.0, depth - 0.02), z, body);
    let step = (x.1 - x.0) / count as f32;
    let tall = z.1 - z.0 > 1.2;
    let handle = if tall { (z.0 + 0.9, z.0 + 1.1) } else { (z.1 - 0.2, z.1 - 0.08) };
    for i in 0..count {
        let left = x.0 + step * i as f32 + JOINT;
        let right = x.0 + step * (i + 1) as f32 - JOINT;
        piece.block((left, right), (depth - 0.02, depth), (z.0 + JOINT, z.1 - JOINT), body);
        let at = if i % 2 == 0 { right - 0.04 } else { left + 0.04 };
        piece.column((at, depth + 0.015), 0.007, handle, 0.0, metal);
    }
}

/// A wardrobe.
pub(crate) fn wardrobe(
    piece: &mut Assembly<'_>,
    (width, depth, height): (f32, f32, f32),
    style: &Style,
    rng: &mut Stream,
) {
    let x = 0.5 * width;
    let (body, metal) = (style.body.on(Label::Cabinet), style.metal.on(Label::Cabinet));
    piece.block((-x + 0.02, x - 0.02), (0.0, depth - 0.05), (0.0, 0.08), body);
    let count = (width / 0.5).round().max(1.0) as usize;
    doors(piece, ((-x, x), depth, (0.08, height)), count, (body, metal));
    if chance(rng, 0.4) {
        piece.block((-x - 0.02, x + 0.02), (0.0, depth + 0.03), (height, height + 0.05), body);
    }
}

/// A cupboard of half height, or a chest of drawers; returns the height of its top.
pub(crate) fn cupboard(
    piece: &mut Assembly<'_>,
    (width, depth, height): (f32, f32, f32),
    style: &Style,
    rng: &mut Stream,
) {
    let x = 0.5 * width;
    let (body, metal) = (style.body.on(Label::Cabinet), style.metal.on(Label::Cabinet));
    piece.legs((-x, x), (0.02, depth - 0.02), (0.0, 0.1), 0.025, body);
    if chance(rng, 0.5) {
        drawers(piece, (width, depth), (0.1, height), count(rng, 3, 4), (body, metal));
    } else {
        doors(piece, ((-x, x), depth, (0.1, height)), 2, (body, metal));
    }
}

/// A low, long cupboard, as under a television.
pub(crate) fn sideboard(
    piece: &mut Assembly<'_>,
    (width, depth, height): (f32, f32, f32),
    style: &Style,
    rng: &mut Stream,
) {
    let x = 0.5 * width;
    let (body, metal) = (style.body.on(Label::Cabinet), style.metal.on(Label::Cabinet));
    let feet = between(rng, 0.04, 0.15);
    piece.legs((-x, x), (0.02, depth - 0.02), (0.0, feet), 0.025, body);
    let count = (width / 0.55).round().max(2.0) as usize;
    doors(piece, ((-x, x), depth, (feet, height)), count, (body, metal));
    piece.block((-x - 0.01, x + 0.01), (0.0, depth + 0.01), (height - 0.025, height), body);
}

/// A bookshelf, open, with books and boxes in it.
pub(crate) fn bookshelf(
    piece: &mut Assembly<'_>,
    (width, depth, height): (f32, f32, f32),
    style: &Style,
    rng: &mut Stream,
) {
    let x = 0.5 * width;
    let body = style.body.on(Label::Bookshelf);
    piece.block((-x, x), (0.0, 0.012), (0.0, height), body);
    let columns = (width / 0.85).ceil().max(1.0) as usize;
    let wide = (width - BOARD) / columns as f32;
    for i in 0..=columns {
        let left = -x + wide * i as f32;
        piece.block((left, left + BOARD), (0.0, depth), (0.0, height), body);
    }
    let shelves = (height / 0.36).round().max(2.0) as usize;
    let high = (height - 0.06 - BOARD) / shelves as f32;
    for level in 0..=shelves {
        let z = 0.06 + high * level as f32;
        piece.block((-x, x), (0.0, depth - 0.005), (z, z + BOARD), body);
        for i in (0..columns).filter(|_| level < shelves) {
            let left = -x + wide * i as f32 + BOARD;
            let cell = ((left, left + wide - BOARD), z + BOARD, high - BOARD);
            fill_shelf(piece, cell, depth, style, rng);
        }
    }
}

/// Books, a box or nothing: in the span `x`, on `z`, at most `high`.
fn fill_shelf(
    piece: &mut Assembly<'_>,
    (x, z, high): (Span, f32, f32),
    depth: f32,
    style: &Style,
    rng: &mut Stream,
) {
    match between(rng, 0.0, 1.0) {
        s if s < 0.7 => {
            let end = x.0 + (x.1 - x.0) * between(rng, 0.45, 1.0);
            book_row(piece, ((x.0 + 0.004, end), (0.03, depth - 0.02), z), high - 0.02, rng);
        }
        s if s < 0.85 => {
            let width = between(rng, 0.4, 0.8) * (x.1 - x.0);
            let left = x.0 + (x.1 - x.0 - width) * between(rng, 0.1, 0.9);
            let colour = pick(rng, [style.accent, style.wood, Vec3::splat(0.6)]);
            let surface = Material::cloth(colour).on(Label::Box);
            let top = z + high * between(rng, 0.4, 0.8);
            piece.block((left, left + width), (0.03, depth - 0.03), (z, top), surface);
        }
        _ => {}
    }
}

/// A board on the wall with books on it; the pose is at the floor, the board at `z`.
pub(crate) fn wall_shelf(
    piece: &mut Assembly<'_>,
    (width, z): (f32, f32),
    style: &Style,
    rng: &mut Stream,
) {
    let x = 0.5 * width;
    piece.block((-x, x), (0.0, 0.22), (z - 0.03, z), style.frame.on(Label::Bookshelf));
    let end = -x + width * between(rng, 0.5, 0.95);
    book_row(piece, ((-x + 0.02, end), (0.01, 0.2), z), 0.26, rng);
}

/// A kitchen row: cupboards below, a counter, tiles behind it, and cupboards above it if
/// `upper`.
pub(crate) fn kitchen_row(
    piece: &mut Assembly<'_>,
    (width, upper): (f32, bool),
    style: &Style,
    rng: &mut Stream,
) {
    let x = 0.5 * width;
    let (body, metal) = (style.body.on(Label::Cabinet), style.metal.on(Label::Cabinet));
    piece.block((-x, x), (0.0, 0.52), (0.0, 0.1), body);
    let units = (width / 0.55).round().max(1.0) as usize;
    let wide = width / units as f32;
    for i in 0..units {
        let left = -x + wide * i as f32;
        if chance(rng, 0.3) {
            let mut unit = piece.at(left + 0.5 * wide, 0.0, 0.0, 0.0);
            drawers(&mut unit, (wide, 0.6), (0.1, 0.86), 3, (body, metal));
        } else {
            doors(piece, ((left, left + wide), 0.6, (0.1, 0.86)), 1, (body, metal));
        }
    }
    piece.block((-x, x), (0.0, 0.63), (0.86, 0.9), worktop(style, rng).on(Label::Counter));
    let white = Vec3::splat(between(rng, 0.5, 0.85));
    let tile = Material::hard(Texture::Tiles { size: 0.1, joint: 0.004 }, white, white * 0.6, 0.4);
    piece.block((-x, x), (-0.015, 0.0), (0.9, 1.45), tile.on(Label::Wall));
    tap_and_hob(piece, x, style, rng);
    if upper {
        let count = (width / 0.5).round().max(1.0) as usize;
        doors(piece, ((-x, x), 0.35, (1.45, 2.1)), count, (body, metal));
    }
}

fn worktop(style: &Style, rng: &mut Stream) -> Material {
    let stone = Vec3::splat(pick(rng, [0.04, 0.3, 0.7]));
    match between(rng, 0.0, 1.0) {
        s if s < 0.4 => Material::wood(style.floor_wood),
        s if s < 0.7 => Material::hard(Texture::Veins, stone, stone * 0.5, 0.5),
        _ => Material::hard(Texture::Mottled { scale: 60.0, amount: 0.4 }, stone, stone, 0.4),
    }
}

/// A tap over a basin, and a hob: parts of the counter.
fn tap_and_hob(piece: &mut Assembly<'_>, x: f32, style: &Style, rng: &mut Stream) {
    let metal = style.metal.on(Label::Counter);
    let tap = between(rng, -0.6, 0.0) * x;
    piece.column((tap, 0.1), 0.015, (0.9, 1.16), 0.0, metal);
    piece.bar_y((0.1, 0.28), (tap, 1.15), 0.012, metal);
    let basin = Material::metal(Vec3::splat(0.25)).on(Label::Counter);
    piece.block((tap - 0.22, tap + 0.22), (0.13, 0.52), (0.899, 0.904), basin);
    if x > 0.8 {
        let hob = Material::metal(Vec3::splat(0.015)).on(Label::Counter);
        let at = x * 0.55;
        piece.block((at - 0.27, at + 0.27), (0.07, 0.56), (0.9, 0.908), hob);
        if chance(rng, 0.5) {
            let pot = Material::metal(vec3(0.4, 0.4, 0.42)).on(Label::Counter);
            piece.column((at - 0.12, 0.2), 0.1, (0.908, 1.05), 0.0, pot);
        }
    }
}
