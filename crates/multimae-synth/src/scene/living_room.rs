//! Living rooms.

use super::fittings::{put_bookshelf, put_cupboard};
use super::{Layout, Needs};
use crate::draw::{Stream, between, chance, count};
use crate::furniture::{
    armchair, book_pile, coffee_table, night_table, rug, sideboard, sofa, table_lamp, television,
    things_on_top, wall_television,
};
use crate::pose::Pose;
use crate::vec3::vec3;

/// A sofa with a low table before it, a television across, shelves, and perhaps a dining corner.
pub(super) fn furnish(layout: &mut Layout, rng: &mut Stream) {
    let group = put_sofa(layout, rng);
    put_television(layout, group, rng);
    for _ in 0..count(rng, 1, 2) {
        put_bookshelf(layout, rng);
    }
    if chance(rng, 0.6) {
        super::kitchen::put_dining_table(layout, rng);
    }
    for _ in 0..count(rng, 0, 2) {
        put_armchair(layout, rng);
    }
    put_cupboard(layout, rng);
}

/// The sofa and its surroundings; returns the side that it looks at.
fn put_sofa(layout: &mut Layout, rng: &mut Stream) -> Option<usize> {
    let width = between(rng, 1.5, 2.4);
    let needs = Needs { width, depth: 0.92, height: 0.95, front: 1.1 };
    let side = count(rng, 0, 3);
    let (side, pose) = (0..4)
        .map(|i| (side + i) % 4)
        .find_map(|side| layout.against(side, needs, rng).map(|pose| (side, pose)))?;
    let style = layout.style;
    sofa(&mut layout.build(pose), width, &style, rng);
    put_coffee_table(layout, (pose, width), rng);
    if chance(rng, 0.5) {
        put_side_table(layout, (pose, width), rng);
    }
    Some((side + 2) % 4)
}

fn put_coffee_table(layout: &mut Layout, (sofa, width): (Pose, f32), rng: &mut Stream) {
    let style = layout.style;
    let at = sofa.shifted(0.0, between(rng, 1.55, 1.75), 0.0);
    if chance(rng, 0.7) {
        let area = (between(rng, 0.9, 1.2) * width, between(rng, 1.2, 1.9));
        let (x, y) = (0.5 * area.0, 0.5 * area.1);
        if at.footprint((-x, x), (-y, y)).within(&layout.room.rect()) {
            rug(&mut layout.build(at), area, &style, rng);
        }
    }
    let size = (between(rng, 0.7, 1.2), between(rng, 0.5, 0.7));
    let (x, y) = (0.5 * size.0, 0.5 * size.1);
    if !layout.take_floor(at.footprint((-x, x), (-y, y))) {
        return;
    }
    let mut piece = layout.build(at.raised(0.012));
    let top = coffee_table(&mut piece, size, &style, rng);
    for _ in 0..count(rng, 0, 2) {
        let spot = vec3(between(rng, -0.35, 0.35) * x, between(rng, -0.25, 0.25) * y, top);
        book_pile(&mut piece.at(spot.x, spot.y, spot.z, between(rng, -0.5, 0.5)), rng);
        if chance(rng, 0.5) {
            return;
        }
    }
}

fn put_side_table(layout: &mut Layout, (sofa, width): (Pose, f32), rng: &mut Stream) {
    let at = sofa.shifted(0.5 * width + 0.3, 0.1, 0.0);
    if !layout.take_floor(at.footprint((-0.22, 0.22), (0.0, 0.42))) {
        return;
    }
    let style = layout.style;
    let mut piece = layout.build(at);
    let top = night_table(&mut piece, 0.42, &style, rng);
    table_lamp(&mut piece.at(0.0, 0.2, top, 0.0), chance(rng, 0.6), &style, rng);
}

/// A sideboard with a television on or over it, across from the sofa if that goes.
fn put_television(layout: &mut Layout, across: Option<usize>, rng: &mut Stream) {
    let size = (between(rng, 1.1, 2.0), between(rng, 0.38, 0.48), between(rng, 0.38, 0.6));
    let needs = Needs { width: size.0 + 0.04, depth: size.1 + 0.02, height: 1.9, front: 0.5 };
    let pose = across
        .and_then(|side| layout.against(side, needs, rng))
        .or_else(|| layout.against_wall(needs, rng));
    let Some(pose) = pose else { return };
    let style = layout.style;
    let mut piece = layout.build(pose);
    sideboard(&mut piece, size, &style, rng);
    let width = between(rng, 0.75, 1.3).min(size.0);
    if chance(rng, 0.35) {
        let low = size.2 + between(rng, 0.3, 0.5);
        wall_television(
            &mut piece.at(0.0, -0.02, 0.0, 0.0),
            (width, (low, low + 0.57 * width)),
            rng,
        );
        let x = 0.5 * size.0;
        things_on_top(&mut piece, ((-x, x), 0.2, size.2), &style, rng);
    } else {
        television(&mut piece.at(0.0, 0.5 * size.1, size.2, 0.0), width, 0.35, rng);
    }
}

fn put_armchair(layout: &mut Layout, rng: &mut Stream) {
    let Some(pose) = layout.on_floor((1.05, 1.05), 0.3, rng) else { return };
    // It looks at the middle of the room.
    let to_middle = layout.room.size * 0.5 - pose.origin;
    let yaw = to_middle.y.atan2(to_middle.x) - std::f32::consts::FRAC_PI_2;
    let style = layout.style;
    armchair(&mut layout.build(Pose { yaw, ..pose }.shifted(0.0, -0.44, 0.0)), &style, rng);
}
