//! The colours and woods that belong together in one room.

use crate::draw::{Stream, between, chance, hsv, pick};
use crate::material::{Material, Texture};
use crate::vec3::Vec3;

/// The style that the things of one room share. Colours are linear RGB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) wall: Vec3,
    pub(crate) accent: Vec3,
    pub(crate) wood: Vec3,
    pub(crate) floor_wood: Vec3,
    /// Of cupboards and shelves.
    pub(crate) body: Material,
    /// Of tables and chairs.
    pub(crate) frame: Material,
    /// Of sofas, chairs and bedding.
    pub(crate) cloth: Material,
    pub(crate) metal: Material,
}

impl Style {
    pub(crate) fn draw(rng: &mut Stream) -> Self {
        let wood = wood_colour(rng);
        let accent = hsv(between(rng, 0.0, 1.0), between(rng, 0.25, 0.8), between(rng, 0.35, 0.85));
        let lacquer = Material::paint(pick(
            rng,
            [
                hsv(0.1, 0.03, 0.93),
                hsv(0.1, 0.05, 0.85),
                hsv(0.6, 0.05, 0.35),
                hsv(0.0, 0.0, 0.18),
                accent,
            ],
        ));
        let body = if chance(rng, 0.6) { Material::wood(wood) } else { lacquer };
        let frame = if chance(rng, 0.7) { Material::wood(wood) } else { lacquer };
        Self {
            wall: wall_colour(rng),
            accent,
            wood,
            floor_wood: if chance(rng, 0.3) { wood } else { wood_colour(rng) },
            body,
            frame,
            cloth: cloth(rng, accent),
            metal: Material::metal(Vec3::splat(pick(rng, [0.03, 0.35, 0.55]))),
        }
    }
}

fn wall_colour(rng: &mut Stream) -> Vec3 {
    let hue = between(rng, 0.0, 1.0);
    if chance(rng, 0.55) {
        hsv(between(rng, 0.05, 0.17), between(rng, 0.0, 0.22), between(rng, 0.78, 0.95))
    } else {
        hsv(hue, between(rng, 0.1, 0.4), between(rng, 0.6, 0.9))
    }
}

/// From pale birch to wenge.
fn wood_colour(rng: &mut Stream) -> Vec3 {
    let dark = between(rng, 0.0, 1.0);
    hsv(0.095 - 0.05 * dark, 0.35 + 0.3 * dark, 0.9 - 0.6 * dark)
}

/// Some cloth: plain or printed, muted or in the colour of the room.
pub(crate) fn cloth(rng: &mut Stream, accent: Vec3) -> Material {
    let hue = between(rng, 0.0, 1.0);
    let colour = pick(
        rng,
        [
            accent,
            hsv(hue, 0.5, 0.6),
            hsv(hue, 0.15, 0.75),
            hsv(0.1, 0.15, 0.85),
            hsv(0.08, 0.4, 0.4),
            hsv(0.6, 0.1, 0.35),
        ],
    );
    let second = pick(rng, [Vec3::splat(0.75), accent * 0.5, colour * 0.45]);
    match between(rng, 0.0, 1.0) {
        s if s < 0.6 => Material::cloth(colour),
        s if s < 0.7 => {
            let period = between(rng, 0.05, 0.2);
            Material::printed(Texture::Stripes { period, share: 0.4 }, colour, second)
        }
        s if s < 0.8 => {
            let period = between(rng, 0.08, 0.2);
            Material::printed(Texture::Dots { period, radius: 0.28 }, colour, second)
        }
        s if s < 0.9 => {
            let size = between(rng, 0.05, 0.15);
            Material::printed(Texture::Checks { size }, colour, second)
        }
        _ => {
            let scale = between(rng, 5.0, 12.0);
            Material::printed(Texture::Blotches { scale }, colour, second)
        }
    }
}

/// A colour for a small thing: a box, a book.
pub(crate) fn any_colour(rng: &mut Stream) -> Vec3 {
    hsv(between(rng, 0.0, 1.0), between(rng, 0.05, 0.75), between(rng, 0.2, 0.9))
}
