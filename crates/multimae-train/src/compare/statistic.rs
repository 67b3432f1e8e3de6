//! Mean and spread over seeds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Values of one quantity, one per seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statistic {
    /// Their mean.
    pub mean: f64,
    /// Their sample standard deviation (over n - 1); none for one value.
    pub deviation: Option<f64>,
    /// In the order of the seeds.
    pub values: Vec<f64>,
}

impl Statistic {
    /// Of some values; `None` of none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().collect();
        let count = values.len() as f64;
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        Some(Self { mean, deviation, values })
    }

    /// All values over a reference; `None` where that is 0.
    #[must_use]
    pub fn over(&self, reference: f64) -> Option<Self> {
        if reference == 0.0 { None } else { self.scaled(1.0 / reference) }
    }

    /// All values times a factor.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Option<Self> {
        Self::of(self.values.iter().map(|value| value * factor))
    }
}

impl fmt::Display for Statistic {
    /// With the decimals that are asked for, four if none are: `0.3100 ± 0.0200`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().unwrap_or(4);
        write!(f, "{:.decimals$}", self.mean)?;
        match self.deviation {
            Some(deviation) => write!(f, " ± {deviation:.decimals$}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_sample_deviations() {
        assert_eq!(Statistic::of([]), None);
        let one = Statistic::of([2.5]).unwrap();
        assert_eq!((one.mean, one.deviation), (2.5, None));
        assert_eq!(format!("{one:.1}"), "2.5");
        // Squares of the differences: 4 + 0 + 4, over 2.
        let three = Statistic::of([1.0, 3.0, 5.0]).unwrap();
        assert_eq!((three.mean, three.deviation), (3.0, Some(2.0)));
        assert_eq!(three.to_string(), "3.0000 ± 2.0000");
        assert_eq!(three.over(2.0).unwrap().values, [0.5, 1.5, 2.5]);
        assert_eq!(three.over(0.0), None);
    }
}
