//! Several data sets in one run: which samples belong to which.

use std::ops::Range;

use indexmap::IndexMap;
use multimae::losses::TaskLoss;
use multimae_data::Sample;

use crate::set_sums::SetSums;

/// The ranges of [`Sample::index`] that belong to each data set of a run, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetRanges(pub IndexMap<String, Range<usize>>);

impl SetRanges {
    fn of(&self, sample: &Sample) -> Option<&str> {
        let found = self.0.iter().find(|(_, range)| range.contains(&sample.index));
        found.map(|(name, _)| name.as_str())
    }

    /// The samples and the losses of a pass by set. Nothing is read back from the device where
    /// there is one set.
    pub(super) fn sums(&self, samples: &[Sample], losses: &IndexMap<String, TaskLoss>) -> SetSums {
        let mut sums = SetSums::of(self.0.keys());
        if self.0.is_empty() {
            return sums;
        }
        for name in samples.iter().filter_map(|sample| self.of(sample)) {
            sums.add_sample(name);
        }
        for (task, loss) in losses {
            let own: Vec<f64> = loss.per_sample.clone().into_data().iter::<f64>().collect();
            for (sample, loss) in samples.iter().zip(own) {
                // A loss of exactly zero is one of which no pixel counted.
                if let Some(name) = self.of(sample).filter(|_| loss != 0.0) {
                    sums.add_loss(name, task, loss);
                }
            }
        }
        sums
    }
}
