//! The batches of a run.

use std::collections::VecDeque;
use std::fmt;

use super::ahead::ReadAhead;
use super::workers::{Job, Workers};
use super::{BadSamples, Batch, Loader, Rejected};
use crate::{Error, Result, Sample};

/// The batches of a run, in order. Made by [`Loader::batches`].
///
/// After an error the next batch follows as if nothing had happened; stopping is up to the caller.
/// Dropping this stops the threads and waits for the samples that they are making.
pub struct Batches {
    loader: Loader,
    plan: BatchPlan,
    workers: Option<Workers>,
    /// The jobs that the workers have, oldest first.
    asked: VecDeque<Job>,
    next: (u64, u64),
    end_epoch: u64,
    failed_start: Option<Error>,
}

impl Batches {
    pub(super) fn new(loader: Loader, start: (u64, u64), end_epoch: u64) -> Self {
        let (workers, failed_start) = match loader.config.workers {
            0 => (None, None),
            count => match Workers::start(&loader.source, count) {
                Ok(workers) => (Some(workers), None),
                Err(error) => (None, Some(error)),
            },
        };
        let plan = BatchPlan::new(&loader, start, end_epoch);
        let asked = VecDeque::new();
        let mut batches =
            Self { loader, plan, workers, asked, next: start, end_epoch, failed_start };
        batches.ask_ahead();
        batches
    }

    /// Keeps the workers busy, but no further ahead than asked for.
    fn ask_ahead(&mut self) {
        let Some(workers) = &mut self.workers else { return };
        let most = self.loader.config.prefetch + self.loader.config.workers;
        while self.asked.len() < most {
            let Some(job) = self.plan.next_job(&self.loader) else { return };
            workers.ask(job);
            self.asked.push_back(job);
        }
    }

    /// The next sample, with its index.
    fn sample(&mut self) -> Option<(usize, Result<Sample>)> {
        let Some(workers) = &mut self.workers else {
            let job = self.plan.next_job(&self.loader)?;
            return Some((job.index, job.run(&*self.loader.source)));
        };
        let job = self.asked.pop_front()?;
        let sample = workers.take();
        self.ask_ahead();
        Some((job.index, sample))
    }

    /// Always takes all samples of the batch, also after an error: the next batch begins behind
    /// them.
    fn batch(&mut self, (epoch, batch): (u64, u64)) -> Result<Batch> {
        let planned = self.loader.samples_in(batch);
        let mut made = Batch { epoch, batch, planned, ..Batch::default() };
        let mut failed = None;
        let deal = self.loader.deal;
        for place in (0..planned).filter(|&place| deal.has(place)) {
            let Some((index, sample)) = self.sample() else { break };
            match sample {
                Ok(sample) => {
                    made.samples.push(sample);
                    made.places.push(place);
                }
                Err(error) if self.skips(&error) => made.rejected.push(Rejected {
                    id: self.loader.source.id(epoch, index),
                    problem: error.to_string(),
                }),
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None if made.samples.is_empty() && deal.is_whole() => {
                Err(Error::EmptyBatch { epoch, batch, rejected: made.rejected })
            }
            None => Ok(made),
        }
    }

    fn skips(&self, error: &Error) -> bool {
        self.loader.config.bad_samples == BadSamples::Skip && error.is_bad_sample()
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let (epoch, batch) = self.next;
        if epoch >= self.end_epoch {
            return None;
        }
        if let Some(error) = self.failed_start.take() {
            self.next.0 = self.end_epoch;
            return Some(Err(error));
        }
        self.next = self.loader.after(self.next);
        Some(self.batch((epoch, batch)))
    }
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches")
            .field("loader", &self.loader)
            .field("next", &self.next)
            .field("end_epoch", &self.end_epoch)
            .finish_non_exhaustive()
    }
}

impl Loader {
    /// The number of samples in a batch.
    fn samples_in(&self, batch: u64) -> usize {
        let size = self.config.batch_size;
        size.min(self.source.len().saturating_sub(batch as usize * size))
    }

    /// The number of samples that an epoch uses.
    fn samples_per_epoch(&self) -> usize {
        let whole = self.batches_per_epoch() as usize * self.config.batch_size;
        whole.min(self.source.len())
    }

    /// The batch after this one.
    fn after(&self, (epoch, batch): (u64, u64)) -> (u64, u64) {
        if batch + 1 < self.batches_per_epoch() { (epoch, batch + 1) } else { (epoch + 1, 0) }
    }
}

/// The order of the next samples.
struct BatchPlan {
    epoch: u64,
    end_epoch: u64,
    /// The place in the order of the epoch.
    position: usize,
    /// The order of the epoch, once it is needed.
    order: Option<Vec<usize>>,
    /// Reads shards ahead, in their order.
    ahead: Option<ReadAhead>,
}

impl BatchPlan {
    fn new(loader: &Loader, (epoch, batch): (u64, u64), end_epoch: u64) -> Self {
        let position = batch as usize * loader.config.batch_size;
        let ahead = ReadAhead::start(loader, end_epoch);
        Self { epoch, end_epoch, position, order: None, ahead }
    }

    /// The next sample of those that are made here.
    fn next_job(&mut self, loader: &Loader) -> Option<Job> {
        loop {
            let (place, job) = self.next_of_all(loader)?;
            if loader.deal.has(place) {
                return Some(job);
            }
        }
    }

    /// The next sample with its place in its batch.
    fn next_of_all(&mut self, loader: &Loader) -> Option<(usize, Job)> {
        if self.epoch >= self.end_epoch {
            return None;
        }
        let epoch = self.epoch;
        let order = self.order.get_or_insert_with(|| loader.order(epoch));
        let index = *order.get(self.position)?;
        if let Some(ahead) = &mut self.ahead {
            ahead.reached(epoch, self.position);
        }
        let (batch, place) =
            (self.position / loader.config.batch_size, self.position % loader.config.batch_size);
        self.position += 1;
        if self.position >= loader.samples_per_epoch() {
            (self.epoch, self.position, self.order) = (epoch + 1, 0, None);
        }
        Some((place, Job { epoch, batch: batch as u64, index }))
    }
}
