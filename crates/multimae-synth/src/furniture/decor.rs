//! Small things: pictures, rugs, cushions, books, boxes, televisions.

use super::{Assembly, Span, table_lamp};
use crate::draw::{Stream, between, chance, count, pick};
use crate::labels::Label;
use crate::material::{Material, Texture};
use crate::style::{Style, any_colour, cloth};
use crate::vec3::{Vec3, vec3};

/// A framed picture on the wall.
pub(crate) fn picture(
    piece: &mut Assembly<'_>,
    (width, z): (f32, Span),
    style: &Style,
    rng: &mut Stream,
) {
    let x = 0.5 * width;
    let frame = pick(
        rng,
        [
            Material::wood(style.wood),
            Material::paint(Vec3::splat(0.02)),
            Material::paint(Vec3::splat(0.8)),
            Material::metal(vec3(0.5, 0.35, 0.1)),
        ],
    );
    piece.block((-x, x), (0.0, 0.022), z, frame.on(Label::Picture));
    let mut rim = between(rng, 0.015, 0.04);
    if chance(rng, 0.5) {
        let card = Material::paint(Vec3::splat(0.8)).on(Label::Picture);
        piece.block((-x + rim, x - rim), (0.022, 0.024), (z.0 + rim, z.1 - rim), card);
        rim += between(rng, 0.03, 0.07);
    }
    let art = Material::hard(Texture::Painting, any_colour(rng), any_colour(rng), 0.1);
    let inner = (z.0 + rim, z.1 - rim);
    piece.block((-x + rim, x - rim), (0.022, 0.026), inner, art.on(Label::Picture));
}

/// A rug about its middle.
pub(crate) fn rug(
    piece: &mut Assembly<'_>,
    (width, depth): (f32, f32),
    style: &Style,
    rng: &mut Stream,
) {
    let (first, other) = (any_colour(rng), any_colour(rng));
    let base = pick(rng, [style.accent, style.wood, first, first, Vec3::splat(0.55)]);
    let second = pick(rng, [Vec3::splat(0.6), other, base * 0.4]);
    let material = match between(rng, 0.0, 1.0) {
        s if s < 0.3 => Material::hard(Texture::Pile, base, base, 0.0),
        s if s < 0.65 => Material::printed(Texture::Medallion, base, second),
        s if s < 0.85 => {
            Material::printed(Texture::Bands { period: between(rng, 0.06, 0.2) }, base, second)
        }
        _ => Material::printed(Texture::Checks { size: between(rng, 0.1, 0.3) }, base, second),
    };
    let (x, y) = (0.5 * width, 0.5 * depth);
    if chance(rng, 0.15) {
        piece.column((0.0, 0.0), x.min(y), (0.0, 0.012), 0.0, material.on(Label::FloorMat));
    } else {
        piece.block((-x, x), (-y, y), (0.0, 0.012), material.on(Label::FloorMat));
    }
}

/// Cushions leaning on the back of a sofa: within `half` of the middle, at `(y, z)`.
pub(crate) fn cushions(
    piece: &mut Assembly<'_>,
    half: f32,
    (y, z): (f32, f32),
    style: &Style,
    rng: &mut Stream,
) {
    for side in [-1.0, 1.0] {
        for i in 0..count(rng, 0, 2) {
            let surface = cloth(rng, style.accent).on(Label::Pillow);
            let x = side * (half - 0.12 - 0.28 * i as f32);
            let size = vec3(between(rng, 0.18, 0.24), 0.08, 0.2);
            let y = y + 0.04 * i as f32 + between(rng, 0.0, 0.06);
            piece.ellipsoid(vec3(x, y, z), size, between(rng, 0.2, 0.5), surface);
        }
    }
}

/// A row of upright books: over the span `x`, backs within `y`, on `z`, at most `high`.
pub(crate) fn book_row(
    piece: &mut Assembly<'_>,
    (x, y, z): (Span, Span, f32),
    high: f32,
    rng: &mut Stream,
) {
    let mut left = x.0;
    // Series: some books in a row share colour and height.
    let (mut same, mut colour, mut height) = (0, Vec3::default(), 0.0);
    loop {
        if same == 0 {
            same = count(rng, 1, 4);
            colour = any_colour(rng);
            height = high * between(rng, 0.62, 0.98);
        }
        same -= 1;
        let width = between(rng, 0.018, 0.05);
        if left + width > x.1 {
            return;
        }
        let front = y.1 - between(rng, 0.0, 0.35) * (y.1 - y.0) * 0.3;
        let tint = between(rng, 0.8, 1.1);
        let surface =
            Material::hard(Texture::Bands { period: 0.055 }, colour * tint, colour * 0.6, 0.1);
        piece.block(
            (left, left + width - 0.001),
            (y.0, front),
            (z, z + height),
            surface.on(Label::Books),
        );
        left += width;
    }
}

