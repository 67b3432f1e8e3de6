//! Chairs and sofas. They look along y.

use std::f32::consts::TAU;

use super::{Assembly, decor::cushions};
use crate::draw::{Stream, between, chance, pick};
use crate::geometry::{Rotation, Shape};
use crate::labels::Label;
use crate::material::Surface;
use crate::style::Style;
use crate::vec3::vec3;

/// A chair, 0.44 by 0.46 about its middle.
pub(crate) fn chair(piece: &mut Assembly<'_>, style: &Style, rng: &mut Stream) {
    let frame = style.frame.on(Label::Chair);
    let seat = if chance(rng, 0.5) { style.cloth.on(Label::Chair) } else { frame };
    let (w, d) = (0.21, 0.22);
    let back = between(rng, 0.82, 1.02);
    piece.legs((-w, w), (-d, d), (0.0, 0.43), 0.018, frame);
    piece.block((-w, w), (-d, d), (0.43, 0.46), frame);
    piece.block((-w + 0.01, w - 0.01), (-d + 0.02, d), (0.46, 0.485), seat);
    for x in [-w + 0.018, w - 0.018] {
        piece.leaning(
            vec3(x, -d, 0.5 * (0.45 + back)),
            vec3(0.018, 0.016, 0.5 * (back - 0.45)),
            0.1,
            frame,
        );
    }
    chair_back(piece, (w, -d, back), (frame, seat), pick(rng, [0, 1, 2]));
}

/// Closed, with bars across or with bars upright.
fn chair_back(
    piece: &mut Assembly<'_>,
    (w, y, top): (f32, f32, f32),
    (frame, seat): (Surface, Surface),
    pattern: u8,
) {
    let middle = 0.5 * (0.56 + top);
    let lean = |z: f32| y - (z - 0.5 * (0.45 + top)) * 0.1;
    match pattern {
        0 => {
            let half = vec3(w - 0.02, 0.012, 0.5 * (top - 0.56));
            piece.leaning(vec3(0.0, lean(middle), middle), half, 0.1, seat);
        }
        1 => {
            for z in [0.6, 0.5 * (0.6 + top - 0.03), top - 0.03] {
                piece.leaning(vec3(0.0, lean(z), z), vec3(w - 0.02, 0.01, 0.032), 0.1, frame);
            }
        }
        _ => {
            let z = top - 0.03;
            piece.leaning(vec3(0.0, lean(z), z), vec3(w, 0.012, 0.035), 0.1, frame);
            for i in 0..5 {
                let x = (i as f32 - 2.0) * 0.07;
                let half = vec3(0.01, 0.007, 0.5 * (top - 0.46));
                let z = 0.5 * (0.46 + top);
                piece.leaning(vec3(x, lean(z), z), half, 0.1, frame);
            }
        }
    }
}

/// A swivel chair, about 0.6 wide.
pub(crate) fn office_chair(piece: &mut Assembly<'_>, style: &Style, rng: &mut Stream) {
    let metal = style.metal.on(Label::Chair);
    let seat = style.cloth.on(Label::Chair);
    for i in 0..5 {
        let turn = TAU * i as f32 / 5.0;
        let centre = vec3(0.14 * turn.cos(), 0.14 * turn.sin(), 0.07);
        piece.turned(centre, vec3(0.15, 0.022, 0.02), turn, metal);
        let (x, y) = (0.28 * turn.cos(), 0.28 * turn.sin());
        piece.ellipsoid(vec3(x, y, 0.03), vec3(0.03, 0.03, 0.03), 0.0, metal);
    }
    piece.column((0.0, 0.0), 0.03, (0.08, 0.43), 0.0, metal);
    piece.block((-0.23, 0.23), (-0.22, 0.23), (0.43, 0.48), seat);
    piece.ellipsoid(vec3(0.0, 0.0, 0.48), vec3(0.23, 0.23, 0.045), 0.0, seat);
    let top = between(rng, 0.95, 1.15);
    let half = vec3(0.21, 0.03, 0.5 * (top - 0.58));
    piece.leaning(vec3(0.0, -0.23, 0.5 * (0.58 + top)), half, 0.15, seat);
    piece.block((-0.03, 0.03), (-0.25, -0.2), (0.44, 0.7), metal);
    if chance(rng, 0.6) {
        for x in [-0.26, 0.26] {
            piece.block((x - 0.025, x + 0.025), (-0.15, 0.12), (0.64, 0.67), metal);
            piece.block((x - 0.012, x + 0.012), (-0.03, 0.02), (0.44, 0.64), metal);
        }
    }
}

