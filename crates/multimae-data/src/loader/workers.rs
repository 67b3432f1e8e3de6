//! Threads that make samples, and the samples back in order.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::SampleSource;
use crate::{Error, Result, Sample};

/// A sample to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    pub(super) epoch: u64,
    /// The batch of the epoch.
    pub(super) batch: u64,
    pub(super) index: usize,
}

impl Job {
    /// Makes the sample. A panic becomes an error, so that no consumer waits for a sample that
    /// never comes.
    pub(super) fn run(self, source: &dyn SampleSource) -> Result<Sample> {
        let Self { epoch, batch, index } = self;
        let make = || source.sample_in_batch((epoch, batch), index);
        catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            let id = catch_unwind(AssertUnwindSafe(|| source.id(epoch, index)));
            Err(Error::Worker {
                sample: id.unwrap_or_else(|_| format!("number {index}")),
                epoch,
                problem: text.unwrap_or_else(|| "unknown panic".to_owned()),
            })
        })
    }
}

type Made = (u64, Result<Sample>);

/// The threads. The channels have no limit of their own: the owner limits the jobs under way.
pub(super) struct Workers {
    jobs: Option<Sender<(u64, Job)>>,
    made: Receiver<Made>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    sent: u64,
    taken: u64,
    /// Samples that came before their turn.
    early: BTreeMap<u64, Result<Sample>>,
}

impl Workers {
    pub(super) fn start(source: &Arc<dyn SampleSource>, count: usize) -> Result<Self> {
        let (jobs, todo) = unbounded::<(u64, Job)>();
        let (done, made) = unbounded::<Made>();
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = Self {
            jobs: Some(jobs),
            made,
            stop: Arc::clone(&stop),
            threads: Vec::new(),
            sent: 0,
            taken: 0,
            early: BTreeMap::new(),
        };
        for index in 0..count {
            let (source, stop) = (Arc::clone(source), Arc::clone(&stop));
            let (todo, done) = (todo.clone(), done.clone());
            let thread = std::thread::Builder::new()
                .name(format!("loader-{index}"))
                .spawn(move || work(&*source, &stop, &todo, &done))?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    pub(super) fn ask(&mut self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // Fails only without any thread, and then `take` says so.
            let _ = jobs.send((self.sent, job));
            self.sent += 1;
        }
    }

    /// The next sample, in the order in which they were asked for.
    pub(super) fn take(&mut self) -> Result<Sample> {
        let turn = self.taken;
        self.taken += 1;
        loop {
            if let Some(sample) = self.early.remove(&turn) {
                return sample;
            }
            match self.made.recv() {
                Ok((turn, sample)) => self.early.insert(turn, sample),
                Err(_) => {
                    return Err(std::io::Error::other("all threads of the loader are gone").into());
                }
            };
        }
    }
}

fn work(
    source: &dyn SampleSource,
    stop: &AtomicBool,
    todo: &Receiver<(u64, Job)>,
    done: &Sender<Made>,
) {
    for (turn, job) in todo {
        if stop.load(Ordering::Relaxed) || done.send((turn, job.run(source))).is_err() {
            return;
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A worker does not panic: `Job::run` catches that.
            let _ = thread.join();
        }
    }
}
