//! Furniture, built from blocks, cylinders and ellipsoids. One file per group.

mod beds;
mod decor;
mod lamps;
mod openings;
mod seats;
mod storage;
mod tables;

pub(crate) use beds::bed;
pub(crate) use decor::{
    book_pile, book_row, carton, picture, rug, television, things_on_top, wall_television,
};
pub(crate) use lamps::{ceiling_lamp, floor_lamp, table_lamp};
pub(crate) use openings::{curtains, door, window};
pub(crate) use seats::{armchair, chair, office_chair, sofa, stool};
pub(crate) use storage::{bookshelf, cupboard, kitchen_row, sideboard, wall_shelf, wardrobe};
pub(crate) use tables::{coffee_table, desk, night_table, table};

use std::f32::consts::FRAC_PI_2;

use crate::geometry::{Rotation, Shape, Solid};
use crate::material::Surface;
use crate::pose::Pose;
use crate::vec3::{Vec3, vec3};

/// From, to: metres.
pub(crate) type Span = (f32, f32);

/// Puts parts together at one place. Coordinates are those of the piece; see [`Pose`].
pub(crate) struct Assembly<'a> {
    pose: Pose,
    solids: &'a mut Vec<Solid>,
}

impl<'a> Assembly<'a> {
    pub(crate) fn new(pose: Pose, solids: &'a mut Vec<Solid>) -> Self {
        Self { pose, solids }
    }

    /// A point of the piece, in the room.
    pub(crate) fn point(&self, local: Vec3) -> Vec3 {
        self.pose.point(local)
    }

    /// Another assembly, placed relative to this one.
    pub(crate) fn at(&mut self, x: f32, y: f32, z: f32, turn: f32) -> Assembly<'_> {
        Assembly { pose: self.pose.shifted(x, y, turn).raised(z), solids: self.solids }
    }

    /// A part of any shape.
    fn part(&mut self, shape: Shape, centre: Vec3, half: Vec3, turn: Rotation, surface: Surface) {
        self.solids.push(Solid {
            shape,
            centre: self.pose.point(centre),
            half,
            rotation: self.pose.rotation().after(&turn),
            surface,
        });
    }

    /// An upright block.
    pub(crate) fn block(&mut self, x: Span, y: Span, z: Span, surface: Surface) {
        let (centre, half) = middle(x, y, z);
        self.part(Shape::Block, centre, half, Rotation::NONE, surface);
    }

    /// A block that leans: turned about the x axis, so that its top goes back by `lean` radians.
    pub(crate) fn leaning(&mut self, centre: Vec3, half: Vec3, lean: f32, surface: Surface) {
        self.part(Shape::Block, centre, half, Rotation::about_x(lean), surface);
    }

    /// A block turned about its upright axis.
    pub(crate) fn turned(&mut self, centre: Vec3, half: Vec3, turn: f32, surface: Surface) {
        self.part(Shape::Block, centre, half, Rotation::about_z(turn), surface);
    }

    /// An upright cylinder; its top is narrower by the share `taper`.
    pub(crate) fn column(
        &mut self,
        (x, y): (f32, f32),
        radius: f32,
        z: Span,
        taper: f32,
        surface: Surface,
    ) {
        let (centre, half) = middle((x - radius, x + radius), (y - radius, y + radius), z);
        self.part(Shape::Cylinder { taper }, centre, half, Rotation::NONE, surface);
    }

    /// A cylinder along x.
    pub(crate) fn bar_x(&mut self, x: Span, (y, z): (f32, f32), radius: f32, surface: Surface) {
        let centre = vec3(0.5 * (x.0 + x.1), y, z);
        let half = vec3(radius, radius, 0.5 * (x.1 - x.0));
        let turn = Rotation::about_y(FRAC_PI_2);
        self.part(Shape::Cylinder { taper: 0.0 }, centre, half, turn, surface);
    }

    /// A cylinder along y.
    pub(crate) fn bar_y(&mut self, y: Span, (x, z): (f32, f32), radius: f32, surface: Surface) {
        let centre = vec3(x, 0.5 * (y.0 + y.1), z);
        let half = vec3(radius, radius, 0.5 * (y.1 - y.0));
        let turn = Rotation::about_x(FRAC_PI_2);
        self.part(Shape::Cylinder { taper: 0.0 }, centre, half, turn, surface);
    }

    /// An ellipsoid; its top goes back by `lean` radians.
    pub(crate) fn ellipsoid(&mut self, centre: Vec3, half: Vec3, lean: f32, surface: Surface) {
        self.part(Shape::Ellipsoid, centre, half, Rotation::about_x(lean), surface);
    }

    /// Four legs, in the corners of a rectangle.
    pub(crate) fn legs(&mut self, x: Span, y: Span, z: Span, radius: f32, surface: Surface) {
        for x in [x.0 + radius, x.1 - radius] {
            for y in [y.0 + radius, y.1 - radius] {
                self.block((x - radius, x + radius), (y - radius, y + radius), z, surface);
            }
        }
    }
}

fn middle(x: Span, y: Span, z: Span) -> (Vec3, Vec3) {
    let centre = vec3(x.0 + x.1, y.0 + y.1, z.0 + z.1) * 0.5;
    (centre, vec3(x.1 - x.0, y.1 - y.0, z.1 - z.0) * 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Label;
    use crate::material::Material;

    #[test]
    fn parts_are_where_the_piece_is() {
        let mut solids = Vec::new();
        let pose = Pose { origin: vec3(2.0, 1.0, 0.0), yaw: FRAC_PI_2 };
        let surface = Material::paint(Vec3::UP).on(Label::Box);
        let mut piece = Assembly::new(pose, &mut solids);
        piece.block((0.0, 1.0), (0.0, 0.5), (0.0, 2.0), surface);
        piece.bar_x((0.0, 1.0), (0.0, 1.0), 0.1, surface);
        piece.at(0.0, 1.0, 0.5, 0.0).column((0.0, 0.0), 0.2, (0.0, 1.0), 0.0, surface);
        let close = |a: Vec3, b: Vec3| assert!((a - b).length() < 1e-5, "{a:?} {b:?}");
        close(solids[0].bounds().low, vec3(1.5, 1.0, 0.0));
        close(solids[0].bounds().high, vec3(2.0, 2.0, 2.0));
        close(solids[1].bounds().low, vec3(1.9, 1.0, 0.9));
        close(solids[1].bounds().high, vec3(2.1, 2.0, 1.1));
        close(solids[2].bounds().low, vec3(0.8, 0.8, 0.5));
    }
}
