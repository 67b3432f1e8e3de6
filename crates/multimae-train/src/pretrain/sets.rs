//! Several data sets in one run: which samples belong to which, and their losses.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use indexmap::IndexMap;
use multimae::losses::TaskLoss;
use multimae_data::Sample;

use crate::observer::SetReport;

/// The ranges of [`Sample::index`] that belong to each data set of a run, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetRanges(pub IndexMap<String, Range<usize>>);

impl SetRanges {
    fn of(&self, sample: &Sample) -> Option<&str> {
        let found = self.0.iter().find(|(_, range)| range.contains(&sample.index));
        found.map(|(name, _)| name.as_str())
    }
}

/// Losses and samples of one step by data set. Passes add to it in any order.
#[derive(Debug)]
pub(super) struct StepBySet<'a> {
    ranges: &'a SetRanges,
    /// By the number of the pass, so that sums have one order.
    passes: Mutex<IndexMap<u64, IndexMap<String, Sums>>>,
}

/// The samples of a set in a pass, and per task the sum of its losses and their number.
#[derive(Debug, Clone, Default)]
struct Sums {
    samples: usize,
    losses: IndexMap<String, (f64, usize)>,
}

impl<'a> StepBySet<'a> {
    pub(super) fn new(ranges: &'a SetRanges) -> Self {
        Self { ranges, passes: Mutex::default() }
    }

    /// Adds the losses of a pass. Nothing is read back from the device where there is one set.
    pub(super) fn add(&self, pass: u64, samples: &[Sample], losses: &IndexMap<String, TaskLoss>) {
        if self.ranges.0.is_empty() {
            return;
        }
        let mut sums: IndexMap<String, Sums> = IndexMap::new();
        for name in samples.iter().filter_map(|sample| self.ranges.of(sample)) {
            sums.entry(name.to_owned()).or_default().samples += 1;
        }
        for (task, loss) in losses {
            let own: Vec<f64> = loss.per_sample.clone().into_data().iter::<f64>().collect();
            for (sample, loss) in samples.iter().zip(own) {
                // A loss of exactly zero is one of which no pixel counted.
                if let Some(name) = self.ranges.of(sample).filter(|_| loss != 0.0) {
                    let of_task = sums.entry(name.to_owned()).or_default();
                    let (sum, count) = of_task.losses.entry(task.clone()).or_default();
                    *sum += loss;
                    *count += 1;
                }
            }
        }
        self.passes.lock().unwrap_or_else(PoisonError::into_inner).insert(pass, sums);
    }

    /// The number of samples of each set, and the means of their losses by task; sets and tasks of
    /// which nothing was seen are left out.
    pub(super) fn report(self) -> IndexMap<String, SetReport> {
        let mut passes = self.passes.into_inner().unwrap_or_else(PoisonError::into_inner);
        passes.sort_keys();
        let mut all: IndexMap<String, Sums> =
            self.ranges.0.keys().map(|name| (name.clone(), Sums::default())).collect();
        for (name, sums) in passes.into_values().flatten() {
            let total = all.entry(name).or_default();
            total.samples += sums.samples;
            for (task, (sum, count)) in sums.losses {
                let of_task = total.losses.entry(task).or_default();
                *of_task = (of_task.0 + sum, of_task.1 + count);
            }
        }
        let seen = all.into_iter().filter(|(_, sums)| sums.samples > 0);
        let report = |sums: Sums| SetReport {
            samples: sums.samples,
            losses: sums
                .losses
                .into_iter()
                .map(|(task, (sum, count))| (task, sum / count as f64))
                .collect(),
        };
        seen.map(|(name, sums)| (name, report(sums))).collect()
    }
}