/// Some books lying on each other; returns the height of the pile.
pub(crate) fn book_pile(piece: &mut Assembly<'_>, rng: &mut Stream) -> f32 {
    let mut z = 0.0;
    for _ in 0..count(rng, 1, 5) {
        let thick = between(rng, 0.015, 0.045);
        let half = vec3(between(rng, 0.07, 0.1), between(rng, 0.1, 0.14), 0.5 * thick);
        let surface = Material::paint(any_colour(rng)).on(Label::Books);
        piece.turned(vec3(0.0, 0.0, z + half.z), half, between(rng, -0.4, 0.4), surface);
        z += thick;
    }
    z
}

/// A cardboard box or a storage box about the origin.
pub(crate) fn carton(piece: &mut Assembly<'_>, size: Vec3, style: &Style, rng: &mut Stream) {
    let cardboard = vec3(0.38, 0.24, 0.12) * between(rng, 0.8, 1.2);
    let plain = chance(rng, 0.6);
    let other = any_colour(rng);
    let colour = if plain { cardboard } else { pick(rng, [style.accent, other]) };
    let surface = Material::paint(colour).on(Label::Box);
    let (x, y) = (0.5 * size.x, 0.5 * size.y);
    piece.block((-x, x), (-y, y), (0.0, size.z), surface);
    if plain {
        let tape = Material::paint(vec3(0.5, 0.38, 0.22)).on(Label::Box);
        piece.block(
            (-x - 0.001, x + 0.001),
            (-0.025, 0.025),
            (size.z * 0.75, size.z + 0.001),
            tape,
        );
    } else {
        piece.block((-x - 0.01, x + 0.01), (-y - 0.01, y + 0.01), (size.z * 0.85, size.z), surface);
    }
}

/// A screen's picture, or black glass.
fn screen(rng: &mut Stream, lit: f32) -> Material {
    if chance(rng, lit) {
        let (base, second) = (any_colour(rng), any_colour(rng));
        Material::glowing(Texture::Screen, base, second, between(rng, 0.5, 1.0))
    } else {
        Material::metal(Vec3::splat(0.012))
    }
}

/// A television or monitor on its foot, about x = 0 and y = 0, facing y.
pub(crate) fn television(piece: &mut Assembly<'_>, width: f32, lit: f32, rng: &mut Stream) {
    let (x, height) = (0.5 * width, width * 0.57);
    let black = Material::paint(Vec3::splat(0.015)).on(Label::Television);
    let low = 0.07 + 0.06 * width.min(1.0);
    piece.block((-0.3 * width, 0.3 * width), (-0.09, 0.09), (0.0, 0.012), black);
    piece.block((-0.03, 0.03), (-0.04, -0.015), (0.0, low + 0.1), black);
    piece.block((-x, x), (-0.02, 0.018), (low, low + height), black);
    let glass = screen(rng, lit).on(Label::Television);
    let inner = (low + 0.015, low + height - 0.015);
    piece.block((-x + 0.012, x - 0.012), (0.018, 0.02), inner, glass);
}

/// A flat television on the wall.
pub(crate) fn wall_television(piece: &mut Assembly<'_>, (width, z): (f32, Span), rng: &mut Stream) {
    let x = 0.5 * width;
    let black = Material::paint(Vec3::splat(0.015)).on(Label::Television);
    piece.block((-x, x), (0.0, 0.05), z, black);
    let glass = screen(rng, 0.3).on(Label::Television);
    piece.block((-x + 0.012, x - 0.012), (0.05, 0.052), (z.0 + 0.015, z.1 - 0.015), glass);
}

/// Small things on a flat top: over the span `x`, about the depth `y`, at the height `z`.
pub(crate) fn things_on_top(
    piece: &mut Assembly<'_>,
    (x, y, z): (Span, f32, f32),
    style: &Style,
    rng: &mut Stream,
) {
    const ROOM: f32 = 0.34;
    let places = ((x.1 - x.0) / ROOM).floor() as usize;
    for i in 0..places {
        let at = x.0 + (x.1 - x.0) * (i as f32 + 0.5) / places as f32;
        let mut thing = piece.at(at, y, z, between(rng, -0.4, 0.4));
        match between(rng, 0.0, 1.0) {
            s if s < 0.28 => {
                book_pile(&mut thing, rng);
            }
            s if s < 0.38 => {
                let size = vec3(between(rng, 0.14, 0.24), 0.14, between(rng, 0.06, 0.16));
                carton(&mut thing, size, style, rng);
            }
            s if s < 0.5 => table_lamp(&mut thing, chance(rng, 0.6), style, rng),
            s if s < 0.6 => {
                book_row(&mut thing, ((-0.14, 0.14), (-0.09, 0.07), 0.0), 0.24, rng);
            }
            _ => {}
        }
    }
}
