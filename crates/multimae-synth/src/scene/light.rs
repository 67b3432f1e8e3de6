//! The lights of a room.

use crate::vec3::{Vec3, vec3};

/// A small bright area. Light is sampled at a few points of it, so that shadows have soft edges.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Light {
    pub(crate) centre: Vec3,
    /// Half of the area's two sides, or of a lamp's extent.
    pub(crate) sides: [Vec3; 2],
    /// Light intensity per colour, at one metre.
    pub(crate) power: Vec3,
    /// The way it shines, for windows; lamps shine all around.
    pub(crate) facing: Option<Vec3>,
}

impl Light {
    /// A lamp of this radius.
    pub(crate) fn lamp(centre: Vec3, radius: f32, power: Vec3) -> Self {
        let sides = [vec3(radius, 0.0, 0.0), vec3(0.0, radius, 0.0)];
        Self { centre, sides, power, facing: None }
    }

    /// The sample point at `(a, b)`, each from -1 to 1.
    pub(crate) fn point(&self, (a, b): (f32, f32)) -> Vec3 {
        self.centre + self.sides[0] * a + self.sides[1] * b
    }

    /// The light that arrives over the offset `to_light`, before shadows and the surface's angle.
    pub(crate) fn arriving(&self, to_light: Vec3) -> Vec3 {
        // The floor under the square keeps lamps from burning holes into what they touch.
        let square = to_light.dot(to_light).max(0.09);
        let angle =
            self.facing.map_or(1.0, |facing| (-facing.dot(to_light) / square.sqrt()).max(0.0));
        self.power * (angle / square)
    }
}
