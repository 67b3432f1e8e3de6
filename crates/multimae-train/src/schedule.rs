//! Values that change from step to step.

use std::f64::consts::PI;

/// Linear warm-up from 0, then half a cosine (MultiMAE's pre-training, after He et al., 2022).
///
/// The peak is reached at the end of the warm-up and again at the first step of the cosine; the
/// final value would be reached one step after the last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CosineSchedule {
    base: f64,
    end: f64,
    warmup: u64,
    total: u64,
}

impl CosineSchedule {
    /// From 0 to `base` in `warmup` steps, then to `end` at step `total`.
    #[must_use]
    pub fn new(base: f64, end: f64, warmup: u64, total: u64) -> Self {
        Self { base, end, warmup: warmup.min(total), total }
    }

    /// Returns the same schedule of a run of `total` steps.
    #[must_use]
    pub fn with_total(self, total: u64) -> Self {
        Self::new(self.base, self.end, self.warmup, total)
    }

    /// The value in a step, counted from 0.
    #[must_use]
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            // Both ends are steps; a warm-up of one step has the start alone.
            let last = (self.warmup - 1).max(1);
            return self.base * step as f64 / last as f64;
        }
        let steps = (self.total - self.warmup).max(1);
        let done = (step - self.warmup).min(steps) as f64 / steps as f64;
        self.end + 0.5 * (self.base - self.end) * (1.0 + (PI * done).cos())
    }
}

/// The steps of warm-up: those that are asked for if there are any, else those of the epochs of
/// warm-up.
#[must_use]
pub fn warmup_steps(asked: i64, of_epochs: u64) -> u64 {
    match u64::try_from(asked) {
        Ok(steps) if steps > 0 => steps,
        _ => of_epochs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_values() {
        let schedule = CosineSchedule::new(1.0, 0.1, 5, 20);
        let expected = [
            0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 0.990166, 0.961095, 0.914058, 0.851109, 0.775,
            0.689058, 0.597038, 0.502962, 0.410942, 0.325, 0.248891, 0.185942, 0.138905, 0.109834,
        ];
        for (step, expected) in expected.into_iter().enumerate() {
            assert!((schedule.at(step as u64) - expected).abs() < 1e-6, "step {step}");
        }
        let published = CosineSchedule::new(8e-4, 0.0, 40 * 625, 1600 * 625);
        assert_eq!(published.at(0), 0.0);
        assert!((published.at(1) - 3.200_128e-8).abs() < 1e-13);
        assert!((published.at(24_999) - 8e-4).abs() < 1e-12);
        assert!((published.at(25_000) - 8e-4).abs() < 1e-12);
        assert!((published.at(500_000) - 4.161_063_770e-4).abs() < 1e-12);
    }

    #[test]
    fn short_schedules_do_not_fail() {
        assert_eq!(CosineSchedule::new(1.0, 0.0, 1, 1).at(0), 0.0);
        assert_eq!(CosineSchedule::new(1.0, 0.0, 0, 1).at(0), 1.0);
        assert_eq!(CosineSchedule::new(1.0, 0.0, 9, 3).at(2), 1.0);
        assert!(CosineSchedule::new(1.0, 0.2, 0, 4).at(99) >= 0.2);
    }
}
