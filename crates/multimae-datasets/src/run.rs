//! One call of `prepare`: its target, its progress and its result.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Statistics;

/// One call of `prepare`: the options that all data sets share.
#[derive(Clone, Copy)]
pub struct PrepareRun<'a> {
    /// The folder to write.
    pub out: &'a Path,
    /// Write again what an earlier call wrote.
    pub overwrite: bool,
    /// Frames that are converted at the same time; 0 for the number of processors. The files do not
    /// depend on it.
    pub threads: usize,
    /// Called in rising order, from the threads that convert frames.
    pub progress: &'a (dyn Fn(Progress) + Sync),
    /// Set it to end the call early.
    pub stop: &'a AtomicBool,
}

/// The progress of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of the input whose checksum was computed.
    Checksum {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
    /// Bytes of archives that were unpacked.
    Unpacked {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
    /// Frames converted.
    Frames {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
}

/// The end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The folder is complete.
    Complete,
    /// The folder was complete before; nothing was written.
    CompleteBefore,
    /// `stop` was set. The same call resumes.
    Stopped,
}

/// The result of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The end of the call.
    pub outcome: Outcome,
    /// Frames of the folder.
    pub frames: usize,
    /// Frames whose pictures were written by this call.
    pub written: usize,
    /// Frames of every list; empty unless this call completed the folder.
    pub lists: BTreeMap<String, usize>,
    /// Means and deviations of every list, of a part of its frames where the data set is too large to
    /// decode; empty unless this call completed the folder.
    pub statistics: BTreeMap<String, Statistics>,
    /// Notices about the data, one sentence each.
    pub notes: Vec<String>,
}

impl PrepareRun<'_> {
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The number of threads for `frames` frames, at least one.
    pub(crate) fn thread_count(&self, frames: usize) -> usize {
        let threads = match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        threads.clamp(1, frames.max(1))
    }
}

impl fmt::Debug for PrepareRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrepareRun")
            .field("out", &self.out)
            .field("overwrite", &self.overwrite)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl Summary {
    /// The result of a call that has written nothing yet.
    pub(crate) fn stopped(frames: usize, notes: Vec<String>) -> Self {
        Self {
            outcome: Outcome::Stopped,
            frames,
            written: 0,
            lists: BTreeMap::new(),
            statistics: BTreeMap::new(),
            notes,
        }
    }
}
