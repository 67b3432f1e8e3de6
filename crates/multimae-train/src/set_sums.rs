//! Samples and losses by data set.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::observer::SetReport;

/// Samples of data sets and sums of their losses, in the order of the sets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SetSums(IndexMap<String, Sums>);

/// The samples of a set, and per task the sum of its losses and their number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    samples: usize,
    losses: IndexMap<String, (f64, usize)>,
}

impl SetSums {
    /// Nothing, of sets with these names.
    pub(crate) fn of<'a>(names: impl Iterator<Item = &'a String>) -> Self {
        Self(names.map(|name| (name.clone(), Sums::default())).collect())
    }

    /// Counts a sample.
    pub(crate) fn add_sample(&mut self, set: &str) {
        self.0.entry(set.to_owned()).or_default().samples += 1;
    }

    /// Adds the loss of a sample.
    pub(crate) fn add_loss(&mut self, set: &str, task: &str, loss: f64) {
        let losses = &mut self.0.entry(set.to_owned()).or_default().losses;
        let (sum, count) = losses.entry(task.to_owned()).or_default();
        *sum += loss;
        *count += 1;
    }

    /// Adds those of another pass.
    pub(crate) fn add(&mut self, other: &Self) {
        for (name, sums) in &other.0 {
            let total = self.0.entry(name.clone()).or_default();
            total.samples += sums.samples;
            for (task, (sum, count)) in &sums.losses {
                let of_task = total.losses.entry(task.clone()).or_default();
                *of_task = (of_task.0 + sum, of_task.1 + count);
            }
        }
    }

    /// The number of samples of each set, and the means of their losses by task; sets and tasks of
    /// which nothing was seen are left out.
    pub(crate) fn report(self) -> IndexMap<String, SetReport> {
        let mean = |(task, (sum, count)): (String, (f64, usize))| (task, sum / count as f64);
        let report = |sums: Sums| SetReport {
            samples: sums.samples,
            losses: sums.losses.into_iter().map(mean).collect(),
        };
        let seen = self.0.into_iter().filter(|(_, sums)| sums.samples > 0);
        seen.map(|(name, sums)| (name, report(sums))).collect()
    }
}
