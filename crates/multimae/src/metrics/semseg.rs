//! Segmentation scores from one confusion matrix over a set.

use serde::{Deserialize, Serialize};

/// Counts per class; add batches in any number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SemsegMetrics {
    ignore: i64,
    intersection: Vec<u64>,
    predicted: Vec<u64>,
    labelled: Vec<u64>,
}

/// The usual scores of segmentation. Classes that occur nowhere have none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SemsegScores {
    /// Intersection over union by class; `None` where neither prediction nor labels have the class.
    pub iou: Vec<Option<f64>>,
    /// Share of a class's pixels that are right; `None` where the labels do not have the class.
    pub class_acc: Vec<Option<f64>>,
    /// Mean of [`Self::iou`] over the classes that have one.
    pub miou: f64,
    /// Mean of [`Self::class_acc`] over the classes that have one.
    pub mean_acc: f64,
    /// Share of labelled pixels that are right.
    pub pixel_acc: f64,
}

impl SemsegMetrics {
    /// Metrics over `0..classes`; pixels labelled `ignore` do not count.
    #[must_use]
    pub fn new(classes: usize, ignore: i64) -> Self {
        let zeros = vec![0; classes];
        Self { ignore, intersection: zeros.clone(), predicted: zeros.clone(), labelled: zeros }
    }

    /// Adds pixels. Slices of equal length. Classes out of range count as wrong.
    pub fn add(&mut self, prediction: &[i64], target: &[i64]) {
        let count = |counts: &mut [u64], class: i64| {
            let slot = usize::try_from(class).ok().and_then(|class| counts.get_mut(class));
            if let Some(slot) = slot {
                *slot += 1;
            }
        };
        for (&p, &t) in prediction.iter().zip(target).filter(|(_, t)| **t != self.ignore) {
            count(&mut self.predicted, p);
            count(&mut self.labelled, t);
            if p == t {
                count(&mut self.intersection, p);
            }
        }
    }

    /// Metrics over the same classes, without a pixel.
    #[must_use]
    pub fn cleared(&self) -> Self {
        Self::new(self.labelled.len(), self.ignore)
    }

    /// Adds all pixels of other counts over the same classes.
    pub fn merge(&mut self, other: &Self) {
        self.merge_times(other, 1);
    }

    /// Adds all pixels of other counts over the same classes several times.
    pub fn merge_times(&mut self, other: &Self, times: u32) {
        let pairs = [
            (&mut self.intersection, &other.intersection),
            (&mut self.predicted, &other.predicted),
            (&mut self.labelled, &other.labelled),
        ];
        for (sums, counts) in pairs {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += u64::from(times) * count);
        }
    }

    /// The mean IoU over the classes that pixels are labelled with; unlike that of [`scores`](Self::scores),
    /// the classes do not depend on what is predicted. `None` if no pixel is labelled.
    #[must_use]
    pub fn miou_of_labelled(&self) -> Option<f64> {
        let scores = self.scores()?;
        let labelled = scores.iou.iter().zip(&self.labelled).filter(|(_, count)| **count > 0);
        let values: Vec<Option<f64>> = labelled.map(|(iou, _)| *iou).collect();
        Some(mean(&values))
    }

    /// Labelled pixels so far, by class.
    #[must_use]
    pub fn labelled(&self) -> &[u64] {
        &self.labelled
    }

    /// The scores, or `None` if no pixel was labelled.
    #[must_use]
    pub fn scores(&self) -> Option<SemsegScores> {
        let labelled: u64 = self.labelled.iter().sum();
        if labelled == 0 {
            return None;
        }
        let ratio = |i: u64, n: u64| (n > 0).then(|| i as f64 / n as f64);
        let counts = || self.intersection.iter().zip(&self.predicted).zip(&self.labelled);
        let iou: Vec<_> = counts().map(|((&i, &p), &l)| ratio(i, p + l - i)).collect();
        let class_acc: Vec<_> = counts().map(|((&i, _), &l)| ratio(i, l)).collect();
        let correct: u64 = self.intersection.iter().sum();
        Some(SemsegScores {
            miou: mean(&iou),
            mean_acc: mean(&class_acc),
            pixel_acc: correct as f64 / labelled as f64,
            iou,
            class_acc,
        })
    }
}

fn mean(values: &[Option<f64>]) -> f64 {
    let present: Vec<f64> = values.iter().flatten().copied().collect();
    present.iter().sum::<f64>() / present.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_classes_and_ignored_pixels_do_not_count() {
        let mut metrics = SemsegMetrics::new(4, 255);
        metrics.add(&[0, 0, 1, 2, 1], &[0, 1, 1, 255, 1]);
        let scores = metrics.scores().unwrap();
        assert_eq!(scores.iou, [Some(0.5), Some(2.0 / 3.0), None, None]);
        assert_eq!(scores.class_acc, [Some(1.0), Some(2.0 / 3.0), None, None]);
        assert_eq!(scores.pixel_acc, 0.75);
        assert!((scores.miou - (0.5 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert!(SemsegMetrics::new(2, 255).scores().is_none());
    }
}
