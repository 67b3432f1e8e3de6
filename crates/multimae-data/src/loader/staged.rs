//! Samples whose geometry changes during a run.

use super::SampleSource;
use crate::{DataFacts, Geometry, Pipeline, Result, Sample};

/// A pipeline whose geometry changes at given steps: progressive resizing. A step is a batch; it is
/// counted over all epochs, from 0. The random choices are those of the one [`Pipeline`].
#[derive(Debug, Clone)]
pub struct StagedPipeline {
    first: Pipeline,
    /// The first steps of further stages, ascending, and their pipelines.
    later: Vec<(u64, Pipeline)>,
    batches_per_epoch: u64,
}

impl StagedPipeline {
    /// A pipeline with a single stage, for epochs of this number of batches.
    #[must_use]
    pub fn new(pipeline: Pipeline, batches_per_epoch: u64) -> Self {
        Self { first: pipeline, later: Vec::new(), batches_per_epoch }
    }

    /// Changes the geometry from a step on, until the next stage. Of stages with the same first
    /// step, the last added counts.
    ///
    /// # Errors
    /// As [`Pipeline::new`].
    pub fn with_stage(mut self, first_step: u64, geometry: Geometry) -> Result<Self> {
        let pipeline = self.first.clone().with_geometry(geometry)?;
        let place = self.later.partition_point(|(step, _)| *step <= first_step);
        self.later.insert(place, (first_step, pipeline));
        Ok(self)
    }

    fn at(&self, step: u64) -> &Pipeline {
        let begun = self.later.iter().rev().find(|(first, _)| *first <= step);
        begun.map_or(&self.first, |(_, pipeline)| pipeline)
    }
}

impl SampleSource for StagedPipeline {
    fn len(&self) -> usize {
        self.first.len()
    }

    fn id(&self, index: usize) -> String {
        self.first.id(index)
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

    fn facts(&self) -> Result<Option<DataFacts>> {
        self.first.facts()
    }
}
