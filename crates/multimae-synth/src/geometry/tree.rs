//! A tree of boxes about the solids, so that a ray asks only those near its way.

use super::body::Body;
use super::{Ray, Solid};
use crate::vec3::Vec3;

/// So few solids are not split further.
const LEAF: usize = 2;

/// Nor is a node so deep: the way down must fit the stack.
const DEEPEST: usize = 60;

/// An upright box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) low: Vec3,
    pub(crate) high: Vec3,
}

impl Bounds {
    const NOTHING: Self =
        Self { low: Vec3::splat(f32::INFINITY), high: Vec3::splat(f32::NEG_INFINITY) };

    fn with(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    fn surface(&self) -> f32 {
        let size = self.high - self.low;
        size.x * size.y + size.y * size.z + size.z * size.x
    }

    #[cfg(test)]
    pub(crate) fn padded(self, by: f32) -> Self {
        Self { low: self.low - Vec3::splat(by), high: self.high + Vec3::splat(by) }
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, p: Vec3) -> bool {
        self.low.max(p) == p && self.high.min(p) == p
    }

    /// Returns the distance at which the ray enters the box; infinity if it does not before
    /// `limit`.
    fn enter(&self, origin: Vec3, inverse: Vec3, limit: f32) -> f32 {
        let a = (self.low - origin) * inverse;
        let b = (self.high - origin) * inverse;
        let (low, high) = (a.min(b), a.max(b));
        let larger = |a: f32, b: f32| if a > b { a } else { b };
        let smaller = |a: f32, b: f32| if a < b { a } else { b };
        let near = larger(larger(low.x, low.y), larger(low.z, 0.0));
        let far = smaller(smaller(high.x, high.y), smaller(high.z, limit));
        if near <= far { near } else { f32::INFINITY }
    }
}

/// A node: either two children, `first` and the one after it, or `count` entries from `first` on.
#[derive(Debug, Clone, Copy)]
struct Node {
    bounds: Bounds,
    first: u32,
    count: u32,
}

impl Node {
    const NOTHING: Self = Self { bounds: Bounds::NOTHING, first: 0, count: 0 };
}

/// The tree.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    /// In the order of the leaves.
    bodies: Vec<Body>,
    /// The index of each body among the solids that the tree was made from.
    order: Vec<u32>,
}

impl Tree {
    pub(crate) fn new(solids: &[Solid]) -> Self {
        let bounds: Vec<Bounds> = solids.iter().map(Solid::bounds).collect();
        let order = (0..solids.len() as u32).collect();
        let mut tree = Self { nodes: vec![Node::NOTHING], bodies: Vec::new(), order };
        tree.split(0, (0, solids.len()), &bounds, 0);
        tree.bodies = tree.order.iter().map(|&i| Body::of(&solids[i as usize])).collect();
        tree
    }

    /// Makes `node` hold the entries from `start` to `end`.
    fn split(
        &mut self,
        node: usize,
        (start, end): (usize, usize),
        bounds: &[Bounds],
        depth: usize,
    ) {
        let entries = &mut self.order[start..end];
        let all = entries.iter().fold(Bounds::NOTHING, |all, &i| all.with(bounds[i as usize]));
        let mut made = Node { bounds: all, first: start as u32, count: (end - start) as u32 };
        if entries.len() > LEAF && depth < DEEPEST {
            let middle = start + sort_into_halves(entries, bounds);
            made = Node { bounds: all, first: self.nodes.len() as u32, count: 0 };
            self.nodes.extend([Node::NOTHING; 2]);
            let child = made.first as usize;
            self.split(child, (start, middle), bounds, depth + 1);
            self.split(child + 1, (middle, end), bounds, depth + 1);
        }
        self.nodes[node] = made;
    }

    /// The nearest solid before `limit`: its index and the distance.
    pub(crate) fn nearest(&self, ray: &Ray, limit: f32) -> Option<(usize, f32)> {
        let mut found = None;
        self.visit(ray, limit, |index, limit| {
            let distance = self.bodies[index].intersect(ray).filter(|&t| t < limit)?;
            found = Some((self.order[index] as usize, distance));
            Some(distance)
        });
        found
    }

    /// Whether anything that casts shadows lies before `limit`.
    pub(crate) fn blocked(&self, ray: &Ray, limit: f32) -> bool {
        let mut blocked = false;
        self.visit(ray, limit, |index, limit| {
            let body = &self.bodies[index];
            blocked = body.casts_shadow && body.intersect(ray).is_some_and(|t| t < limit);
            // Nothing lies before zero: the search ends.
            blocked.then_some(-1.0)
        });
        blocked
    }

