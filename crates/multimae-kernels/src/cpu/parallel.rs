//! Work shared among the threads of the current pool.

use rayon::prelude::*;

/// Elements below which a second thread costs more than it saves.
const WORTH_SHARING: usize = 1 << 15;

/// Whether work over so many elements is to be shared.
pub(crate) fn worth_sharing(elements: usize) -> bool {
    elements >= WORTH_SHARING && rayon::current_num_threads() > 1
}

/// Rows of a part, such that a part is worth a thread. Depends on the width alone and not on the
/// threads: the order of sums over parts hangs on it.
pub(crate) fn rows_per_part(width: usize) -> usize {
    (WORTH_SHARING / 4 / width.max(1)).max(1)
}

/// `work` of every part, here or among the threads; results in the order of the parts.
pub(crate) fn map<T: Send, R: Send>(
    elements: usize,
    parts: impl Iterator<Item = T>,
    work: impl Fn(T) -> R + Sync + Send,
) -> Vec<R> {
    if worth_sharing(elements) {
        parts.collect::<Vec<T>>().into_par_iter().map(work).collect()
    } else {
        parts.map(work).collect()
    }
}

/// [`map`] over parts of an output that is written in place.
pub(crate) fn for_each<T: Send>(
    elements: usize,
    parts: impl Iterator<Item = T>,
    work: impl Fn(T) + Sync + Send,
) {
    if worth_sharing(elements) {
        parts.collect::<Vec<T>>().into_par_iter().for_each(work);
    } else {
        parts.for_each(work);
    }
}
