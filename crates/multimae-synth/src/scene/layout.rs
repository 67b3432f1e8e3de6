//! The placement of things: on free floor, along free wall.

use super::light::Light;
use super::room::Room;
use crate::draw::{Stream, between, chance, count};
use crate::furniture::Assembly;
use crate::geometry::Solid;
use crate::pose::{Pose, Rect};
use crate::style::Style;

/// Furniture keeps this far off the wall, for the skirting board.
const OFF_WALL: f32 = 0.02;

/// The number of tries before a thing is left out.
const ATTEMPTS: usize = 40;

/// The needs of a thing in the room. Metres.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    /// Along the wall.
    pub(crate) width: f32,
    /// Away from the wall.
    pub(crate) depth: f32,
    pub(crate) height: f32,
    /// Free floor in front.
    pub(crate) front: f32,
}

/// A room that is being furnished.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) room: Room,
    pub(crate) style: Style,
    pub(crate) solids: Vec<Solid>,
    pub(crate) lights: Vec<Light>,
    taken_floor: Vec<Rect>,
    /// Per wall: along it and up.
    taken_wall: [Vec<Rect>; 4],
}

impl Layout {
    pub(crate) fn new(room: Room, style: Style) -> Self {
        Self {
            room,
            style,
            solids: Vec::new(),
            lights: Vec::new(),
            taken_floor: Vec::new(),
            taken_wall: Default::default(),
        }
    }

    /// Builds something at a pose.
    pub(crate) fn build(&mut self, pose: Pose) -> Assembly<'_> {
        Assembly::new(pose, &mut self.solids)
    }

    /// Whether all of this floor is inside the room and free.
    pub(crate) fn floor_is_free(&self, rect: &Rect) -> bool {
        rect.within(&self.room.rect()) && !self.taken_floor.iter().any(|r| r.overlaps(rect))
    }

    /// Takes floor, if it is free.
    pub(crate) fn take_floor(&mut self, rect: Rect) -> bool {
        let free = self.floor_is_free(&rect);
        if free {
            self.taken_floor.push(rect);
        }
        free
    }

    /// A place with the back to a wall, anywhere in the room.
    pub(crate) fn against_wall(&mut self, needs: Needs, rng: &mut Stream) -> Option<Pose> {
        (0..ATTEMPTS).find_map(|_| {
            let side = count(rng, 0, 3);
            let along = self.draw_along(side, needs.width, rng)?;
            self.stand(side, along, needs)
        })
    }

    /// A place with the back to this wall.
    pub(crate) fn against(&mut self, side: usize, needs: Needs, rng: &mut Stream) -> Option<Pose> {
        (0..ATTEMPTS).find_map(|_| {
            let along = self.draw_along(side, needs.width, rng)?;
            self.stand(side, along, needs)
        })
    }

    /// Returns the places of the middle of a thing of this width along a wall. Corners are
    /// preferred.
    fn draw_along(&self, side: usize, width: f32, rng: &mut Stream) -> Option<f32> {
        let length = self.room.wall_length(side);
        let margin = 0.5 * width + 2.0 * OFF_WALL;
        if 2.0 * margin > length {
            return None;
        }
        let along = between(rng, margin, length - margin);
        Some(match between(rng, 0.0, 1.0) {
            s if s < 0.2 => margin,
            s if s < 0.4 => length - margin,
            _ => along,
        })
    }

    fn stand(&mut self, side: usize, along: f32, needs: Needs) -> Option<Pose> {
        let half = 0.5 * needs.width;
        let pose = self.room.wall_pose(side, along).shifted(0.0, OFF_WALL, 0.0);
        let wall = Rect { x: (along - half, along + half), y: (0.0, needs.height) };
        let wanted = pose.footprint((-half, half), (0.0, needs.depth + needs.front));
        if !self.floor_is_free(&wanted) || !self.wall_is_free(side, &wall) {
            return None;
        }
        self.taken_wall[side].push(wall);
        self.taken_floor.push(pose.footprint((-half, half), (0.0, needs.depth)));
        Some(pose)
    }

    fn wall_is_free(&self, side: usize, rect: &Rect) -> bool {
        !self.taken_wall[side].iter().any(|r| r.overlaps(rect))
    }

    /// Takes a piece of wall, if it is free.
    pub(crate) fn take_wall(&mut self, side: usize, along: (f32, f32), up: (f32, f32)) -> bool {
        let rect = Rect { x: along, y: up };
        let free = self.wall_is_free(side, &rect);
        if free {
            self.taken_wall[side].push(rect);
        }
        free
    }

    /// A place on a wall for something `width` wide from `up.0` to `up.1` metres over the floor.
    /// The pose is on the wall, at the height of the floor.
    pub(crate) fn on_wall(
        &mut self,
        width: f32,
        up: (f32, f32),
        rng: &mut Stream,
    ) -> Option<(usize, Pose)> {
        (0..ATTEMPTS).find_map(|_| {
            let side = count(rng, 0, 3);
            let length = self.room.wall_length(side);
            let margin = 0.5 * width + 0.15;
            if 2.0 * margin > length || up.1 > self.room.size.z - 0.1 {
                return None;
            }
            let along = between(rng, margin, length - margin);
            let half = 0.5 * width + 0.05;
            let free = self.take_wall(side, (along - half, along + half), up);
            free.then(|| (side, self.room.wall_pose(side, along)))
        })
    }

    /// A place on the floor for something `width` by `depth` about its middle, with the sides
    /// along the walls or turned by up to `turn`.
    pub(crate) fn on_floor(
        &mut self,
        (width, depth): (f32, f32),
        turn: f32,
        rng: &mut Stream,
    ) -> Option<Pose> {
        (0..ATTEMPTS).find_map(|_| {
            let (x, y) = (self.room.size.x, self.room.size.y);
            let origin =
                crate::vec3::vec3(between(rng, 0.2, x - 0.2), between(rng, 0.2, y - 0.2), 0.0);
            let quarter = if chance(rng, 0.5) { 0.0 } else { std::f32::consts::FRAC_PI_2 };
            let pose = Pose { origin, yaw: quarter + between(rng, -turn, turn) };
            let (x, y) = (0.5 * width, 0.5 * depth);
            self.take_floor(pose.footprint((-x, x), (-y, y))).then_some(pose)
        })
    }
}
