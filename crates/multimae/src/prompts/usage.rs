//! Counts of the use of a pool's entries, by all samples and by kind of sample.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{EntryChoice, Selection};
use crate::{Error, Result};

/// The use of a pool by all samples and by those of every label, e.g. a class or a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolUsage {
    overall: EntryUsage,
    labels: IndexMap<String, EntryUsage>,
}

/// The use of the entries by some samples.
///
/// A sample uses an entry once if it chose it; of a mixture it uses every entry by the magnitude of
/// its weight.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryUsage {
    samples: u64,
    /// By set of keys, by entry.
    amounts: Vec<Vec<f64>>,
}

impl PoolUsage {
    /// Counts what the samples of a batch take.
    ///
    /// # Errors
    /// If the selection is of another pool than those before.
    pub fn record(&mut self, selection: &Selection) -> Result<()> {
        let samples = amounts(selection);
        self.check(selection)?;
        samples.iter().for_each(|sample| self.overall.add(sample));
        Ok(())
    }

    /// [`Self::record`], also under the label of every sample.
    ///
    /// # Errors
    /// As [`Self::record`]; also if there is not one label per sample.
    pub fn record_labelled<L: AsRef<str>>(
        &mut self,
        selection: &Selection,
        labels: &[L],
    ) -> Result<()> {
        let samples = amounts(selection);
        if labels.len() != samples.len() {
            return Err(Error::Config(format!(
                "{} labels for the pool usage of {} samples",
                labels.len(),
                samples.len()
            )));
        }
        self.check(selection)?;
        for (sample, label) in samples.iter().zip(labels) {
            self.overall.add(sample);
            self.labels.entry(label.as_ref().to_owned()).or_default().add(sample);
        }
        Ok(())
    }

    fn check(&self, selection: &Selection) -> Result<()> {
        let [_, sets, entries] = selection.similarity.dims();
        self.overall.check(sets, entries)
    }

    /// By all samples.
    #[must_use]
    pub fn overall(&self) -> &EntryUsage {
        &self.overall
    }

    /// By the samples of every label, in the order in which labels came.
    #[must_use]
    pub fn labels(&self) -> &IndexMap<String, EntryUsage> {
        &self.labels
    }

    /// The share of every entry in the use of its set of keys as if every entry had been used once
    /// more, so that none is 0: `(uses + 1) / (uses of the set + entries)`. Set after set.
    ///
    /// # Errors
    /// If the usage is of a pool of another size.
    pub fn frequencies(&self, sets: usize, entries: usize) -> Result<Vec<f64>> {
        self.overall.check(sets, entries)?;
        if self.overall.amounts.is_empty() {
            return Ok(vec![1.0 / entries as f64; sets * entries]);
        }
        let shares = |set: &Vec<f64>| {
            let total = set.iter().sum::<f64>() + entries as f64;
            set.iter().map(|amount| (amount + 1.0) / total).collect::<Vec<_>>()
        };
        Ok(self.overall.amounts.iter().flat_map(shares).collect())
    }
}

impl EntryUsage {
    fn check(&self, sets: usize, entries: usize) -> Result<()> {
        let fits =
            self.amounts.len() == sets && self.amounts.iter().all(|set| set.len() == entries);
        if fits || self.amounts.is_empty() {
            return Ok(());
        }
        Err(Error::Config(format!(
            "the usage of a pool with {} sets of {} keys does not go with a pool with {sets} of \
             {entries}",
            self.amounts.len(),
            self.amounts.first().map_or(0, Vec::len)
        )))
    }

    /// Adds one sample.
    fn add(&mut self, sample: &[Vec<f64>]) {
        if self.amounts.is_empty() {
            self.amounts = sample.iter().map(|set| vec![0.0; set.len()]).collect();
        }
        self.samples += 1;
        for (sum, amount) in self.amounts.iter_mut().flatten().zip(sample.iter().flatten()) {
            *sum += amount;
        }
    }

    /// Samples that were counted.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Mean use per sample, by set of keys and entry: of choices the share of the samples that chose
    /// the entry, of mixtures the mean magnitude of its weight. Empty if there were no samples.
    #[must_use]
    pub fn per_sample(&self) -> Vec<Vec<f64>> {
        let mean =
            |set: &Vec<f64>| set.iter().map(|sum| sum / self.samples.max(1) as f64).collect();
        self.amounts.iter().map(mean).collect()
    }

    /// The share of every entry in all use, by set of keys; each set adds up to 1, or is all 0 if
    /// nothing of it was used. Empty if there were no samples.
    #[must_use]
    pub fn histogram(&self) -> Vec<Vec<f64>> {
        self.amounts.iter().map(|set| shares(set)).collect()
    }

