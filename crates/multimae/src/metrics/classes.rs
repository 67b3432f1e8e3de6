//! Classification scores over a whole set.

use serde::{Deserialize, Serialize};

/// Counts of images; add batches in any number.
#[derive(Debug, Clone, Default)]
pub struct ClassMetrics {
    images: u64,
    first: u64,
    among_five: u64,
}

/// The usual scores of classification.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassScores {
    /// Share of images whose class has the largest logit.
    pub top1: f64,
    /// Share of images whose class is among the five largest logits.
    pub top5: f64,
}

impl ClassMetrics {
    /// Adds an image by its logits. Of equal logits, the earlier class comes first.
    pub fn add(&mut self, logits: &[f32], class: usize) {
        self.images += 1;
        let Some(&own) = logits.get(class) else { return };
        let before = logits
            .iter()
            .enumerate()
            .filter(|&(other, &logit)| logit > own || (logit == own && other < class))
            .count();
        self.first += u64::from(before == 0);
        self.among_five += u64::from(before < 5);
    }

    /// The scores, or `None` if there was no image.
    #[must_use]
    pub fn scores(&self) -> Option<ClassScores> {
        let share = |count: u64| count as f64 / self.images as f64;
        (self.images > 0)
            .then(|| ClassScores { top1: share(self.first), top5: share(self.among_five) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_counted() {
        let logits = [0.0, 3.0, 2.0, 2.0, 1.0, 0.5, 0.2];
        let mut metrics = ClassMetrics::default();
        assert!(metrics.scores().is_none());
        for class in [1, 3, 6, 0] {
            metrics.add(&logits, class);
        }
        assert_eq!(metrics.scores(), Some(ClassScores { top1: 0.25, top5: 0.5 }));
    }
}
