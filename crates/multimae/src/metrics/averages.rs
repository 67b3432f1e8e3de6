//! Depth scores of a set of images, averaged over pixels and over groups of images.

use super::{DepthMetrics, DepthScores};

/// Sums over a set, image by image. Papers average over images; others over all pixels of the set;
/// the published MultiMAE over batches.
#[derive(Debug, Clone)]
pub struct DepthAverages {
    group_size: usize,
    pooled: DepthMetrics,
    group: DepthMetrics,
    in_group: usize,
    sums: [f64; 8],
    groups: u64,
}

impl DepthAverages {
    /// Nothing yet. A group is `group_size` images that follow one another: 1 for the average over
    /// images, the batch size for an average over batches; 0 counts as 1.
    #[must_use]
    pub fn new(group_size: usize) -> Self {
        Self {
            group_size: group_size.max(1),
            pooled: DepthMetrics::default(),
            group: DepthMetrics::default(),
            in_group: 0,
            sums: [0.0; 8],
            groups: 0,
        }
    }

    /// Adds an image.
    pub fn add(&mut self, image: &DepthMetrics) {
        self.pooled.merge(image);
        self.group.merge(image);
        self.in_group += 1;
        if self.in_group == self.group_size {
            self.close_group();
        }
    }

    fn close_group(&mut self) {
        if let Some(scores) = self.group.scores() {
            for (sum, value) in self.sums.iter_mut().zip(scores.values()) {
                *sum += value;
            }
            self.groups += 1;
        }
        self.group = DepthMetrics::default();
        self.in_group = 0;
    }

    /// Valid pixels so far.
    #[must_use]
    pub fn pixels(&self) -> u64 {
        self.pooled.pixels()
    }

    /// The scores of all pixels together, or `None` if no pixel was valid.
    #[must_use]
    pub fn over_pixels(&self) -> Option<DepthScores> {
        self.pooled.scores()
    }

    /// The mean of the groups' scores, all groups alike; also the last, which may be smaller.
    /// Groups without a valid pixel do not count. `None` if no pixel was valid.
    #[must_use]
    pub fn over_groups(&self) -> Option<DepthScores> {
        let mut all = self.clone();
        all.close_group();
        let n = all.groups as f64;
        (all.groups > 0).then(|| DepthScores::from_values(all.sums.map(|sum| sum / n)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(prediction: &[f32], target: &[f32]) -> DepthMetrics {
        let mut metrics = DepthMetrics::default();
        metrics.add(prediction, target, &vec![true; target.len()]);
        metrics
    }

    fn averages(group_size: usize, images: &[DepthMetrics]) -> DepthAverages {
        let mut averages = DepthAverages::new(group_size);
        images.iter().for_each(|image| averages.add(image));
        averages
    }

    #[test]
    fn each_average_weighs_as_it_says() {
        // Three images: 1 pixel off by 1 m, 3 pixels off by 3 m, 2 pixels exact; one of nothing.
        let images = [
            image(&[2.0], &[1.0]),
            image(&[5.0; 3], &[2.0; 3]),
            image(&[4.0; 2], &[4.0; 2]),
            DepthMetrics::default(),
        ];
        let pixels = averages(1, &images).over_pixels().unwrap();
        assert!((pixels.rmse - (28.0_f64 / 6.0).sqrt()).abs() < 1e-12);
        assert!((pixels.rel - (1.0 + 4.5) / 6.0).abs() < 1e-12);
        let over_images = averages(1, &images).over_groups().unwrap();
        assert!((over_images.rmse - 4.0 / 3.0).abs() < 1e-12);
        assert!((over_images.rel - 2.5 / 3.0).abs() < 1e-12);
        assert!((over_images.delta_1 - 1.0 / 3.0).abs() < 1e-12);
        // Batches of two: (1 + 27) / 4 under the root and 0; the second is as heavy as the first.
        let over_batches = averages(2, &images).over_groups().unwrap();
        assert!((over_batches.rmse - 7.0_f64.sqrt() / 2.0).abs() < 1e-12);
        // One batch is the average over pixels.
        assert_eq!(averages(9, &images).over_groups(), Some(pixels));
        assert!(averages(1, &images[3..]).over_groups().is_none());
    }

    proptest! {
        #[test]
        fn the_order_of_images_does_not_matter(
            depths in prop::collection::vec((0.1_f32..10.0, 0.1_f32..10.0, 1_usize..5), 1..12),
            turn in 0_usize..12,
        ) {
            let mut images: Vec<DepthMetrics> =
                depths.iter().map(|&(p, t, n)| image(&vec![p; n], &vec![t; n])).collect();
            let before = averages(1, &images);
            let len = images.len();
            images.rotate_left(turn % len);
            images.reverse();
            let after = averages(1, &images);
            for (a, b) in [
                (before.over_pixels(), after.over_pixels()),
                (before.over_groups(), after.over_groups()),
            ] {
                for (a, b) in a.unwrap().values().iter().zip(b.unwrap().values()) {
                    prop_assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0));
                }
            }
        }

        #[test]
        fn exact_predictions_have_the_best_scores(
            depths in prop::collection::vec(0.1_f32..10.0, 1..40),
        ) {
            let perfect = averages(1, &[image(&depths, &depths)]).over_pixels().unwrap();
            prop_assert_eq!(perfect.values(), [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        }

        #[test]
        fn a_common_factor_gives_known_scores(
            depths in prop::collection::vec(0.1_f32..10.0, 1..40),
        ) {
            let doubled: Vec<f32> = depths.iter().map(|d| 2.0 * d).collect();
            let scores = averages(1, &[image(&doubled, &depths)]).over_groups().unwrap();
            prop_assert!((scores.rel - 1.0).abs() < 1e-6);
            prop_assert!((scores.rmse_log - 2.0_f64.ln()).abs() < 1e-6);
            prop_assert!((scores.log10 - 2.0_f64.log10()).abs() < 1e-6);
            prop_assert_eq!(scores.delta_3, 0.0);
        }
    }
}
