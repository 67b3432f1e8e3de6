//! Ctrl-C: the first stops the work in an orderly way, the second at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code that a shell expects after Ctrl-C.
const INTERRUPTED: i32 = 130;

/// A flag that Ctrl-C and a request to terminate set. So does SIGUSR1, where there is one: the
/// signal by which batch systems say that time is running out, since launchers kill soon after TERM.
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
    #[cfg(unix)]
    set_by_user_signal(Arc::clone(&stop))?;
    Ok(stop)
}

/// Sets the flag at SIGUSR1, however often it comes.
#[cfg(unix)]
fn set_by_user_signal(stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        signal(SignalKind::user_defined1())?
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            while signals.recv().await.is_some() {
                stop.store(true, Ordering::Relaxed);
            }
        });
    })?;
    Ok(())
}
