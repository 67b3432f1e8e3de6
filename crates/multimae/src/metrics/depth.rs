//! Depth scores over all valid pixels of a set together.

use serde::{Deserialize, Serialize};

/// Predictions and targets are not taken to be smaller than this where they divide or enter a
/// logarithm.
const FLOOR: f64 = 1e-6;

/// Sums over valid pixels; add batches in any number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DepthMetrics {
    pixels: u64,
    squared: f64,
    relative: f64,
    squared_relative: f64,
    squared_ln: f64,
    abs_log10: f64,
    within: [u64; 3],
}

/// The usual scores of depth estimation (Eigen et al., 2014).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DepthScores {
    /// Root of the mean squared error, in the unit of the depths.
    pub rmse: f64,
    /// Mean of `|p - t| / t`.
    pub rel: f64,
    /// Mean of `(p - t)^2 / t`.
    pub srel: f64,
    /// Root of the mean squared difference of natural logarithms.
    pub rmse_log: f64,
    /// Mean of `|log10 p - log10 t|`.
    pub log10: f64,
    /// Share of pixels with `max(p / t, t / p) < 1.25`.
    pub delta_1: f64,
    /// The same below `1.25^2`.
    pub delta_2: f64,
    /// The same below `1.25^3`.
    pub delta_3: f64,
}

impl DepthMetrics {
    /// Adds pixels; those that are not valid do not count. Slices of equal length.
    pub fn add(&mut self, prediction: &[f32], target: &[f32], valid: &[bool]) {
        for ((&p, &t), _) in prediction.iter().zip(target).zip(valid).filter(|(_, v)| **v) {
            self.add_pixel(f64::from(p), f64::from(t));
        }
    }

    fn add_pixel(&mut self, p: f64, t: f64) {
        let (p_floor, t_floor) = (p.max(FLOOR), t.max(FLOOR));
        let difference = p - t;
        self.pixels += 1;
        self.squared += difference * difference;
        self.relative += difference.abs() / t_floor;
        self.squared_relative += difference * difference / t_floor;
        self.squared_ln += (p_floor.ln() - t_floor.ln()).powi(2);
        self.abs_log10 += (p_floor.log10() - t_floor.log10()).abs();
        let ratio = (p / t_floor).max(t / p_floor);
        for (k, count) in self.within.iter_mut().enumerate() {
            *count += u64::from(ratio < 1.25_f64.powi(k as i32 + 1));
        }
    }

    /// Adds all pixels of other sums.
    pub fn merge(&mut self, other: &Self) {
        self.merge_times(other, 1);
    }

    /// Adds all pixels of other sums several times.
    pub fn merge_times(&mut self, other: &Self, times: u32) {
        let (whole, factor) = (u64::from(times), f64::from(times));
        self.pixels += whole * other.pixels;
        self.squared += factor * other.squared;
        self.relative += factor * other.relative;
        self.squared_relative += factor * other.squared_relative;
        self.squared_ln += factor * other.squared_ln;
        self.abs_log10 += factor * other.abs_log10;
        for (sum, count) in self.within.iter_mut().zip(other.within) {
            *sum += whole * count;
        }
    }

    /// Valid pixels so far.
    #[must_use]
    pub fn pixels(&self) -> u64 {
        self.pixels
    }

    /// The scores, or `None` if no pixel was valid.
    #[must_use]
    pub fn scores(&self) -> Option<DepthScores> {
        if self.pixels == 0 {
            return None;
        }
        let n = self.pixels as f64;
        let [delta_1, delta_2, delta_3] = self.within.map(|count| count as f64 / n);
        Some(DepthScores {
            rmse: (self.squared / n).sqrt(),
            rel: self.relative / n,
            srel: self.squared_relative / n,
            rmse_log: (self.squared_ln / n).sqrt(),
            log10: self.abs_log10 / n,
            delta_1,
            delta_2,
            delta_3,
        })
    }
}

impl DepthScores {
    /// The names of the scores in results, in the order of [`Self::values`].
    pub const NAMES: [&str; 8] =
        ["rmse", "rel", "srel", "rmse_log", "log10", "delta_1", "delta_2", "delta_3"];

    /// All scores in the order of the fields.
    #[must_use]
    pub fn values(&self) -> [f64; 8] {
        [
            self.rmse,
            self.rel,
            self.srel,
            self.rmse_log,
            self.log10,
            self.delta_1,
            self.delta_2,
            self.delta_3,
        ]
    }

    /// Scores from [`Self::values`].
    #[must_use]
    pub fn from_values(values: [f64; 8]) -> Self {
        let [rmse, rel, srel, rmse_log, log10, delta_1, delta_2, delta_3] = values;
        Self { rmse, rel, srel, rmse_log, log10, delta_1, delta_2, delta_3 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_add_up_and_invalid_pixels_do_not_count() {
        let (p, t) = ([1.0, 2.0, 9.0, 4.0], [1.0, 2.5, 1.0, 2.0]);
        let valid = [true, true, false, true];
        let mut once = DepthMetrics::default();
        once.add(&p, &t, &valid);
        let mut twice = DepthMetrics::default();
        twice.add(&p[..2], &t[..2], &valid[..2]);
        twice.add(&p[2..], &t[2..], &valid[2..]);
        assert_eq!(once.scores(), twice.scores());
        let scores = once.scores().unwrap();
        assert!((scores.rmse - ((0.25 + 4.0) / 3.0_f64).sqrt()).abs() < 1e-12);
        assert!((scores.rel - (0.2 + 1.0) / 3.0).abs() < 1e-12);
        // 2.5 / 2.0 is 1.25, which is not below 1.25.
        assert!((scores.delta_1 - 1.0 / 3.0).abs() < 1e-12);
        assert!((scores.delta_2 - 2.0 / 3.0).abs() < 1e-12);
        assert!(DepthMetrics::default().scores().is_none());
    }
}
