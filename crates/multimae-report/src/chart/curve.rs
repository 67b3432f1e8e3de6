//! Curves: smoothed, split at gaps, thinned out.

/// A point of a curve.
pub(super) type Point = (f64, f64);

/// Exponential moving average with the weight `past` of the past, corrected for its start at zero.
/// Points that are not finite stay as they are and do not count.
pub(super) fn smooth(points: &[Point], past: f64) -> Vec<Point> {
    let (mut average, mut weight) = (0.0, 0.0);
    let smoothed = points.iter().map(|&(x, y)| {
        if !y.is_finite() {
            return (x, y);
        }
        average = past * average + (1.0 - past) * y;
        weight = past * weight + (1.0 - past);
        (x, average / weight)
    });
    smoothed.collect()
}

/// The stretches between gaps.
pub(super) fn stretches(points: impl Iterator<Item = Option<Point>>) -> Vec<Vec<Point>> {
    let mut stretches = vec![Vec::new()];
    for point in points {
        match (point, stretches.last_mut()) {
            (Some(point), Some(stretch)) => stretch.push(point),
            _ => stretches.push(Vec::new()),
        }
    }
    stretches.retain(|stretch| !stretch.is_empty());
    stretches
}

/// Keeps of every run of points the first, the last, the least and the greatest, so that peaks
/// stay. At most four points for each of `runs` runs.
pub(super) fn thin_out(points: &[Point], runs: usize) -> Vec<Point> {
    let length = points.len().div_ceil(runs.max(1));
    if length <= 4 {
        return points.to_vec();
    }
    points.chunks(length).flat_map(extremes).collect()
}

fn extremes(run: &[Point]) -> Vec<Point> {
    let by_y = |&a: &usize, &b: &usize| run[a].1.total_cmp(&run[b].1);
    let least = (0..run.len()).min_by(by_y).unwrap_or(0);
    let greatest = (0..run.len()).max_by(by_y).unwrap_or(0);
    let mut kept = [0, least, greatest, run.len() - 1];
    kept.sort_unstable();
    let mut points: Vec<Point> = kept.iter().map(|&index| run[index]).collect();
    points.dedup();
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_constants_and_skips_gaps() {
        let points = [(0.0, 2.0), (1.0, f64::NAN), (2.0, 2.0)];
        let smoothed = smooth(&points, 0.9);
        assert!((smoothed[0].1 - 2.0).abs() < 1e-12 && (smoothed[2].1 - 2.0).abs() < 1e-12);
        assert!(smoothed[1].1.is_nan());
        assert_eq!(smooth(&[(0.0, 0.0), (1.0, 1.0)], 0.5)[1].1, 0.5 / 0.75);
    }

    #[test]
    fn thinning_out_keeps_peaks_and_ends() {
        let mut points: Vec<Point> = (0..100_000).map(|i| (f64::from(i), 0.0)).collect();
        points[12_345].1 = 9.0;
        points[54_321].1 = -9.0;
        let thin = thin_out(&points, 300);
        assert!(thin.len() <= 1200);
        for index in [0, 12_345, 54_321, 99_999] {
            assert!(thin.contains(&points[index]));
        }
        assert!(thin.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(thin_out(&points[..1000], 300).len(), 1000);
    }

    #[test]
    fn gaps_separate_stretches() {
        let point = |x| Some((x, 0.0));
        let points = [None, point(0.0), point(1.0), None, None, point(2.0), None];
        let lengths: Vec<usize> = stretches(points.into_iter()).iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 1]);
    }
}
