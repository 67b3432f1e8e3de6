//! Tables and desks. Their back is at y = 0, if they have one.

use super::Assembly;
use crate::draw::{Stream, between, chance, pick};
use crate::labels::Label;
use crate::material::{Material, Texture};
use crate::style::Style;
use crate::vec3::Vec3;

/// A dining table about its middle, 0.74 high.
pub(crate) fn table(
    piece: &mut Assembly<'_>,
    (width, depth): (f32, f32),
    style: &Style,
    rng: &mut Stream,
) -> f32 {
    let frame = style.frame.on(Label::Table);
    let (x, y) = (0.5 * width, 0.5 * depth);
    let height = between(rng, 0.72, 0.77);
    let round = (width - depth).abs() < 0.05 && chance(rng, 0.6);
    if round {
        piece.column((0.0, 0.0), x, (height - 0.035, height), 0.0, frame);
        piece.column((0.0, 0.0), 0.06, (0.04, height - 0.035), 0.0, frame);
        piece.column((0.0, 0.0), 0.3, (0.0, 0.05), 0.6, frame);
        return height;
    }
    piece.block((-x, x), (-y, y), (height - 0.035, height), frame);
    let inset = 0.05;
    piece.legs(
        (-x + inset, x - inset),
        (-y + inset, y - inset),
        (0.0, height - 0.035),
        0.032,
        frame,
    );
    for side in [-y + 0.08, y - 0.08] {
        piece.block(
            (-x + 0.1, x - 0.1),
            (side - 0.01, side + 0.01),
            (height - 0.12, height - 0.035),
            frame,
        );
    }
    height
}

/// A low table about its middle.
pub(crate) fn coffee_table(
    piece: &mut Assembly<'_>,
    (width, depth): (f32, f32),
    style: &Style,
    rng: &mut Stream,
) -> f32 {
    let height = between(rng, 0.35, 0.48);
    let frame = style.frame.on(Label::Table);
    let top = match between(rng, 0.0, 1.0) {
        s if s < 0.6 => frame,
        s if s < 0.8 => Material::hard(Texture::Veins, Vec3::splat(0.75), Vec3::splat(0.3), 0.5)
            .on(Label::Table),
        _ => Material::metal(Vec3::splat(0.03)).on(Label::Table),
    };
    let (x, y) = (0.5 * width, 0.5 * depth);
    if chance(rng, 0.25) {
        let radius = x.min(y);
        piece.column((0.0, 0.0), radius, (height - 0.04, height), 0.0, top);
        let leg = radius * 0.7;
        piece.legs((-leg, leg), (-leg, leg), (0.0, height - 0.04), 0.02, frame);
        return height;
    }
    piece.block((-x, x), (-y, y), (height - 0.04, height), top);
    piece.legs((-x, x), (-y, y), (0.0, height - 0.04), 0.03, frame);
    if chance(rng, 0.5) {
        piece.block((-x + 0.03, x - 0.03), (-y + 0.03, y - 0.03), (0.12, 0.14), frame);
    }
    height
}

/// A desk with its back at y = 0; returns the height of its top.
pub(crate) fn desk(
    piece: &mut Assembly<'_>,
    (width, depth): (f32, f32),
    style: &Style,
    rng: &mut Stream,
) -> f32 {
    let frame = style.frame.on(Label::Desk);
    let x = 0.5 * width;
    let height = between(rng, 0.72, 0.77);
    piece.block((-x, x), (0.0, depth), (height - 0.03, height), frame);
    let drawers = pick(rng, [-1.0, 0.0, 1.0]);
    if chance(rng, 0.5) {
        let legs = style.metal.on(Label::Desk);
        piece.legs((-x, x), (0.02, depth - 0.02), (0.0, height - 0.03), 0.025, legs);
    } else {
        piece.block((-x, -x + 0.03), (0.02, depth - 0.02), (0.0, height - 0.03), frame);
        piece.block((x - 0.03, x), (0.02, depth - 0.02), (0.0, height - 0.03), frame);
        piece.block((-x, x), (0.03, 0.05), (0.3, height - 0.03), frame);
    }
    if drawers != 0.0 {
        let centre = drawers * (x - 0.24);
        let mut chest = piece.at(centre, 0.05, 0.0, 0.0);
        super::storage::drawers(
            &mut chest,
            (0.4, depth - 0.1),
            (0.05, height - 0.03),
            3,
            (frame, style.metal.on(Label::Desk)),
        );
    }
    height
}

/// A night table; returns the height of its top.
pub(crate) fn night_table(
    piece: &mut Assembly<'_>,
    width: f32,
    style: &Style,
    rng: &mut Stream,
) -> f32 {
    let (body, metal) = (style.body.on(Label::Cabinet), style.metal.on(Label::Cabinet));
    let height = between(rng, 0.45, 0.62);
    let x = 0.5 * width;
    piece.legs((-x, x), (0.02, 0.4), (0.0, 0.12), 0.02, body);
    super::storage::drawers(piece, (width, 0.4), (0.12, height), 2, (body, metal));
    height
}
