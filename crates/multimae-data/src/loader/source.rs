//! The source of a loader's samples.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{DataFacts, Pipeline, Result, Sample};

/// Something that makes samples: a [`Pipeline`] over files, or a generator.
#[expect(clippy::len_without_is_empty, reason = "an empty source has no use")]
pub trait SampleSource: Send + Sync {
    /// The number of samples.
    fn len(&self) -> usize;

    /// The id of the sample `index` in `epoch`, for messages.
    fn id(&self, epoch: u64, index: usize) -> String;

    /// Notices about the samples, for the user before they are used.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }

    /// The sample `index` as it looks in `epoch`. Must depend on nothing else.
    ///
    /// # Errors
    /// [`Error::Sample`](crate::Error::Sample) if the sample is bad; other errors are never
    /// skipped.
    fn sample(&self, epoch: u64, index: usize) -> Result<Sample>;

    /// The sample `index` as it looks in a batch of `epoch`, both counted from 0. All batches of an
    /// epoch show it alike unless the source says otherwise. Must depend on nothing else.
    ///
    /// # Errors
    /// As [`Self::sample`].
    fn sample_in_batch(&self, (epoch, batch): (u64, u64), index: usize) -> Result<Sample> {
        let _ = batch;
        self.sample(epoch, index)
    }

    /// The indices of the samples by the shards that hold them, if they are in shards.
    fn blocks(&self) -> Option<Vec<Vec<usize>>> {
        None
    }

    /// The files of each of [`Self::blocks`], which are read ahead in an order of shards; empty if
    /// that would be of no use.
    fn block_files(&self) -> Vec<Vec<PathBuf>> {
        Vec::new()
    }

    /// Returns the facts by which the data is recognised, if it is in files.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if a file is gone.
    fn facts(&self) -> Result<Option<DataFacts>> {
        Ok(None)
    }
}

impl SampleSource for Pipeline {
    fn len(&self) -> usize {
        self.dataset().len()
    }

    fn id(&self, _epoch: u64, index: usize) -> String {
        self.dataset().id(index).unwrap_or_default().into_owned()
    }

    fn notices(&self) -> Vec<String> {
        self.dataset().notices()
    }

    fn sample(&self, epoch: u64, index: usize) -> Result<Sample> {
        Pipeline::sample(self, epoch, index)
    }

    fn blocks(&self) -> Option<Vec<Vec<usize>>> {
        self.dataset().blocks()
    }

    fn block_files(&self) -> Vec<Vec<PathBuf>> {
        self.dataset().block_files()
    }

    fn facts(&self) -> Result<Option<DataFacts>> {
        self.dataset().facts().map(Some)
    }
}

impl<S: SampleSource + ?Sized> SampleSource for Arc<S> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn id(&self, epoch: u64, index: usize) -> String {
        (**self).id(epoch, index)
    }

    fn notices(&self) -> Vec<String> {
        (**self).notices()
    }

    fn sample(&self, epoch: u64, index: usize) -> Result<Sample> {
        (**self).sample(epoch, index)
    }

    fn sample_in_batch(&self, place: (u64, u64), index: usize) -> Result<Sample> {
        (**self).sample_in_batch(place, index)
    }

    fn blocks(&self) -> Option<Vec<Vec<usize>>> {
        (**self).blocks()
    }

    fn block_files(&self) -> Vec<Vec<PathBuf>> {
        (**self).block_files()
    }

    fn facts(&self) -> Result<Option<DataFacts>> {
        (**self).facts()
    }
}
