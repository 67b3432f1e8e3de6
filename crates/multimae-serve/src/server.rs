//! Listening, and ending in order.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use multimae_kernels::allocator::release_freed_memory;

use crate::routes::{App, app};
use crate::{Error, Result};

/// Serves until `stop` is done, then finishes what was accepted. `started` is told where it listens.
///
/// # Errors
/// If the address cannot be listened on.
pub async fn serve(
    state: App,
    started: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let address = state.config().listen;
    let listening = |source| Error::Listen { address: address.to_string(), source };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(listening)?;
    started(listener.local_addr()?);
    let queue = state.queue().clone();
    let sweeper = tokio::spawn(sweep(state.clone()));
    axum::serve(listener, app(state)).with_graceful_shutdown(stop).await?;
    sweeper.abort();
    // The thread of the engine is joined outside of the runtime's own.
    let ended = tokio::task::spawn_blocking(move || queue.shut_down()).await;
    ended.map_err(|error| Error::Io(std::io::Error::other(error)))
}

/// The time between two looks for results that are no longer kept.
const SWEEP: Duration = Duration::from_secs(10);

/// Frees results whose time is over, also when no request comes.
async fn sweep(state: App) {
    loop {
        tokio::time::sleep(SWEEP).await;
        if state.results().sweep() {
            release_freed_memory();
        }
    }
}
