//! A furnished room: everything that a camera could see.

mod bedroom;
mod fittings;
mod kitchen;
mod layout;
mod light;
mod living_room;
mod office;
mod room;

pub(crate) use layout::{Layout, Needs};
pub(crate) use light::Light;
pub(crate) use room::{Kind, Room};

use crate::draw::{Stream, pick, stream};
use crate::geometry::{Ray, Solid, Tree};
use crate::material::{Patch, Surface};
use crate::style::Style;
use crate::vec3::Vec3;

/// A furnished room, ready to be looked at.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) room: Room,
    pub(crate) solids: Vec<Solid>,
    pub(crate) lights: Vec<Light>,
    tree: Tree,
}

/// The hit of a ray.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hit {
    /// Along the ray.
    pub(crate) distance: f32,
    pub(crate) surface: Surface,
    /// Towards the free side, length 1.
    pub(crate) normal: Vec3,
    /// The place on the surface, for its texture.
    pub(crate) patch: Patch,
}

impl Scene {
    /// The room of this seed and index.
    pub(crate) fn draw(seed: u64, index: u64) -> Self {
        let rng = &mut stream(seed, "room", index);
        let kinds = [Kind::Bedroom, Kind::LivingRoom, Kind::Kitchen, Kind::Office];
        let kind = pick(rng, kinds);
        let style = Style::draw(rng);
        let mut layout = Layout::new(Room::draw(kind, &style, rng), style);
        fittings::openings(&mut layout, rng);
        furnish(&mut layout, &mut stream(seed, "furniture", index));
        fittings::finish(&mut layout, &mut stream(seed, "fittings", index));
        let Layout { room, solids, lights, .. } = layout;
        let tree = Tree::new(&solids);
        Self { room, solids, lights, tree }
    }

    /// Returns the first hit of a ray. In a closed room there always is one.
    pub(crate) fn hit(&self, ray: &Ray) -> Hit {
        let room = self.room.hit(ray);
        let Some((index, distance)) = self.tree.nearest(ray, room.distance) else {
            let half = self.room.size * 0.5;
            let point = ray.at(room.distance) - half;
            let patch = Patch { point, half, normal: room.normal, seed: 1 };
            let (distance, surface, normal) = (room.distance, room.surface, room.normal);
            return Hit { distance, surface, normal, patch };
        };
        let solid = &self.solids[index];
        let point = solid.local(ray.at(distance));
        let normal = solid.local_normal(point, solid.rotation.to_local(ray.direction));
        let patch = Patch { point, half: solid.half, normal, seed: index as u32 + 2 };
        let normal = solid.rotation.to_outer(normal);
        Hit { distance, surface: solid.surface, normal, patch }
    }

    /// Whether something stands in the way before `limit`.
    pub(crate) fn blocked(&self, ray: &Ray, limit: f32) -> bool {
        self.tree.blocked(ray, limit)
    }
}

fn furnish(layout: &mut Layout, rng: &mut Stream) {
    match layout.room.kind {
        Kind::Bedroom => bedroom::furnish(layout, rng),
        Kind::LivingRoom => living_room::furnish(layout, rng),
        Kind::Kitchen => kitchen::furnish(layout, rng),
        Kind::Office => office::furnish(layout, rng),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_furnished_inside_their_walls() {
        for index in 0..40 {
            let scene = Scene::draw(5, index);
            assert!(scene.solids.len() > 30, "room {index}: {} parts", scene.solids.len());
            assert!((1..=3).contains(&scene.lights.len()), "room {index}");
            for solid in &scene.solids {
                let centre = solid.centre;
                let inside = centre.max(Vec3::splat(-0.02)) == centre;
                let over = centre - scene.room.size;
                assert!(inside && over.x.max(over.y).max(over.z) < 0.02, "room {index}: {solid:?}");
            }
        }
    }
}
