//! Batches in a fixed order from any number of threads.

mod ahead;
mod batches;
mod deal;
mod mixed;
mod order;
mod source;
mod staged;
mod workers;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use batches::Batches;
pub use deal::Deal;
pub use mixed::{MixedSet, MixedSource};
pub use order::Order;
pub use source::SampleSource;
pub use staged::StagedSource;

use crate::rejected::Rejected;
use crate::{DataFacts, Error, Result, Sample};

/// The batching of samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoaderConfig {
    /// Samples per batch.
    pub batch_size: usize,
    /// Threads that make samples; 0 makes them in the calling thread, when they are asked for.
    pub workers: usize,
    /// Samples that are made ahead, on top of one per worker. With at least `batch_size`, the next
    /// batch is made while the last one is used.
    pub prefetch: usize,
    /// The seed of the order.
    pub seed: u64,
    /// A random order.
    pub shuffle: bool,
    /// Another random order in every epoch; otherwise every epoch has the order of the first.
    pub reshuffle: bool,
    /// Leave out the last batch of an epoch if it is smaller.
    pub drop_last: bool,
    /// The handling of bad samples.
    pub bad_samples: BadSamples,
}

impl LoaderConfig {
    /// The number of batches in an epoch of this number of samples. A batch size of 0 counts as 1.
    #[must_use]
    pub fn batches_per_epoch(&self, samples: usize) -> u64 {
        let size = self.batch_size.max(1);
        let batches = if self.drop_last { samples / size } else { samples.div_ceil(size) };
        batches as u64
    }
}

/// The handling of a sample with bad files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadSamples {
    /// Its batch is an error.
    Fail,
    /// Leave it out of its batch and name it in [`Batch::rejected`]. A batch without any good
    /// sample is an error.
    Skip,
}

/// Some samples of one epoch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The index of the batch in the epoch, from 0.
    pub batch: u64,
    /// The samples; never empty, unless the batches are dealt out over processes.
    pub samples: Vec<Sample>,
    /// The place of each sample in the batch, ascending.
    pub places: Vec<usize>,
    /// Samples of the whole batch, with those that are bad or that other processes have.
    pub planned: usize,
    /// The bad samples that were left out.
    pub rejected: Vec<Rejected>,
}

impl Batch {
    /// A batch of all these samples.
    #[must_use]
    pub fn whole((epoch, batch): (u64, u64), samples: Vec<Sample>) -> Self {
        let (places, planned) = ((0..samples.len()).collect(), samples.len());
        Self { epoch, batch, samples, places, planned, rejected: Vec::new() }
    }
}

/// Puts samples into batches, epoch by epoch.
pub struct Loader {
    source: Arc<dyn SampleSource>,
    config: LoaderConfig,
    /// Shards to mix at a time, and the samples of all shards.
    shards: Option<(usize, Arc<Vec<Vec<usize>>>)>,
    /// The part of every batch that is made here.
    deal: Deal,
}

impl Loader {
    /// A loader. No thread is started yet.
    ///
    /// # Errors
    /// [`Error::Config`] if the batch size is 0, or an epoch would have no batch.
    pub fn new(source: impl SampleSource + 'static, config: LoaderConfig) -> Result<Self> {
        let loader = Self { source: Arc::new(source), config, shards: None, deal: Deal::default() };
        if loader.config.batch_size == 0 {
            return Err(Error::Config("batch_size must be at least 1".to_owned()));
        }
        if loader.batches_per_epoch() == 0 {
            return Err(Error::Config(format!(
                "an epoch of {} samples has no whole batch of {}; use a smaller batch_size or keep \
                 the last batch",
                loader.source.len(),
                loader.config.batch_size
            )));
        }
        Ok(loader)
    }

    /// Takes another random order, where the configuration asks for a random one.
    ///
    /// # Errors
    /// [`Error::Config`] if it is that of shards, and the window is 0 or the samples are not in
    /// shards.
    pub fn with_order(mut self, order: Order) -> Result<Self> {
        self.shards = match order {
            Order::Samples => None,
            Order::Shards { window: 0 } => {
                return Err(Error::Config("a window holds at least one shard".to_owned()));
            }
            Order::Shards { window } => {
                let blocks = self.source.blocks().ok_or_else(|| {
                    Error::Config(
                        "the samples are not in shards, so there is no order of shards; shuffle \
                         samples"
                            .to_owned(),
                    )
                })?;
                Some((window, Arc::new(blocks)))
            }
        };
        Ok(self)
    }

    /// Makes only the part of every batch that one of several processes has. The order, the number
    /// of batches and the places of samples stay those of the whole.
    #[must_use]
    pub fn with_deal(self, deal: Deal) -> Self {
        Self { deal, ..self }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// Notices about the samples, for the user before they are used.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        self.source.notices()
    }

    /// The number of samples in an epoch.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.source.len()
    }

    /// Returns the facts by which its data is recognised, if that is in files.
    ///
    /// # Errors
    /// [`Error::Io`] if a file is gone.
    pub fn facts(&self) -> Result<Option<DataFacts>> {
        self.source.facts()
    }

    /// The number of batches in an epoch.
    #[must_use]
    pub fn batches_per_epoch(&self) -> u64 {
        self.config.batches_per_epoch(self.source.len())
    }

    /// The indices of the samples in the order of `epoch`, which depends on the seed and the epoch
    /// alone. With `drop_last`, the end may not be used.
    #[must_use]
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        let LoaderConfig { seed, shuffle, reshuffle, .. } = self.config;
        let epoch = if reshuffle { epoch } else { 0 };
        match &self.shards {
            _ if !shuffle => (0..self.source.len()).collect(),
            None => order::samples(self.source.len(), seed, epoch),
            Some((window, blocks)) => order::shards(blocks, *window, seed, epoch),
        }
    }

    /// The batches from `start = (epoch, batch)` up to the end of the epoch before `end_epoch`.
    /// They are the same ones that a start at (0, 0) gives at this place. A batch beyond the last
    /// of its epoch counts on into the next epochs.
    #[must_use]
    pub fn batches(&self, start: (u64, u64), end_epoch: u64) -> Batches {
        let per_epoch = self.batches_per_epoch();
        let start = (start.0 + start.1 / per_epoch, start.1 % per_epoch);
        Batches::new(self.clone(), start, end_epoch)
    }
}

impl Clone for Loader {
    fn clone(&self) -> Self {
        let (source, config) = (Arc::clone(&self.source), self.config.clone());
        Self { source, config, shards: self.shards.clone(), deal: self.deal }
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("samples", &self.source.len())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
