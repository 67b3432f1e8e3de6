//! Statistics of training annotations: the mean of values, the frequency of classes.

/// The statistics of the annotations of one task, from which constant predictions follow.
#[derive(Debug, Clone, PartialEq)]
pub enum Constant {
    /// Real values.
    Values(Moments),
    /// The share of every class among the labelled pixels or the images.
    Frequencies(Vec<f64>),
}

/// Sums over the valid values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Moments {
    valid: f64,
    all: f64,
    sums: Vec<f64>,
    squares: f64,
    log_sum: f64,
    log_squares: f64,
}

impl Moments {
    /// Adds planes of values, of which the valid ones count.
    pub fn add(&mut self, channels: usize, data: &[f32], valid: &[bool]) {
        self.sums.resize(channels.max(self.sums.len()), 0.0);
        let pixels = (data.len() / channels.max(1)).max(1);
        self.all += data.len() as f64;
        for (index, (&value, _)) in data.iter().zip(valid).enumerate().filter(|(_, (_, v))| **v) {
            let value = f64::from(value);
            self.valid += 1.0;
            self.sums[index / pixels] += value;
            self.squares += value * value;
            let log = value.max(f64::MIN_POSITIVE).ln();
            self.log_sum += log;
            self.log_squares += log * log;
        }
    }

    /// Share of the values that are valid.
    #[must_use]
    pub fn valid_share(&self) -> f64 {
        self.valid / self.all.max(1.0)
    }

    /// Mean of each channel.
    #[must_use]
    pub fn means(&self) -> Vec<f64> {
        let channels = self.sums.len().max(1) as f64;
        self.sums.iter().map(|sum| sum * channels / self.valid.max(1.0)).collect()
    }

    /// Mean and standard deviation over all channels.
    #[must_use]
    pub fn linear(&self) -> (f64, f64) {
        mean_and_deviation(self.sums.iter().sum(), self.squares, self.valid)
    }

    /// Mean and standard deviation of the natural logarithm.
    #[must_use]
    pub fn log(&self) -> (f64, f64) {
        mean_and_deviation(self.log_sum, self.log_squares, self.valid)
    }
}

fn mean_and_deviation(sum: f64, squares: f64, count: f64) -> (f64, f64) {
    let count = count.max(1.0);
    let mean = sum / count;
    (mean, (squares / count - mean * mean).max(0.0).sqrt())
}

/// Accumulates the annotations of one task.
#[derive(Debug, Default)]
pub struct AnnotationStatistics {
    /// Of real values.
    pub moments: Moments,
    counts: Vec<f64>,
}

impl AnnotationStatistics {
    /// Counts a label of one of `classes` classes.
    pub fn label(&mut self, label: usize, classes: usize) {
        self.counts.resize(classes.max(self.counts.len()), 0.0);
        if let Some(count) = self.counts.get_mut(label) {
            *count += 1.0;
        }
    }

    /// Concludes the statistics; `None` if nothing was annotated.
    #[must_use]
    pub fn constant(self) -> Option<Constant> {
        let total: f64 = self.counts.iter().sum();
        if total > 0.0 {
            let shares = self.counts.iter().map(|count| count / total).collect();
            return Some(Constant::Frequencies(shares));
        }
        (self.moments.valid > 0.0).then_some(Constant::Values(self.moments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_count_valid_values() {
        let mut moments = Moments::default();
        moments.add(1, &[1.0, 3.0, f32::NAN, 900.0], &[true, true, false, false]);
        assert_eq!(moments.linear(), (2.0, 1.0));
        assert_eq!(moments.means(), [2.0]);
        assert_eq!(moments.valid_share(), 0.5);
        let (mean, deviation) = moments.log();
        assert!((mean - 3.0_f64.ln() / 2.0).abs() < 1e-12);
        assert!((deviation - 3.0_f64.ln() / 2.0).abs() < 1e-12);
        let mut colours = Moments::default();
        colours.add(2, &[1.0, 3.0, 10.0, 20.0], &[true; 4]);
        assert_eq!(colours.means(), [2.0, 15.0]);
    }
}
