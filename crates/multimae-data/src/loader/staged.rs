//! Samples whose geometry changes during a run.

use std::path::PathBuf;

use super::SampleSource;
use crate::{DataFacts, Result, Sample};

/// A source that is replaced at given steps, by one of the same samples in another geometry:
/// progressive resizing. A step is a batch; it is counted over all epochs, from 0.
#[derive(Debug, Clone)]
pub struct StagedSource<S> {
    first: S,
    /// The first steps of further stages, ascending, and their sources.
    later: Vec<(u64, S)>,
    batches_per_epoch: u64,
}

impl<S: SampleSource> StagedSource<S> {
    /// A source with a single stage, for epochs of this number of batches.
    #[must_use]
    pub fn new(source: S, batches_per_epoch: u64) -> Self {
        Self { first: source, later: Vec::new(), batches_per_epoch }
    }

    /// Replaces the source from a step on, until the next stage. Of stages with the same first step,
    /// the last added counts.
    #[must_use]
    pub fn with_stage(mut self, first_step: u64, source: S) -> Self {
        let place = self.later.partition_point(|(step, _)| *step <= first_step);
        self.later.insert(place, (first_step, source));
        self
    }

    fn at(&self, step: u64) -> &S {
        let begun = self.later.iter().rev().find(|(first, _)| *first <= step);
        begun.map_or(&self.first, |(_, source)| source)
    }
}

impl<S: SampleSource> SampleSource for StagedSource<S> {
    fn len(&self) -> usize {
        self.first.len()
    }

    fn id(&self, epoch: u64, index: usize) -> String {
        self.first.id(epoch, index)
    }

    fn notices(&self) -> Vec<String> {
        self.first.notices()
    }

    /// The sample as the first batch of the epoch shows it.
    fn sample(&self, epoch: u64, index: usize) -> Result<Sample> {
        self.sample_in_batch((epoch, 0), index)
    }

    fn sample_in_batch(&self, (epoch, batch): (u64, u64), index: usize) -> Result<Sample> {
        self.at(epoch * self.batches_per_epoch + batch).sample(epoch, index)
    }

    fn blocks(&self) -> Option<Vec<Vec<usize>>> {
        self.first.blocks()
    }

    fn block_files(&self) -> Vec<Vec<PathBuf>> {
        self.first.block_files()
    }

    fn facts(&self) -> Result<Option<DataFacts>> {
        self.first.facts()
    }
}
