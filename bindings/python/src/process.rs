//! The process whose threads compute.

use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::prelude::*;

use crate::error::error;

/// The process that computed first; 0 before.
static COMPUTING: AtomicU32 = AtomicU32::new(0);

/// Refuses to compute in a process that was forked from one that computed: the threads of the parent do
/// not exist in it, and the first operation would wait for them forever.
///
/// # Errors
/// If this is such a process.
pub(crate) fn check_threads() -> PyResult<()> {
    let own = std::process::id();
    match COMPUTING.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => Ok(()),
        Err(first) if first == own => Ok(()),
        Err(first) => Err(error(format!(
            "process {own} was forked from process {first} after a model was used there, and its \
             threads do not exist here; start workers by `spawn` or `forkserver`, or use models in \
             the workers only. Data sets and metrics work in forked processes"
        ))),
    }
}
