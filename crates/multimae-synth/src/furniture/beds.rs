//! Beds with bedding.

use super::Assembly;
use crate::draw::{Stream, between, chance, count};
use crate::labels::Label;
use crate::material::Material;
use crate::style::{Style, cloth};
use crate::vec3::{Vec3, vec3};

/// A bed, `width` by `length`, with the head at the back.
pub(crate) fn bed(
    piece: &mut Assembly<'_>,
    (width, length): (f32, f32),
    style: &Style,
    rng: &mut Stream,
) {
    let half = 0.5 * width;
    let frame = style.frame.on(Label::Bed);
    let board = between(rng, 0.75, 1.3);
    let upholstered = chance(rng, 0.35);
    let head = if upholstered { style.cloth.on(Label::Bed) } else { frame };
    piece.block((-half, half), (0.0, if upholstered { 0.1 } else { 0.05 }), (0.0, board), head);
    if chance(rng, 0.4) {
        let foot = between(rng, 0.4, 0.75);
        piece.block((-half, half), (length - 0.05, length), (0.0, foot), frame);
    }
    let low = between(rng, 0.05, 0.2);
    let sheet_top = low + between(rng, 0.35, 0.45);
    piece.legs((-half, half), (0.05, length - 0.05), (0.0, low), 0.035, frame);
    piece.block((-half, half), (0.04, length - 0.04), (low, low + 0.17), frame);
    let sheet = Material::cloth(Vec3::splat(between(rng, 0.55, 0.85))).on(Label::Bed);
    let inset = half - 0.03;
    piece.block((-inset, inset), (0.06, length - 0.06), (low + 0.17, sheet_top), sheet);
    bedding(piece, (inset, length, sheet_top), style, rng);
    pillows(piece, (inset, sheet_top), style, rng);
}

/// A duvet over the lower part, and sometimes a throw across its end.
fn bedding(
    piece: &mut Assembly<'_>,
    (half, length, top): (f32, f32, f32),
    style: &Style,
    rng: &mut Stream,
) {
    let duvet = cloth(rng, style.accent).on(Label::Bed);
    let start = between(rng, 0.45, 0.8);
    let over = half + 0.03;
    let hang = top - between(rng, 0.12, 0.28);
    let end = length - 0.055;
    piece.block((-over, over), (start, end), (top, top + 0.05), duvet);
    piece.block((-over, -half), (start, end), (hang, top), duvet);
    piece.block((half, over), (start, end), (hang, top), duvet);
    // Puffs, so that it does not lie like a board.
    for row in 0..3 {
        let y = start + (end - start) * (0.2 + 0.3 * row as f32);
        let x = between(rng, -0.3, 0.3) * half;
        let size = vec3(half * 0.85, 0.36, between(rng, 0.04, 0.09));
        piece.ellipsoid(vec3(x, y, top + 0.03), size, 0.0, duvet);
    }
    if chance(rng, 0.4) {
        let throw = cloth(rng, style.accent).on(Label::Bed);
        let wide = over + 0.01;
        piece.block((-wide, wide), (end - 0.5, end - 0.12), (hang, top + 0.08), throw);
    } else {
        piece.bar_x((-over, over), (start, top + 0.04), 0.05, duvet);
    }
}

fn pillows(piece: &mut Assembly<'_>, (half, top): (f32, f32), style: &Style, rng: &mut Stream) {
    let white = Material::cloth(Vec3::splat(between(rng, 0.6, 0.85))).on(Label::Pillow);
    let sleepers = if half > 0.65 { 2 } else { 1 };
    for i in 0..sleepers {
        let x = if sleepers == 1 { 0.0 } else { (i as f32 - 0.5) * half };
        let size = vec3(0.33_f32.min(half * 0.8), 0.22, 0.09);
        let lean = between(rng, 0.0, 0.5);
        piece.ellipsoid(vec3(x, 0.3, top + 0.09), size, -lean, white);
        if chance(rng, 0.4) {
            let cushion = cloth(rng, style.accent).on(Label::Pillow);
            let size = vec3(0.22, 0.21, 0.08);
            piece.ellipsoid(vec3(x + 0.03, 0.46, top + 0.19), size, -0.9, cushion);
        }
    }
    if chance(rng, 0.3) {
        let cushion = cloth(rng, style.accent).on(Label::Pillow);
        let x = between(rng, -0.2, 0.2) * count(rng, 0, 1) as f32;
        piece.ellipsoid(vec3(x, 0.55, top + 0.13), vec3(0.24, 0.1, 0.13), 0.2, cushion);
    }
}
