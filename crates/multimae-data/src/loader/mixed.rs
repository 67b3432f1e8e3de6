//! Several data sets in one run.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use indexmap::IndexMap;
use md5::{Digest, Md5};

use super::SampleSource;
use super::order::shuffle;
use crate::dataset::hex;
use crate::{DataFacts, Error, Result, Sample, stream};

/// The orders of passes that are kept: batches read ahead reach from one pass into the next.
const KEPT_ORDERS: usize = 3;

/// A data set of a mixture.
#[derive(Debug, Clone)]
pub struct MixedSet<S> {
    /// Its name; part of the ids of its samples.
    pub name: String,
    /// The number of times that an epoch shows each of its samples, on average.
    pub weight: f64,
    /// Its samples.
    pub source: S,
}

/// Several data sets as one. An epoch shows every sample of a set as often as its weight says: with
/// 2 twice, with 0.5 every second epoch.
///
/// The samples of a set are taken in passes over it, each in an order of its own, which continue from
/// one epoch to the next: all its samples are shown equally often. A sample looks as in that pass of
/// training on the set alone, so that repetitions within an epoch differ. All of this depends on the
/// seed, the epoch and the index alone.
///
/// An index counts through the sets, in their order; it is [`Sample::index`]. Ids are `SET/ID`.
#[derive(Debug)]
pub struct MixedSource<S> {
    parts: Vec<Part<S>>,
    seed: u64,
}

/// A set and its share of the indices.
#[derive(Debug)]
struct Part<S> {
    set: MixedSet<S>,
    indices: Range<usize>,
    /// The latest orders, by pass.
    orders: Mutex<VecDeque<(u64, Arc<Vec<usize>>)>>,
}

impl<S: SampleSource> MixedSource<S> {
    /// A mixture of sets.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no set, two have one name, or a weight is no positive number or
    /// so small that an epoch has no sample of the set.
    pub fn new(sets: Vec<MixedSet<S>>, seed: u64) -> Result<Self> {
        if sets.is_empty() {
            return Err(Error::Config("a mixture needs at least one data set".to_owned()));
        }
        let mut parts: Vec<Part<S>> = Vec::with_capacity(sets.len());
        for set in sets {
            if parts.iter().any(|part| part.set.name == set.name) {
                return Err(Error::Config(format!(
                    "two data sets are named `{}`; give each a name of its own",
                    set.name
                )));
            }
            let start = parts.last().map_or(0, |part| part.indices.end);
            let indices = start..start + per_epoch(&set)?;
            parts.push(Part { set, indices, orders: Mutex::default() });
        }
        Ok(Self { parts, seed })
    }

    /// The sets' names and their ranges of indices, in order.
    #[must_use]
    pub fn ranges(&self) -> IndexMap<String, Range<usize>> {
        let range = |part: &Part<S>| (part.set.name.clone(), part.indices.clone());
        self.parts.iter().map(range).collect()
    }

    /// The set of an index, with the pass over it and the index in it.
    fn locate(&self, epoch: u64, index: usize) -> Result<(&Part<S>, u64, usize)> {
        let part = self.parts.iter().find(|part| part.indices.contains(&index));
        let part = part.ok_or_else(|| Error::Index { index, len: self.len() })?;
        let (samples, per_epoch) = (part.set.source.len() as u64, part.indices.len() as u64);
        let position = epoch * per_epoch + (index - part.indices.start) as u64;
        let (pass, place) = (position / samples, (position % samples) as usize);
        if per_epoch.is_multiple_of(samples) {
            // Whole passes; their order among the batches is the loader's.
            return Ok((part, pass, place));
        }
        let order = part.order(self.seed, pass);
        Ok((part, pass, order.get(place).copied().unwrap_or(place)))
    }
}

/// The samples of a set in an epoch.
fn per_epoch<S: SampleSource>(set: &MixedSet<S>) -> Result<usize> {
    let samples = (set.weight * set.source.len() as f64).round();
    if set.weight.is_finite() && (1.0..=f64::from(u32::MAX)).contains(&samples) {
        return Ok(samples as usize);
    }
    Err(Error::Config(format!(
        "data set `{}`: a weight of {} gives {samples} of its {} samples in an epoch; at least one \
         is needed",
        set.name,
        set.weight,
        set.source.len()
    )))
}

impl<S: SampleSource> Part<S> {
    /// The order of the samples in a pass over the set.
    fn order(&self, seed: u64, pass: u64) -> Arc<Vec<usize>> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, order)) = orders.iter().find(|(of, _)| *of == pass) {
            return Arc::clone(order);
        }
        let mut order: Vec<usize> = (0..self.set.source.len()).collect();
        // The range of a set is its own, so sets of one size have different orders.
        shuffle(&mut order, &mut stream(seed, "mixed_order", pass, self.indices.start as u64));
        let order = Arc::new(order);
        if orders.len() == KEPT_ORDERS {
            orders.pop_front();
        }
        orders.push_back((pass, Arc::clone(&order)));
        order
    }
}

impl<S: SampleSource> SampleSource for MixedSource<S> {
    fn len(&self) -> usize {
        self.parts.last().map_or(0, |part| part.indices.end)
    }

    fn id(&self, epoch: u64, index: usize) -> String {
        match self.locate(epoch, index) {
            Ok((part, pass, at)) => format!("{}/{}", part.set.name, part.set.source.id(pass, at)),
            Err(_) => String::new(),
        }
    }

