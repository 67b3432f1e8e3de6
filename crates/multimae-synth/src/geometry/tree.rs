//! A tree of boxes about the solids, so that a ray asks only those near its way.

use super::{Ray, Solid};
use crate::vec3::Vec3;

/// Solids in one leaf.
const LEAF: usize = 3;

/// Deeper than any tree of halves can be.
const STACK: usize = 64;

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

    pub(crate) fn padded(self, by: f32) -> Self {
        Self { low: self.low - Vec3::splat(by), high: self.high + Vec3::splat(by) }
    }

    pub(crate) fn contains(&self, p: Vec3) -> bool {
        self.low.max(p) == p && self.high.min(p) == p
    }

    /// Where the ray enters the box, if it does before `limit`.
    fn enter(&self, origin: Vec3, inverse: Vec3, limit: f32) -> Option<f32> {
        let a = (self.low - origin) * inverse;
        let b = (self.high - origin) * inverse;
        let (low, high) = (a.min(b), a.max(b));
        let near = low.x.max(low.y).max(low.z).max(0.0);
        let far = high.x.min(high.y).min(high.z).min(limit);
        (near <= far).then_some(near)
    }
}

/// A node: either two children, `first` and the one after it, or `count` entries from `first` on.
#[derive(Debug, Clone, Copy)]
struct Node {
    bounds: Bounds,
    first: u32,
    count: u32,
}

/// The tree. It holds indices into the slice of solids that it was made from.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    order: Vec<u32>,
}

impl Tree {
    pub(crate) fn new(solids: &[Solid]) -> Self {
        let bounds: Vec<Bounds> = solids.iter().map(Solid::bounds).collect();
        let mut tree = Self { nodes: Vec::new(), order: (0..solids.len() as u32).collect() };
        tree.nodes.push(Node { bounds: Bounds::NOTHING, first: 0, count: 0 });
        tree.split(0, 0, solids.len(), &bounds);
        tree
    }

    /// Makes `node` hold the entries from `start` to `end`.
    fn split(&mut self, node: usize, start: usize, end: usize, bounds: &[Bounds]) {
        let entries = &mut self.order[start..end];
        let all = entries.iter().fold(Bounds::NOTHING, |all, &i| all.with(bounds[i as usize]));
        let mut made = Node { bounds: all, first: start as u32, count: (end - start) as u32 };
        if entries.len() > LEAF {
            let size = (all.high - all.low).to_array();
            let axis = (0..3).max_by(|&a, &b| size[a].total_cmp(&size[b])).unwrap_or(0);
            let middle = |i: &u32| {
                let bounds = &bounds[*i as usize];
                (bounds.low + bounds.high).to_array()[axis]
            };
            let half = entries.len() / 2;
            entries.select_nth_unstable_by(half, |a, b| middle(a).total_cmp(&middle(b)));
            made.first = self.nodes.len() as u32;
            made.count = 0;
            let empty = Node { bounds: Bounds::NOTHING, first: 0, count: 0 };
            self.nodes.extend([empty; 2]);
            self.split(made.first as usize, start, start + half, bounds);
            self.split(made.first as usize + 1, start + half, end, bounds);
        }
        self.nodes[node] = made;
    }

    /// The nearest solid before `limit`: its index and the distance.
    pub(crate) fn nearest(&self, solids: &[Solid], ray: &Ray, limit: f32) -> Option<(usize, f32)> {
        let mut found = None;
        self.visit(ray, limit, |index, limit| {
            let distance = solids[index].intersect(ray).filter(|&t| t < limit)?;
            found = Some((index, distance));
            Some(distance)
        });
        found
    }

    /// Whether anything that casts shadows lies before `limit`.
    pub(crate) fn blocked(&self, solids: &[Solid], ray: &Ray, limit: f32) -> bool {
        let mut blocked = false;
        self.visit(ray, limit, |index, limit| {
            let solid = &solids[index];
            blocked = !solid.surface.material.shines()
                && solid.intersect(ray).is_some_and(|distance| distance < limit);
            // Nothing lies before zero: the search ends.
            blocked.then_some(-1.0)
        });
        blocked
    }

    /// Shows `visit` the solids near the ray, near nodes first. It may return a shorter limit.
    fn visit(&self, ray: &Ray, mut limit: f32, mut visit: impl FnMut(usize, f32) -> Option<f32>) {
        let inverse = ray.direction.map(f32::recip);
        let mut stack = [(0_u32, 0_f32); STACK];
        let mut len = 1;
        while len > 0 {
            len -= 1;
            let (index, entered) = stack[len];
            if entered > limit {
                continue;
            }
            let node = &self.nodes[index as usize];
            for &i in self.order.iter().skip(node.first as usize).take(node.count as usize) {
                if let Some(shorter) = visit(i as usize, limit) {
                    limit = shorter;
                    if limit < 0.0 {
                        return;
                    }
                }
            }
            if node.count > 0 || self.order.is_empty() {
                continue;
            }
            let children = [node.first, node.first + 1].map(|child| {
                let bounds = &self.nodes[child as usize].bounds;
                (child, bounds.enter(ray.origin, inverse, limit))
            });
            // The nearer child goes on top.
            let swap = matches!((children[0].1, children[1].1), (Some(a), Some(b)) if a < b);
            let ordered = if swap { [children[1], children[0]] } else { children };
            for (child, entered) in ordered {
                if let Some(entered) = entered {
                    stack[len] = (child, entered);
                    len += 1;
                }
            }
        }
    }
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
                    .filter_map(|(index, solid)| Some((index, solid.intersect(&ray)?)))
                    .min_by(|a, b| a.1.total_cmp(&b.1));
                assert_eq!(tree.nearest(&solids, &ray, f32::INFINITY), expected);
                assert_eq!(tree.blocked(&solids, &ray, f32::INFINITY), expected.is_some());
            }
        }
    }
}
