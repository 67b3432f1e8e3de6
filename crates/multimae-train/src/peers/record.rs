//! The records that processes exchange in every step.

use indexmap::IndexMap;
use multimae_data::{Batch, Rejected};
use serde::{Deserialize, Serialize};

use crate::set_sums::SetSums;
use crate::{Error, Result};

/// The losses of one pass, weighted by its share of the samples.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PassRecord {
    /// The number of the pass in the batch.
    pub(crate) index: u64,
    /// Unweighted losses by task.
    pub(crate) losses: IndexMap<String, f64>,
    /// Balanced losses by task.
    pub(crate) weighted: IndexMap<String, f64>,
    /// By data set.
    pub(crate) sets: SetSums,
}

/// The part of one process in a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StepRecord {
    pub(crate) passes: Vec<PassRecord>,
    /// Samples that were good.
    pub(crate) samples: usize,
    pub(crate) rejected: Vec<Rejected>,
    /// Whether it was asked to stop.
    pub(crate) stop: bool,
    /// The bits of the gradients' norm in its last step.
    pub(crate) last_norm: u64,
    /// The places of parameters that it has no gradient of.
    pub(crate) absent: Vec<u32>,
}

impl StepRecord {
    /// Checks that all processes had the same gradients in their last step.
    pub(crate) fn check_norms(records: &[Self], step: u64) -> Result<()> {
        let norms: Vec<f64> = records.iter().map(|r| f64::from_bits(r.last_norm)).collect();
        if records.iter().all(|record| record.last_norm == records[0].last_norm) {
            return Ok(());
        }
        let norms: Vec<String> = norms.iter().map(|norm| format!("{norm:e}")).collect();
        Err(Error::Parted { step, norms: norms.join(", ") })
    }
}

/// The sums of a step over all processes.
#[derive(Debug, Default)]
pub(crate) struct StepSums {
    pub(crate) losses: IndexMap<String, f64>,
    pub(crate) weighted: IndexMap<String, f64>,
    pub(crate) sets: SetSums,
    pub(crate) samples: usize,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) stop: bool,
    /// The factor that makes shares of the planned samples shares of the good ones.
    pub(crate) correction: f64,
    /// Seconds in which gradients were summed over processes.
    pub(crate) communication: f64,
}

impl StepSums {
    /// Adds passes in their order, whichever process did them: the sums are those of one process.
    ///
    /// # Errors
    /// If no sample of the batch is good.
    pub(crate) fn new(records: &[StepRecord], batch: &Batch) -> Result<Self> {
        let samples: usize = records.iter().map(|record| record.samples).sum();
        let rejected: Vec<Rejected> =
            records.iter().flat_map(|record| record.rejected.clone()).collect();
        if samples == 0 {
            let (epoch, batch) = (batch.epoch, batch.batch);
            return Err(multimae_data::Error::EmptyBatch { epoch, batch, rejected }.into());
        }
        let correction = if records.len() > 1 && samples != batch.planned {
            batch.planned as f64 / samples as f64
        } else {
            1.0
        };
        let stop = records.iter().any(|record| record.stop);
        let mut sums = Self { samples, rejected, stop, correction, ..Self::default() };
        let mut passes: Vec<&PassRecord> = records.iter().flat_map(|r| &r.passes).collect();
        passes.sort_by_key(|pass| pass.index);
        for pass in passes {
            add(&mut sums.losses, &pass.losses, correction);
            add(&mut sums.weighted, &pass.weighted, correction);
            sums.sets.add(&pass.sets);
        }
        Ok(sums)
    }
}

fn add(sums: &mut IndexMap<String, f64>, losses: &IndexMap<String, f64>, factor: f64) {
    for (task, loss) in losses {
        *sums.entry(task.clone()).or_default() += factor * loss;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(passes: &[(u64, f64)], last_norm: f64) -> StepRecord {
        let pass = |&(index, loss): &(u64, f64)| PassRecord {
            index,
            losses: [("depth".to_owned(), loss)].into_iter().collect(),
            weighted: IndexMap::new(),
            sets: SetSums::default(),
        };
        StepRecord {
            passes: passes.iter().map(pass).collect(),
            samples: 3,
            rejected: vec![Rejected { id: "bad".to_owned(), problem: "torn".to_owned() }],
            stop: false,
            last_norm: last_norm.to_bits(),
            absent: Vec::new(),
        }
    }

    #[test]
    fn passes_add_up_in_their_order_whoever_did_them() {
        let losses = [0.1, 1e17, -1e17, 0.3];
        let pass = |index: usize| (index as u64, losses[index]);
        let batch = Batch { planned: 6, ..Batch::default() };
        let sum = |records: &[StepRecord]| StepSums::new(records, &batch).unwrap().losses["depth"];
        let one = sum(&[record(&[pass(0), pass(1), pass(2), pass(3)], 1.0)]);
        let two = sum(&[record(&[pass(2), pass(3)], 1.0), record(&[pass(0), pass(1)], 1.0)]);
        assert_eq!(one.to_bits(), two.to_bits());
    }

    #[test]
    fn bad_samples_leave_shares_of_the_good_ones() {
        let batch = Batch { planned: 8, ..Batch::default() };
        let sums = StepSums::new(&[record(&[(0, 3.0)], 1.0), record(&[(1, 3.0)], 1.0)], &batch);
        let sums = sums.unwrap();
        // Six of eight: each pass was 3/8 of what it should be 3/6 of.
        assert_eq!((sums.losses["depth"], sums.samples, sums.rejected.len()), (8.0, 6, 2));
        let none = StepRecord { samples: 0, ..record(&[], 1.0) };
        let error = StepSums::new(&[none.clone(), none], &batch).unwrap_err().to_string();
        assert!(error.contains("torn"), "{error}");
    }

    #[test]
    fn other_norms_are_an_error() {
        let same = [record(&[], 1.5), record(&[], 1.5)];
        StepRecord::check_norms(&same, 7).unwrap();
        let nan = [record(&[], f64::NAN), record(&[], f64::NAN)];
        StepRecord::check_norms(&nan, 7).unwrap();
        let parted = [record(&[], 1.5), record(&[], 1.5000000000000002)];
        let error = StepRecord::check_norms(&parted, 7).unwrap_err().to_string();
        assert!(error.contains("step 7") && error.contains("1.5000000000000002e0"), "{error}");
    }
}
