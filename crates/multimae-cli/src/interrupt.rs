//! Ctrl-C: the first stops the work in an orderly way, the second at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code that a shell expects after Ctrl-C.
const INTERRUPTED: i32 = 130;

/// A flag that Ctrl-C and a request to terminate set.
///
/// # Errors
/// If the signals cannot be caught.
#[expect(clippy::exit, reason = "the second Ctrl-C gives up on an orderly end")]
pub(crate) fn flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
    })?;
    Ok(stop)
}
