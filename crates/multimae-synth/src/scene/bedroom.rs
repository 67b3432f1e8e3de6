//! Bedrooms.

use super::fittings::{put_bookshelf, put_cupboard};
use super::{Layout, Needs};
use crate::draw::{Stream, between, chance, pick};
use crate::furniture::{
    armchair, bed, chair, desk, night_table, rug, sideboard, table_lamp, television, things_on_top,
    wardrobe,
};
use crate::pose::Pose;

/// A bed, most often with night tables, and what goes with it.
pub(super) fn furnish(layout: &mut Layout, rng: &mut Stream) {
    put_bed(layout, rng);
    if chance(rng, 0.8) {
        put_wardrobe(layout, rng);
    }
    let mut extras: [fn(&mut Layout, &mut Stream); 5] =
        [put_desk, put_cupboard, put_bookshelf, put_armchair, put_sideboard];
    crate::draw::shuffle(rng, &mut extras);
    for extra in &extras[..pick(rng, [2, 3, 4])] {
        extra(layout, rng);
    }
}

fn put_bed(layout: &mut Layout, rng: &mut Stream) {
    let size = (pick(rng, [0.9, 1.2, 1.4, 1.6, 1.8]), between(rng, 1.95, 2.1));
    let needs = Needs { width: size.0, depth: size.1, height: 1.3, front: 0.4 };
    let Some(pose) = layout.against_wall(needs, rng) else { return };
    let style = layout.style;
    bed(&mut layout.build(pose), size, &style, rng);
    for side in [-1.0, 1.0] {
        put_night_table(layout, (pose, side, size.0), rng);
    }
    if chance(rng, 0.55) {
        // Under the bed, showing at its sides and foot.
        let area = (size.0 + between(rng, 0.8, 1.4), between(rng, 1.4, 2.0));
        let at = pose.shifted(0.0, 0.75 * size.1, 0.0);
        let (x, y) = (0.5 * area.0, 0.5 * area.1);
        if at.footprint((-x, x), (-y, y)).within(&layout.room.rect()) {
            rug(&mut layout.build(at), area, &style, rng);
        }
    }
}

fn put_night_table(layout: &mut Layout, (bed, side, width): (Pose, f32, f32), rng: &mut Stream) {
    let wide = between(rng, 0.38, 0.5);
    let at = bed.shifted(side * (0.5 * width + 0.5 * wide + 0.06), 0.0, 0.0);
    let half = 0.5 * wide;
    if chance(rng, 0.2) || !layout.take_floor(at.footprint((-half, half), (0.0, 0.42))) {
        return;
    }
    let style = layout.style;
    let mut piece = layout.build(at);
    let top = night_table(&mut piece, wide, &style, rng);
    if chance(rng, 0.6) {
        table_lamp(&mut piece.at(0.0, 0.2, top, 0.0), chance(rng, 0.6), &style, rng);
    } else {
        things_on_top(&mut piece, ((-half, half), 0.2, top), &style, rng);
    }
}

fn put_wardrobe(layout: &mut Layout, rng: &mut Stream) {
    let size = (between(rng, 0.8, 2.2), between(rng, 0.55, 0.62), between(rng, 1.8, 2.2));
    let needs = Needs { width: size.0 + 0.06, depth: size.1, height: size.2, front: 0.6 };
    let Some(pose) = layout.against_wall(needs, rng) else { return };
    let style = layout.style;
    wardrobe(&mut layout.build(pose), size, &style, rng);
}

fn put_desk(layout: &mut Layout, rng: &mut Stream) {
    let size = (between(rng, 0.9, 1.4), between(rng, 0.5, 0.7));
    let needs = Needs { width: size.0, depth: size.1 + 0.5, height: 1.1, front: 0.1 };
    let Some(pose) = layout.against_wall(needs, rng) else { return };
    let style = layout.style;
    let mut piece = layout.build(pose);
    let top = desk(&mut piece, size, &style, rng);
    let x = 0.5 * size.0;
    things_on_top(&mut piece, ((-x, x), 0.25, top), &style, rng);
    let turn = std::f32::consts::PI + between(rng, -0.4, 0.4);
    chair(&mut piece.at(between(rng, -0.1, 0.1), size.1 + 0.15, 0.0, turn), &style, rng);
}

fn put_armchair(layout: &mut Layout, rng: &mut Stream) {
    let needs = Needs { width: 0.95, depth: 0.92, height: 1.0, front: 0.3 };
    let Some(pose) = layout.against_wall(needs, rng) else { return };
    let style = layout.style;
    armchair(&mut layout.build(pose), &style, rng);
}

fn put_sideboard(layout: &mut Layout, rng: &mut Stream) {
    let size = (between(rng, 0.9, 1.6), 0.42, between(rng, 0.45, 0.8));
    let needs = Needs { width: size.0 + 0.04, depth: 0.44, height: 1.4, front: 0.4 };
    let Some(pose) = layout.against_wall(needs, rng) else { return };
    let style = layout.style;
    let mut piece = layout.build(pose);
    sideboard(&mut piece, size, &style, rng);
    television(&mut piece.at(0.0, 0.2, size.2, 0.0), between(rng, 0.6, 0.9), 0.3, rng);
}