    /// The entropy of the histogram over the logarithm of the number of entries, the mean over the
    /// sets of keys: 1 is even use, 0 always the same entry. `None` if nothing was used.
    #[must_use]
    pub fn entropy(&self) -> Option<f64> {
        let sets = self.histogram();
        let used = |set: &Vec<f64>| set.iter().any(|&share| share > 0.0);
        (!sets.is_empty() && sets.iter().all(used))
            .then(|| sets.iter().map(|set| evenness(set)).sum::<f64>() / sets.len() as f64)
    }

    /// Entries that no sample used, as (set of keys, entry). With one set for all layers the first
    /// number is always 0.
    #[must_use]
    pub fn dead(&self) -> Vec<(usize, usize)> {
        let places = |(set, amounts): (usize, &Vec<f64>)| {
            let dead = amounts.iter().enumerate().filter(|(_, amount)| **amount == 0.0);
            dead.map(|(entry, _)| (set, entry)).collect::<Vec<_>>()
        };
        self.amounts.iter().enumerate().flat_map(places).collect()
    }

    /// Returns the overlap of two kinds of samples: `sum min(p, q) / sum max(p, q)` over the two
    /// histograms, the weighted index of Jaccard; 1 for the same use, 0 if no entry is used by
    /// both. Of even use it is the number of common entries divided by that of all used ones.
    /// `None` if either used nothing.
    ///
    /// # Errors
    /// If the other usage is of a pool of another size.
    pub fn overlap(&self, other: &Self) -> Result<Option<f64>> {
        if let (false, Some(first)) = (self.amounts.is_empty(), other.amounts.first()) {
            self.check(other.amounts.len(), first.len())?;
        }
        let (own, others) = (self.histogram().concat(), other.histogram().concat());
        let sum = |of: fn(f64, f64) -> f64| own.iter().zip(&others).map(|(p, q)| of(*p, *q)).sum();
        let (common, all): (f64, f64) = (sum(f64::min), sum(f64::max));
        let used = |shares: &[f64]| shares.iter().any(|&share| share > 0.0);
        Ok((used(&own) && used(&others)).then(|| common / all))
    }
}

/// By sample, set of keys and entry.
fn amounts(selection: &Selection) -> Vec<Vec<Vec<f64>>> {
    let [_, sets, entries] = selection.similarity.dims();
    match &selection.choice {
        EntryChoice::Entries(chosen) => {
            let count = |chosen: &[usize]| {
                let mut set = vec![0.0; entries];
                chosen.iter().for_each(|&entry| set[entry] += 1.0);
                set
            };
            let sample = |chosen: &Vec<usize>| {
                chosen.chunks((chosen.len() / sets).max(1)).map(count).collect()
            };
            chosen.iter().map(sample).collect()
        }
        EntryChoice::Mixture => {
            let weights = selection.similarity.clone().abs().into_data();
            let weights: Vec<f64> = weights.iter::<f64>().collect();
            let sample = |weights: &[f64]| weights.chunks(entries).map(<[f64]>::to_vec).collect();
            weights.chunks(sets * entries).map(sample).collect()
        }
    }
}

fn shares(amounts: &[f64]) -> Vec<f64> {
    let total: f64 = amounts.iter().sum();
    amounts.iter().map(|amount| if total > 0.0 { amount / total } else { 0.0 }).collect()
}

