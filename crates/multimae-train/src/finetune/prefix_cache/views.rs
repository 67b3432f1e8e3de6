//! A fixed number of augmented views of every frame.

use multimae_data::{DataFacts, Pipeline, Result, Sample, SampleSource};

/// Samples of a pipeline as a few epochs show them, in turn.
pub(crate) struct FixedViews {
    pub(crate) pipeline: Pipeline,
    /// At least 1.
    pub(crate) views: u64,
}

impl SampleSource for FixedViews {
    fn len(&self) -> usize {
        SampleSource::len(&self.pipeline)
    }

    fn id(&self, epoch: u64, index: usize) -> String {
        SampleSource::id(&self.pipeline, epoch, index)
    }

    fn notices(&self) -> Vec<String> {
        SampleSource::notices(&self.pipeline)
    }

    fn sample(&self, epoch: u64, index: usize) -> Result<Sample> {
        self.pipeline.sample(epoch % self.views.max(1), index)
    }

    fn blocks(&self) -> Option<Vec<Vec<usize>>> {
        SampleSource::blocks(&self.pipeline)
    }

    fn facts(&self) -> Result<Option<DataFacts>> {
        SampleSource::facts(&self.pipeline)
    }
}