/// A stool, 0.36 across.
pub(crate) fn stool(piece: &mut Assembly<'_>, height: f32, style: &Style) {
    let frame = style.frame.on(Label::Chair);
    piece.column((0.0, 0.0), 0.18, (height - 0.04, height), 0.0, frame);
    piece.legs((-0.14, 0.14), (-0.14, 0.14), (0.0, height - 0.04), 0.016, frame);
    piece.bar_x((-0.13, 0.13), (0.125, 0.2), 0.01, frame);
    piece.bar_x((-0.13, 0.13), (-0.125, 0.2), 0.01, frame);
}

/// A sofa, `width` by 0.9, its back at y = 0.
pub(crate) fn sofa(piece: &mut Assembly<'_>, width: f32, style: &Style, rng: &mut Stream) {
    let places = if width > 1.9 { 3 } else { 2 };
    upholstered(piece, (width, places), style.cloth.on(Label::Sofa), style, rng);
    let inner = 0.5 * width - 0.25;
    cushions(piece, inner, (0.34, 0.62), style, rng);
}

/// An armchair, 0.85 by 0.85, its back at y = 0.
pub(crate) fn armchair(piece: &mut Assembly<'_>, style: &Style, rng: &mut Stream) {
    upholstered(piece, (between(rng, 0.78, 0.9), 1), style.cloth.on(Label::Chair), style, rng);
}

/// Base, arms, seat cushions and back cushions.
fn upholstered(
    piece: &mut Assembly<'_>,
    (width, places): (f32, usize),
    cloth: Surface,
    style: &Style,
    rng: &mut Stream,
) {
    let half = 0.5 * width;
    let (depth, arm) = (0.88, between(rng, 0.12, 0.2));
    let (arm_top, back_top) = (between(rng, 0.54, 0.66), between(rng, 0.76, 0.92));
    let feet = style.frame.on(cloth.label);
    piece.legs((-half, half), (0.03, depth), (0.0, 0.1), 0.03, feet);
    piece.block((-half, half), (0.0, depth - 0.02), (0.1, 0.3), cloth);
    piece.block((-half, half), (0.0, 0.16), (0.3, back_top - 0.04), cloth);
    let round = chance(rng, 0.5);
    for x in [-half, half - arm] {
        piece.block((x, x + arm), (0.0, depth - 0.01), (0.1, arm_top), cloth);
        if round {
            piece.bar_y((0.0, depth), (x + 0.5 * arm, arm_top), 0.5 * arm + 0.02, cloth);
        }
    }
    let room = (width - 2.0 * arm) / places as f32;
    for i in 0..places {
        let x = -half + arm + room * i as f32;
        let (left, right) = (x + 0.006, x + room - 0.006);
        piece.block((left, right), (0.16, depth + 0.02), (0.3, 0.42), cloth);
        let middle = 0.5 * (left + right);
        let puff = vec3(0.5 * room * 0.95, 0.34, 0.05);
        piece.ellipsoid(vec3(middle, 0.54, 0.415), puff, 0.0, cloth);
        let half = vec3(0.5 * (right - left), 0.07, 0.5 * (back_top - 0.42));
        piece.leaning(vec3(middle, 0.24, 0.5 * (0.42 + back_top)), half, 0.16, cloth);
        piece.back_roll((left, right), (0.19, back_top), cloth);
    }
}

impl Assembly<'_> {
    /// The rounded top of a back cushion.
    fn back_roll(&mut self, x: (f32, f32), (y, z): (f32, f32), surface: Surface) {
        let centre = vec3(0.5 * (x.0 + x.1), y, z);
        let half = vec3(0.5 * (x.1 - x.0), 0.085, 0.05);
        self.part(Shape::Ellipsoid, centre, half, Rotation::NONE, surface);
    }
}
