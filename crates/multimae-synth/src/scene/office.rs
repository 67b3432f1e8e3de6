//! Offices and studies.

use std::f32::consts::PI;

use super::fittings::{put_bookshelf, put_cupboard};
use super::{Layout, Needs};
use crate::draw::{Stream, between, chance, count};
use crate::furniture::{
    book_pile, book_row, desk, office_chair, rug, sofa, table_lamp, television,
};
use crate::pose::Pose;

/// Desks with chairs and screens, shelves, perhaps a sofa.
pub(super) fn furnish(layout: &mut Layout, rng: &mut Stream) {
    for _ in 0..count(rng, 1, 3) {
        put_desk(layout, rng);
    }
    if chance(rng, 0.3) {
        put_desk_in_the_middle(layout, rng);
    }
    for _ in 0..count(rng, 1, 3) {
        put_bookshelf(layout, rng);
    }
    for _ in 0..count(rng, 1, 2) {
        put_cupboard(layout, rng);
    }
    if chance(rng, 0.35) {
        put_sofa(layout, rng);
    }
    if chance(rng, 0.3) {
        super::kitchen::put_dining_table(layout, rng);
    }
    if chance(rng, 0.35) {
        let area = (between(rng, 1.2, 2.0), between(rng, 1.0, 1.6));
        let style = layout.style;
        if let Some(pose) = layout.on_floor(area, 0.1, rng) {
            rug(&mut layout.build(pose), area, &style, rng);
        }
    }
}

fn put_desk(layout: &mut Layout, rng: &mut Stream) {
    let size = (between(rng, 1.1, 1.8), between(rng, 0.6, 0.8));
    let needs = Needs { width: size.0, depth: size.1 + 0.6, height: 1.25, front: 0.1 };
    let Some(pose) = layout.against_wall(needs, rng) else { return };
    build_desk(layout, (pose, size), rng);
}

fn put_desk_in_the_middle(layout: &mut Layout, rng: &mut Stream) {
    let size = (between(rng, 1.4, 1.8), between(rng, 0.7, 0.85));
    let deep = size.1 + 0.7;
    let Some(pose) = layout.on_floor((size.0, deep), 0.0, rng) else { return };
    build_desk(layout, (pose.shifted(0.0, -0.5 * deep, 0.0), size), rng);
}

/// The desk, what is on it, and its chair.
fn build_desk(layout: &mut Layout, (pose, size): (Pose, (f32, f32)), rng: &mut Stream) {
    let style = layout.style;
    let mut piece = layout.build(pose);
    let top = desk(&mut piece, size, &style, rng);
    let x = 0.5 * size.0;
    let screens = count(rng, 0, 2);
    for i in 0..screens {
        let at = 0.56 * (i as f32 - 0.5 * (screens - 1) as f32);
        let turn = -0.3 * at + between(rng, -0.1, 0.1);
        television(&mut piece.at(at, 0.22, top, turn), between(rng, 0.45, 0.54), 0.7, rng);
    }
    if chance(rng, 0.5) {
        table_lamp(&mut piece.at(x - 0.15, 0.18, top, 0.0), chance(rng, 0.6), &style, rng);
    }
    if chance(rng, 0.6) {
        book_pile(&mut piece.at(-x + 0.2, 0.5 * size.1, top, between(rng, -0.4, 0.4)), rng);
    }
    if screens == 0 {
        book_row(&mut piece, ((-0.3, 0.2), (0.04, 0.2), top), 0.28, rng);
    }
    let turn = PI + between(rng, -0.8, 0.8);
    let at = (between(rng, -0.25, 0.25), size.1 + between(rng, 0.15, 0.3));
    office_chair(&mut piece.at(at.0, at.1, 0.0, turn), &style, rng);
}

fn put_sofa(layout: &mut Layout, rng: &mut Stream) {
    let width = between(rng, 1.4, 1.9);
    let needs = Needs { width, depth: 0.92, height: 0.95, front: 0.5 };
    let Some(pose) = layout.against_wall(needs, rng) else { return };
    let style = layout.style;
    sofa(&mut layout.build(pose), width, &style, rng);
}