    fn notices(&self) -> Vec<String> {
        let of = |part: &Part<S>| -> Vec<String> {
            let notices = part.set.source.notices().into_iter();
            notices.map(|notice| format!("{}: {notice}", part.set.name)).collect()
        };
        self.parts.iter().flat_map(of).collect()
    }

    fn sample(&self, epoch: u64, index: usize) -> Result<Sample> {
        let (part, pass, at) = self.locate(epoch, index)?;
        let sample = part.set.source.sample(pass, at)?;
        Ok(Sample { id: format!("{}/{}", part.set.name, sample.id), index, ..sample })
    }

    /// Those of all sets together; `None` if one of them has none.
    fn facts(&self) -> Result<Option<DataFacts>> {
        let mut names = Md5::new();
        let mut all =
            DataFacts { samples: 0, names: String::new(), packed: false, sizes: IndexMap::new() };
        for part in &self.parts {
            let Some(facts) = part.set.source.facts()? else { return Ok(None) };
            let name = &part.set.name;
            names.update(format!("{name}\0{}\0", facts.names));
            all.samples += facts.samples;
            all.packed |= facts.packed;
            let sizes = facts.sizes.into_iter();
            all.sizes.extend(sizes.map(|(modality, sizes)| (format!("{name}/{modality}"), sizes)));
        }
        all.names = hex(names);
        Ok(Some(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Samples that are named by their index and epoch.
    #[derive(Debug)]
    struct Numbers(usize);

    impl SampleSource for Numbers {
        fn len(&self) -> usize {
            self.0
        }

        fn id(&self, _epoch: u64, index: usize) -> String {
            index.to_string()
        }

        fn sample(&self, epoch: u64, index: usize) -> Result<Sample> {
            Ok(Sample { id: format!("{index}@{epoch}"), index, maps: IndexMap::new() })
        }
    }

    fn mixed(sets: &[(&str, usize, f64)]) -> Result<MixedSource<Numbers>> {
        let set = |&(name, len, weight): &(&str, usize, f64)| MixedSet {
            name: name.to_owned(),
            weight,
            source: Numbers(len),
        };
        MixedSource::new(sets.iter().map(set).collect(), 7)
    }

    fn epoch(source: &MixedSource<Numbers>, epoch: u64) -> Vec<String> {
        (0..source.len()).map(|index| source.sample(epoch, index).unwrap().id).collect()
    }

    #[test]
    fn weights_say_how_often_an_epoch_shows_a_sample() {
        let source = mixed(&[("a", 4, 1.0), ("b", 3, 2.0), ("c", 5, 0.5)]).unwrap();
        assert_eq!(source.ranges()["b"], 4..10);
        assert_eq!(source.len(), 4 + 6 + 3, "half of five is rounded");
        let first = epoch(&source, 0);
        assert_eq!(first[..4], ["a/0@0", "a/1@0", "a/2@0", "a/3@0"]);
        // The second showing is another pass, and so looks otherwise.
        assert_eq!(first[4..10], ["b/0@0", "b/1@0", "b/2@0", "b/0@1", "b/1@1", "b/2@1"]);
        assert_eq!(source.id(0, 4), "b/0");
        assert_eq!(source.sample(3, 11).unwrap().index, 11);
    }

    #[test]
    fn passes_go_on_over_epochs_and_show_every_sample_equally_often() {
        let source = mixed(&[("a", 5, 0.4), ("b", 7, 1.5)]).unwrap();
        let mut shown: BTreeMap<String, usize> = BTreeMap::new();
        // 5 and 2 epochs are whole passes.
        for id in (0..20).flat_map(|at| epoch(&source, at)) {
            *shown.entry(id.split('@').next().unwrap().to_owned()).or_default() += 1;
        }
        let of = |set: &str| -> Vec<usize> {
            shown.iter().filter(|(id, _)| id.starts_with(set)).map(|(_, &count)| count).collect()
        };
        assert_eq!(of("a"), [8; 5]);
        // 11 of 7 samples: 20 epochs are 220 showings, 31 passes and three more.
        assert!(of("b").iter().all(|count| [31, 32].contains(count)), "{shown:?}");
    }

    #[test]
    fn a_sample_depends_on_its_place_alone() {
        let source = mixed(&[("a", 50, 0.3), ("b", 50, 0.3)]).unwrap();
        let again = mixed(&[("a", 50, 0.3), ("b", 50, 0.3)]).unwrap();
        let backwards: Vec<Vec<String>> = (0..9).rev().map(|at| epoch(&again, at)).collect();
        let forwards: Vec<Vec<String>> = (0..9).map(|at| epoch(&source, at)).collect();
        assert!(forwards.iter().eq(backwards.iter().rev()));
        let numbers = |ids: &[String]| -> Vec<String> {
            ids.iter().map(|id| id.split_once('/').unwrap().1.to_owned()).collect()
        };
        assert_ne!(numbers(&forwards[0][..15]), numbers(&forwards[0][15..]));
    }

    #[test]
    fn impossible_mixtures_are_explained() {
        assert!(mixed(&[]).is_err());
        let twice = mixed(&[("a", 1, 1.0), ("a", 2, 1.0)]).unwrap_err().to_string();
        assert!(twice.contains("named `a`"), "{twice}");
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY, 0.01] {
            let error = mixed(&[("a", 10, weight)]).unwrap_err().to_string();
            assert!(error.contains("data set `a`"), "{error}");
        }
    }
}
