//! Conversion of frames in several threads.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Maps, files};
use crate::frame::Frame;
use crate::statistics::FrameStatistics;
use crate::{PrepareRun, Progress, Result};

/// The frames of a data set, in the order of its files.
pub(crate) trait FrameSource: Sync {
    /// An open input. Every thread opens its own.
    type Reader;

    /// Opens the input.
    ///
    /// # Errors
    /// If it cannot be read.
    fn open(&self) -> Result<Self::Reader>;

    /// The number of frames to read at a time when `threads` threads do.
    ///
    /// # Errors
    /// If the input does not tell.
    fn frames_at_a_time(&self, reader: &Self::Reader, threads: usize) -> Result<usize>;

    /// Reads the frames `range` and passes them on in order, until one breaks.
    ///
    /// # Errors
    /// If a frame is damaged or has values that the data set does not have; those of `each`.
    fn read(
        &self,
        reader: &Self::Reader,
        range: Range<usize>,
        each: &mut dyn FnMut(usize, Frame) -> Result<ControlFlow<()>>,
    ) -> Result<()>;
}

/// Frames in files of their own, which are read one by one.
pub(crate) trait FrameFiles: Sync {
    /// Reads the frame at a place among the names. `measured` asks for the values of kept files,
    /// too, which the statistics are made of.
    ///
    /// # Errors
    /// If a file is damaged or has values that the data set does not have.
    fn frame(&self, index: usize, measured: bool) -> Result<Frame>;
}

/// Frames in files of their own as a source.
pub(crate) struct Each<'a, S> {
    pub(crate) files: &'a S,
    /// As in [`FrameFolder`](super::FrameFolder).
    pub(crate) measured: Option<&'a BTreeSet<usize>>,
}

impl<S: FrameFiles> FrameSource for Each<'_, S> {
    type Reader = ();

    fn open(&self) -> Result<()> {
        Ok(())
    }

    fn frames_at_a_time(&self, (): &(), _threads: usize) -> Result<usize> {
        Ok(1)
    }

    fn read(
        &self,
        (): &(),
        range: Range<usize>,
        each: &mut dyn FnMut(usize, Frame) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        for index in range {
            let measured = self.measured.is_none_or(|measured| measured.contains(&index));
            if each(index, self.files.frame(index, measured)?)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// The frames done.
#[derive(Default)]
pub(super) struct Done {
    /// Frames whose files exist.
    pub(super) frames: usize,
    /// Of those that are measured, by name.
    pub(super) statistics: BTreeMap<String, FrameStatistics>,
    /// Frames whose files were written now.
    pub(super) written: usize,
}

/// Converts all frames and writes those whose files do not exist, until all are done or the run is
/// stopped.
///
/// # Errors
/// The first one of any thread.
pub(super) fn write_frames(
    source: &impl FrameSource,
    names: &[String],
    maps: &Maps,
    measured: Option<&BTreeSet<usize>>,
    run: &PrepareRun<'_>,
) -> Result<Done> {
    let threads = run.thread_count(names.len());
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done = Mutex::default();
    let workers = Workers { source, names, maps, measured, run, threads, next, failed, done };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| workers.work())).collect();
        let mine = workers.work();
        others.into_iter().fold(mine, |result, other| {
            result.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    })?;
    Ok(workers.done.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The state that the threads share.
struct Workers<'a, S> {
    source: &'a S,
    names: &'a [String],
    maps: &'a Maps,
    measured: Option<&'a BTreeSet<usize>>,
    run: &'a PrepareRun<'a>,
    threads: usize,
    /// The next block of frames.
    next: AtomicUsize,
    failed: AtomicBool,
    done: Mutex<Done>,
}

impl<S: FrameSource> Workers<'_, S> {
    fn work(&self) -> Result<()> {
        let result = self.take_blocks();
        self.failed.fetch_or(result.is_err(), Ordering::Relaxed);
        result
    }

    fn is_over(&self) -> bool {
        self.run.is_stopped() || self.failed.load(Ordering::Relaxed)
    }

    /// Takes blocks of frames until there are no more or the run is over.
    fn take_blocks(&self) -> Result<()> {
        let reader = self.source.open()?;
        let step = self.source.frames_at_a_time(&reader, self.threads)?.max(1);
        while !self.is_over() {
            let first = self.next.fetch_add(1, Ordering::Relaxed).saturating_mul(step);
            if first >= self.names.len() {
                break;
            }
            let range = first..self.names.len().min(first.saturating_add(step));
            if range.clone().all(|index| self.is_settled(index)) {
                range.for_each(|index| self.count(index, None, false));
                continue;
            }
            self.source.read(&reader, range, &mut |index, frame| self.finish(index, &frame))?;
        }
        Ok(())
    }

    fn is_measured(&self, index: usize) -> bool {
        self.measured.is_none_or(|measured| measured.contains(&index))
    }

    /// Whether a frame needs not be read: its files exist, and it is not measured.
    fn is_settled(&self, index: usize) -> bool {
        !self.is_measured(index)
            && self
                .names
                .get(index)
                .is_some_and(|name| files::is_complete(self.run.out, self.maps, name))
    }

    /// Writes a frame unless its files exist, and counts it.
    fn finish(&self, index: usize, frame: &Frame) -> Result<ControlFlow<()>> {
        let Some(name) = self.names.get(index) else { return Ok(ControlFlow::Break(())) };
        let missing = !files::is_complete(self.run.out, self.maps, name);
        if missing {
            files::write(self.run.out, self.maps, name, frame)?;
        }
        let statistics = self.is_measured(index).then(|| FrameStatistics::of(frame));
        self.count(index, statistics, missing);
        Ok(if self.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
    fn count(&self, index: usize, statistics: Option<FrameStatistics>, written: bool) {
        // Reported under the lock: the numbers rise.
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.frames += 1;
        if let Some((statistics, name)) = statistics.zip(self.names.get(index)) {
            done.statistics.insert(name.clone(), statistics);
        }
        done.written += usize::from(written);
        let (so_far, total) = (done.frames as u64, self.names.len() as u64);
        (self.run.progress)(Progress::Frames { done: so_far, total });
    }
}
