//! Places for labels of points, where they cover neither each other nor a point.

/// A rectangle in the coordinates of a chart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Area {
    /// Around a centre.
    pub(super) fn around((x, y): (f64, f64), width: f64, height: f64) -> Self {
        let (width, height) = (width / 2.0, height / 2.0);
        Self { left: x - width, top: y - height, right: x + width, bottom: y + height }
    }

    pub(super) fn center(&self) -> (f64, f64) {
        (f64::midpoint(self.left, self.right), f64::midpoint(self.top, self.bottom))
    }

    /// Returns the intersection of two rectangles, in square units.
    pub(super) fn overlap(&self, other: &Self) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }

    /// Returns the area outside another rectangle, in square units.
    fn outside(&self, other: &Self) -> f64 {
        (self.right - self.left) * (self.bottom - self.top) - self.overlap(other)
    }
}

/// Directions to look for a place in, by preference.
const DIRECTIONS: [(f64, f64); 8] = [
    (1.0, 0.0),
    (-1.0, 0.0),
    (0.0, -1.0),
    (0.0, 1.0),
    (1.0, -1.0),
    (1.0, 1.0),
    (-1.0, -1.0),
    (-1.0, 1.0),
];

/// Distances from the point to its label.
const DISTANCES: [f64; 6] = [0.0, 12.0, 24.0, 38.0, 56.0, 80.0];

/// Leaving the frame is worse than covering something.
const OUTSIDE: f64 = 4.0;

/// A place for the label of each point: the nearest at which it covers nothing that must stay
/// visible. `taken` is what must, `points` are the middles and `sizes` the labels' widths and
/// heights; `radius` is that of the points.
pub(super) fn place(
    points: &[(f64, f64)],
    sizes: &[(f64, f64)],
    radius: f64,
    taken: &[Area],
    frame: Area,
) -> Vec<Area> {
    let mut taken = taken.to_vec();
    let mut places = Vec::with_capacity(points.len());
    for (&point, &size) in points.iter().zip(sizes) {
        let cost = |area: &Area| -> f64 {
            let covered: f64 = taken.iter().map(|other| area.overlap(other)).sum();
            covered + OUTSIDE * area.outside(&frame)
        };
        let candidates: Vec<Area> = DISTANCES
            .iter()
            .flat_map(|distance| {
                DIRECTIONS.iter().map(move |&way| beside(point, size, way, radius + distance))
            })
            .collect();
        // Of equally good places the first, which is the nearest.
        let best = candidates.iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
        let place = best.copied().unwrap_or(Area::around(point, size.0, size.1));
        taken.push(place);
        places.push(place);
    }
    places
}

/// A label in a direction from its point, with `gap` between them.
fn beside((x, y): (f64, f64), size: (f64, f64), way: (f64, f64), gap: f64) -> Area {
    let gap = gap + 3.0;
    // Diagonal ways are longer.
    let gap =
        if way.0 != 0.0 && way.1 != 0.0 { gap * std::f64::consts::FRAC_1_SQRT_2 } else { gap };
    let center = (x + way.0 * (gap + size.0 / 2.0), y + way.1 * (gap + size.1 / 2.0));
    Area::around(center, size.0, size.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Area = Area { left: 0.0, top: 0.0, right: 400.0, bottom: 300.0 };

    fn places(points: &[(f64, f64)]) -> Vec<Area> {
        let sizes = vec![(60.0, 14.0); points.len()];
        let taken: Vec<Area> = points.iter().map(|&p| Area::around(p, 10.0, 10.0)).collect();
        place(points, &sizes, 5.0, &taken, FRAME)
    }

    #[test]
    fn a_lone_label_stands_to_the_right_and_at_the_edge_to_the_left() {
        assert_eq!(places(&[(100.0, 50.0)])[0].left, 108.0);
        assert_eq!(places(&[(390.0, 50.0)])[0].right, 382.0);
    }

    #[test]
    fn labels_of_a_crowd_cover_nothing() {
        let crowd: Vec<(f64, f64)> = (0..9)
            .map(|i| (200.0 + 7.0 * f64::from(i % 3), 150.0 + 9.0 * f64::from(i / 3)))
            .collect();
        let places = places(&crowd);
        for (index, place) in places.iter().enumerate() {
            assert_eq!(place.outside(&FRAME), 0.0);
            for other in &places[index + 1..] {
                assert_eq!(place.overlap(other), 0.0, "{place:?} {other:?}");
            }
            for &point in &crowd {
                assert_eq!(place.overlap(&Area::around(point, 10.0, 10.0)), 0.0, "{place:?}");
            }
        }
    }
}
