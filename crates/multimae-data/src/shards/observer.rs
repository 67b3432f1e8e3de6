//! An observer of indexes while they are made.

use std::path::Path;
use std::sync::OnceLock;

/// The progress of the index of a folder's shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Indexing<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// The shards that were read.
    pub done: u64,
    /// The shards to be read: those that the index lacks, or that have changed.
    pub total: u64,
}

type Observer = Box<dyn Fn(Indexing<'_>) + Send + Sync>;

static OBSERVER: OnceLock<Observer> = OnceLock::new();

/// Sets the observer of this process for indexes that are made while data sets are opened. It is
/// called by the threads that read shards, one after the other, and once more in the end with `done`
/// equal to `total`, also after an error. Returns whether there was none yet; otherwise the first
/// one stays.
pub fn observe_indexing(observer: impl Fn(Indexing<'_>) + Send + Sync + 'static) -> bool {
    OBSERVER.set(Box::new(observer)).is_ok()
}

pub(super) fn notify(indexing: Indexing<'_>) {
    if let Some(observer) = OBSERVER.get() {
        observer(indexing);
    }
}
