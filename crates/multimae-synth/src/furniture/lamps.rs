//! Lamps. The bright parts cast no shadow; the light comes from a point in them.

use super::Assembly;
use crate::draw::{Stream, between, pick};
use crate::labels::Label;
use crate::material::{Material, Texture};
use crate::style::Style;
use crate::vec3::{Vec3, vec3};

/// A shade: glowing, or plain cloth if the brightness is 0.
fn shade(style: &Style, brightness: f32, rng: &mut Stream) -> Material {
    let warm = vec3(1.0, 0.85, 0.62);
    let colour = pick(rng, [warm, warm, warm * style.accent.lerp(Vec3::splat(1.0), 0.6)]);
    if brightness == 0.0 {
        return Material::cloth(colour * 0.7);
    }
    Material::glowing(Texture::Mottled { scale: 2.0, amount: 0.1 }, colour, colour, brightness)
}

/// A lamp under the ceiling; the origin is on the floor below it. Returns where the light is.
pub(crate) fn ceiling_lamp(
    piece: &mut Assembly<'_>,
    ceiling: f32,
    style: &Style,
    rng: &mut Stream,
) -> Vec3 {
    let glow = shade(style, between(rng, 2.0, 5.0), rng).on(Label::Lamp);
    let metal = style.metal.on(Label::Lamp);
    match pick(rng, [0, 1, 2]) {
        0 => {
            piece.column((0.0, 0.0), 0.2, (ceiling - 0.09, ceiling), 0.0, glow);
            piece.point(vec3(0.0, 0.0, ceiling - 0.2))
        }
        1 => {
            let low = ceiling - between(rng, 0.45, 0.8);
            piece.column((0.0, 0.0), 0.006, (low + 0.2, ceiling), 0.0, metal);
            piece.column((0.0, 0.0), 0.22, (low, low + 0.22), 0.5, glow);
            piece.point(vec3(0.0, 0.0, low - 0.05))
        }
        _ => {
            let low = ceiling - between(rng, 0.4, 0.7);
            piece.column((0.0, 0.0), 0.006, (low + 0.1, ceiling), 0.0, metal);
            piece.ellipsoid(vec3(0.0, 0.0, low), vec3(0.15, 0.15, 0.15), 0.0, glow);
            piece.point(vec3(0.0, 0.0, low - 0.2))
        }
    }
}

/// A standing lamp. Returns where the light is.
pub(crate) fn floor_lamp(
    piece: &mut Assembly<'_>,
    lit: bool,
    style: &Style,
    rng: &mut Stream,
) -> Vec3 {
    let metal = style.metal.on(Label::Lamp);
    let height = between(rng, 1.4, 1.7);
    piece.column((0.0, 0.0), 0.14, (0.0, 0.025), 0.2, metal);
    piece.column((0.0, 0.0), 0.012, (0.025, height - 0.2), 0.0, metal);
    let glow = shade(style, if lit { 3.0 } else { 0.0 }, rng).on(Label::Lamp);
    piece.column((0.0, 0.0), between(rng, 0.17, 0.24), (height - 0.28, height), 0.35, glow);
    piece.point(vec3(0.0, 0.0, height - 0.12))
}

/// A lamp for a table or night table, at the origin.
pub(crate) fn table_lamp(piece: &mut Assembly<'_>, lit: bool, style: &Style, rng: &mut Stream) {
    let foot = style.frame.on(Label::Lamp);
    let height = between(rng, 0.34, 0.5);
    piece.column((0.0, 0.0), 0.06, (0.0, 0.02), 0.0, foot);
    piece.ellipsoid(vec3(0.0, 0.0, 0.1), vec3(0.055, 0.055, 0.1), 0.0, foot);
    piece.column((0.0, 0.0), 0.01, (0.18, height - 0.1), 0.0, foot);
    let glow = shade(style, if lit { 2.5 } else { 0.0 }, rng).on(Label::Lamp);
    let radius = between(rng, 0.1, 0.14);
    piece.column((0.0, 0.0), radius, (height - 0.18, height), 0.4, glow);
}
