//! Kitchens with a place to eat.

use std::f32::consts::{FRAC_PI_2, PI};

use super::fittings::{put_bookshelf, put_cupboard};
use super::{Layout, Needs};
use crate::draw::{Stream, between, chance, count, pick};
use crate::furniture::{
    Assembly, carton, chair, kitchen_row, rug, stool, table, television, things_on_top, wardrobe,
};
use crate::vec3::vec3;

/// Counters along one or two walls, a table with chairs, tall cupboards.
pub(super) fn furnish(layout: &mut Layout, rng: &mut Stream) {
    let rows = count(rng, 1, 2);
    for _ in 0..rows {
        put_row(layout, rng);
    }
    put_dining_table(layout, rng);
    for _ in 0..count(rng, 0, 2) {
        put_tall_cupboard(layout, rng);
    }
    if chance(rng, 0.5) {
        put_bookshelf(layout, rng);
    }
    if chance(rng, 0.5) {
        put_cupboard(layout, rng);
    }
    if chance(rng, 0.5) {
        put_stool(layout, rng);
    }
}

fn put_row(layout: &mut Layout, rng: &mut Stream) {
    for attempt in 0..4 {
        let width = between(rng, 1.4, 3.2) * (1.0 - 0.15 * attempt as f32);
        let upper = attempt < 2 && chance(rng, 0.7);
        let height = if upper { 2.12 } else { 0.92 };
        let needs = Needs { width, depth: 0.64, height, front: 0.7 };
        let Some(pose) = layout.against_wall(needs, rng) else { continue };
        let style = layout.style;
        let mut piece = layout.build(pose);
        kitchen_row(&mut piece, (width, upper), &style, rng);
        put_on_counter(&mut piece, width, &style, rng);
        return;
    }
}

fn put_on_counter(
    piece: &mut Assembly<'_>,
    width: f32,
    style: &crate::style::Style,
    rng: &mut Stream,
) {
    if chance(rng, 0.5) {
        let size = vec3(between(rng, 0.2, 0.32), 0.2, between(rng, 0.15, 0.3));
        carton(&mut piece.at(0.42 * width, 0.16, 0.9, 0.0), size, style, rng);
    }
    if width > 2.0 && chance(rng, 0.3) {
        television(&mut piece.at(0.0, 0.16, 0.9, 0.0), 0.5, 0.5, rng);
    }
}

/// A table with chairs around it, somewhere free.
pub(super) fn put_dining_table(layout: &mut Layout, rng: &mut Stream) {
    let long = between(rng, 0.9, 1.8);
    let size = if long < 1.15 { (long, long) } else { (long, between(rng, 0.75, 0.95)) };
    let Some(pose) = layout.on_floor((size.0 + 0.9, size.1 + 0.9), 0.0, rng) else { return };
    let style = layout.style;
    if chance(rng, 0.3) {
        rug(&mut layout.build(pose), (size.0 + 0.9, size.1 + 0.9), &style, rng);
    }
    let mut piece = layout.build(pose.raised(0.012));
    let top = table(&mut piece, size, &style, rng);
    if chance(rng, 0.5) {
        let x = 0.5 * pick(rng, [0.4, 0.8]);
        things_on_top(&mut piece, ((-x, x), 0.0, top), &style, rng);
    }
    let (x, y) = (0.5 * size.0, 0.5 * size.1);
    let places = if size.0 > 1.3 { &[-0.25, 0.25][..] } else { &[0.0][..] };
    for &place in places {
        for side in [-1.0, 1.0] {
            let turn = if side > 0.0 { PI } else { 0.0 };
            let at = (place * size.0, side * (y + between(rng, 0.02, 0.18)));
            put_chair(&mut piece, at, turn, &style, rng);
        }
    }
    for side in [-1.0, 1.0] {
        let at = (side * (x + between(rng, 0.02, 0.18)), 0.0);
        put_chair(&mut piece, at, side * FRAC_PI_2, &style, rng);
    }
}

fn put_chair(
    piece: &mut Assembly<'_>,
    at: (f32, f32),
    turn: f32,
    style: &crate::style::Style,
    rng: &mut Stream,
) {
    if chance(rng, 0.8) {
        let turn = turn + between(rng, -0.25, 0.25);
        chair(&mut piece.at(at.0, at.1, 0.0, turn), style, rng);
    }
}

fn put_tall_cupboard(layout: &mut Layout, rng: &mut Stream) {
    let size = (between(rng, 0.55, 1.1), 0.6, between(rng, 1.7, 2.15));
    let needs = Needs { width: size.0 + 0.06, depth: 0.62, height: size.2, front: 0.6 };
    let Some(pose) = layout.against_wall(needs, rng) else { return };
    let style = layout.style;
    wardrobe(&mut layout.build(pose), size, &style, rng);
}

fn put_stool(layout: &mut Layout, rng: &mut Stream) {
    let Some(pose) = layout.on_floor((0.4, 0.4), 0.5, rng) else { return };
    let style = layout.style;
    stool(&mut layout.build(pose), pick(rng, [0.45, 0.65]), &style);
}