    /// Shows `visit` the solids near the ray, near nodes first. It may return a shorter limit.
    fn visit(&self, ray: &Ray, mut limit: f32, mut visit: impl FnMut(usize, f32) -> Option<f32>) {
        let inverse = ray.inverse();
        let mut stack = [(0_u32, 0_f32); DEEPEST + 2];
        let mut len = 1;
        while len > 0 {
            len -= 1;
            let (index, entered) = stack[len];
            if entered > limit {
                continue;
            }
            let node = &self.nodes[index as usize];
            for index in node.first..node.first + node.count {
                if let Some(shorter) = visit(index as usize, limit) {
                    limit = shorter;
                    if limit < 0.0 {
                        return;
                    }
                }
            }
            if node.count > 0 || self.bodies.is_empty() {
                continue;
            }
            let (mut near, mut far) = (node.first, node.first + 1);
            let mut enter_near = self.enter(near, ray, inverse, limit);
            let mut enter_far = self.enter(far, ray, inverse, limit);
            if enter_far < enter_near {
                (near, far) = (far, near);
                (enter_near, enter_far) = (enter_far, enter_near);
            }
            // The nearer child is pushed last.
            for (child, entered) in [(far, enter_far), (near, enter_near)] {
                if entered < f32::INFINITY {
                    stack[len] = (child, entered);
                    len += 1;
                }
            }
        }
    }

    fn enter(&self, node: u32, ray: &Ray, inverse: Vec3, limit: f32) -> f32 {
        self.nodes[node as usize].bounds.enter(ray.origin, inverse, limit)
    }
}

/// Orders the entries so that two compact halves come one after the other; returns the length of
/// the first. Of all cuts across an axis it takes the one whose halves have the least surface, each
/// counted once per entry: the expected number of rays that meet them.
fn sort_into_halves(entries: &mut [u32], bounds: &[Bounds]) -> usize {
    let (mut best, mut least) = ((0, entries.len() / 2), f32::INFINITY);
    for axis in 0..3 {
        sort_along(entries, axis, bounds);
        let mut right = vec![0.0; entries.len()];
        let mut rest = Bounds::NOTHING;
        for (i, &entry) in entries.iter().enumerate().rev() {
            rest = rest.with(bounds[entry as usize]);
            right[i] = rest.surface() * (entries.len() - i) as f32;
        }
        let mut left = Bounds::NOTHING;
        for i in 1..entries.len() {
            left = left.with(bounds[entries[i - 1] as usize]);
            let cost = left.surface() * i as f32 + right[i];
            if cost < least {
                (best, least) = ((axis, i), cost);
            }
        }
    }
    sort_along(entries, best.0, bounds);
    best.1
}

fn sort_along(entries: &mut [u32], axis: usize, bounds: &[Bounds]) {
    let middle = |i: u32| (bounds[i as usize].low + bounds[i as usize].high).to_array()[axis];
    entries.sort_by(|&a, &b| middle(a).total_cmp(&middle(b)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Rotation, Shape};
    use crate::labels::Label;
    use crate::material::Material;
    use crate::vec3::vec3;

    fn balls(count: usize) -> Vec<Solid> {
        (0..count)
            .map(|i| {
                let i = i as f32;
                Solid {
                    shape: Shape::Ellipsoid,
                    centre: vec3((i * 1.7).sin(), (i * 2.3).sin(), (i * 3.1).sin()) * 3.0,
                    half: Vec3::splat(0.2),
                    rotation: Rotation::NONE,
                    surface: Material::paint(Vec3::splat(0.5)).on(Label::Box),
                }
            })
            .collect()
    }

    /// The tree finds what asking every solid finds.
    #[test]
    fn same_as_asking_everyone() {
        for solids in [balls(0), balls(1), balls(97)] {
            let tree = Tree::new(&solids);
            for i in 0..500 {
                let i = i as f32;
                let direction = vec3((i * 0.3).cos(), (i * 0.7).sin(), (i * 1.1).sin());
                let ray = Ray { origin: vec3(0.1, 0.2, 0.3), direction };
                let expected = solids
                    .iter()
                    .enumerate()
                    .filter_map(|(index, solid)| Some((index, Body::of(solid).intersect(&ray)?)))
                    .min_by(|a, b| a.1.total_cmp(&b.1));
                assert_eq!(tree.nearest(&ray, f32::INFINITY), expected);
                assert_eq!(tree.blocked(&ray, f32::INFINITY), expected.is_some());
            }
        }
    }
}