/// Entropy over its largest value. A single entry is used evenly.
fn evenness(shares: &[f64]) -> f64 {
    if shares.len() < 2 {
        return 1.0;
    }
    let terms = shares.iter().filter(|share| **share > 0.0).map(|share| -share * share.ln());
    terms.sum::<f64>() / (shares.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};
    use proptest::prelude::*;

    use super::*;
    use crate::prompts::PoolLosses;

    fn selection(sets: usize, entries: usize, chosen: Vec<Vec<usize>>) -> Selection {
        Selection {
            prompts: Vec::new(),
            similarity: Tensor::zeros([chosen.len(), sets, entries], &Device::default()),
            choice: EntryChoice::Entries(chosen),
            losses: PoolLosses::default(),
        }
    }

    fn usage(entries: usize, chosen: Vec<Vec<usize>>) -> EntryUsage {
        let mut usage = PoolUsage::default();
        usage.record(&selection(1, entries, chosen)).unwrap();
        usage.overall().clone()
    }

    #[test]
    fn choices_are_counted() {
        let usage = usage(4, vec![vec![0, 1], vec![1, 0], vec![0, 3]]);
        assert_eq!(usage.samples(), 3);
        assert_eq!(usage.per_sample(), [[1.0, 2.0 / 3.0, 0.0, 1.0 / 3.0]]);
        assert_eq!(usage.histogram(), [[0.5, 1.0 / 3.0, 0.0, 1.0 / 6.0]]);
        assert_eq!(usage.dead(), [(0, 2)]);
        // 0.5 ln 2 + ln 3 / 3 + ln 6 / 6 = 1.011404, over ln 4.
        assert!((usage.entropy().unwrap() - 1.011_404 / 4.0_f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn entropy_ends_at_zero_and_one() {
        let even = usage(3, vec![vec![0], vec![1], vec![2]]).entropy().unwrap();
        assert!((even - 1.0).abs() < 1e-12);
        assert_eq!(usage(3, vec![vec![1], vec![1]]).entropy(), Some(0.0));
        assert_eq!(usage(1, vec![vec![0]]).entropy(), Some(1.0));
        assert_eq!(PoolUsage::default().overall().entropy(), None);
    }

    #[test]
    fn sets_of_keys_are_counted_apart() {
        let mut usage = PoolUsage::default();
        usage.record(&selection(2, 2, vec![vec![0, 1], vec![0, 0]])).unwrap();
        assert_eq!(usage.overall().histogram(), [[1.0, 0.0], [0.5, 0.5]]);
        assert_eq!(usage.overall().dead(), [(0, 1)]);
        assert_eq!(usage.overall().entropy(), Some(0.5));
        assert_eq!(usage.frequencies(2, 2).unwrap(), [0.75, 0.25, 0.5, 0.5]);
    }

    #[test]
    fn mixtures_count_by_their_weights() {
        let mut usage = PoolUsage::default();
        let rows = [[0.5, -0.25, 0.0], [0.1, -0.25, 0.0]];
        let similarity = Tensor::<2>::from_floats(rows, &Device::default());
        let mixture = Selection {
            similarity: similarity.reshape([2, 1, 3]),
            choice: EntryChoice::Mixture,
            ..selection(1, 3, Vec::new())
        };
        usage.record(&mixture).unwrap();
        let per_sample = usage.overall().per_sample().concat();
        for (got, expected) in per_sample.iter().zip([0.3, 0.25, 0.0]) {
            assert!((got - expected).abs() < 1e-7, "{got}");
        }
        assert_eq!(usage.overall().dead(), [(0, 2)]);
    }

    #[test]
    fn labels_are_kept_apart_and_compared() {
        let mut usage = PoolUsage::default();
        let batch = selection(1, 4, vec![vec![0, 1], vec![1, 2], vec![0, 1]]);
        usage.record_labelled(&batch, &["depth", "semseg", "depth"]).unwrap();
        usage.record(&selection(1, 4, vec![vec![3, 0]])).unwrap();
        assert_eq!(usage.overall().samples(), 4);
        let labels = usage.labels();
        assert_eq!(labels.keys().collect::<Vec<_>>(), ["depth", "semseg"]);
        let (depth, semseg) = (&labels["depth"], &labels["semseg"]);
        assert_eq!(depth.samples(), 2);
        assert_eq!(depth.dead(), [(0, 2), (0, 3)]);
        // Entries 0 and 1 against 1 and 2, used evenly: one of three is common.
        let overlap = depth.overlap(semseg).unwrap().unwrap();
        assert!((overlap - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(depth.overlap(depth).unwrap(), Some(1.0));
        assert_eq!(depth.overlap(&EntryUsage::default()).unwrap(), None);
        assert!(usage.record_labelled(&batch, &["depth"]).is_err());
        assert_eq!(usage.overall().samples(), 4);
    }

    #[test]
    fn other_pools_are_refused() {
        let mut usage = PoolUsage::default();
        usage.record(&selection(1, 4, vec![vec![0]])).unwrap();
        let before = usage.clone();
        assert!(usage.record(&selection(1, 3, vec![vec![0]])).is_err());
        assert!(usage.record(&selection(2, 4, vec![vec![0, 0]])).is_err());
        assert!(usage.frequencies(1, 5).is_err());
        assert!(usage.overall().overlap(&super::tests::usage(3, vec![vec![0]])).is_err());
        assert_eq!(usage, before);
    }

    #[test]
    fn reports_keep_it() {
        let mut usage = PoolUsage::default();
        let batch = selection(1, 3, vec![vec![0, 2], vec![1, 2]]);
        usage.record_labelled(&batch, &["a", "b"]).unwrap();
        let text = serde_json::to_string(&usage).unwrap();
        assert_eq!(serde_json::from_str::<PoolUsage>(&text).unwrap(), usage);
    }

    proptest! {
        #[test]
        fn numbers_stay_in_their_ranges(
            a in prop::collection::vec(0_usize..6, 1..20),
            b in prop::collection::vec(0_usize..6, 1..20),
        ) {
            let each = |entries: &[usize]| entries.iter().map(|&entry| vec![entry]).collect();
            let (a, b) = (usage(6, each(&a)), usage(6, each(&b)));
            prop_assert!((-1e-12..=1.0 + 1e-12).contains(&a.entropy().unwrap()));
            prop_assert!((a.histogram().concat().iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let (there, back) = (a.overlap(&b).unwrap(), b.overlap(&a).unwrap());
            prop_assert_eq!(there, back);
            prop_assert!((0.0..=1.0).contains(&there.unwrap()));
            let used = a.histogram().concat().iter().filter(|share| **share > 0.0).count();
            prop_assert_eq!(used + a.dead().len(), 6);
        }
    }
}
