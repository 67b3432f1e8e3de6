//! Threads for what is computed besides the model: decoding, resizing, upsampling, encoding.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::Metrics;
use crate::error::Problem;

/// A bounded number of threads. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Workers {
    free: Arc<Semaphore>,
    metrics: Metrics,
}

impl Workers {
    pub(crate) fn new(count: usize, metrics: Metrics) -> Self {
        Self { free: Arc::new(Semaphore::new(count.max(1))), metrics }
    }

    /// Runs work on a thread of its own once a worker is free. Work that is too late by then is not
    /// begun, nor is work whose client went away: then this future is dropped.
    ///
    /// # Errors
    /// That of the work; 504 if it is too late.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let mut waiting = Waiting(Some(&self.metrics));
        let free = Arc::clone(&self.free).acquire_owned();
        let permit = tokio::time::timeout_at(deadline.into(), free).await;
        waiting.0 = None;
        let permit = permit.ok().filter(|_| Instant::now() < deadline);
        let Some(permit) = permit else {
            self.metrics.dropped("expired");
            return Err(Problem::late());
        };
        let done = tokio::task::spawn_blocking(move || {
            // Held until the work is done, also after the client has disconnected.
            let _permit = permit;
            work()
        });
        done.await.unwrap_or_else(|_| {
            self.metrics.panicked("worker");
            Err(Problem::internal("a decoder or encoder panicked; see the log of the server"))
        })
    }
}

/// Work that waits for a worker. Dropped with the metrics, it was cancelled.
struct Waiting<'a>(Option<&'a Metrics>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(metrics) = self.0 {
            metrics.dropped("cancelled");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use axum::http::StatusCode;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn late_and_cancelled_work_is_not_begun() {
        let metrics = Metrics::new();
        let workers = Workers::new(1, metrics.clone());
        let (open, gate) = channel::<()>();
        let busy = {
            let workers = workers.clone();
            tokio::spawn(async move {
                workers.run(soon(), move || gate.recv().map_err(|_| Problem::late())).await
            })
        };
        while workers.free.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let begun = Arc::new(AtomicUsize::new(0));
        let count = || {
            let begun = Arc::clone(&begun);
            move || Ok(begun.fetch_add(1, Ordering::SeqCst))
        };
        let deadline = Instant::now() + Duration::from_millis(5);
        let late = workers.run(deadline, count()).await.unwrap_err();
        assert_eq!(late.status, StatusCode::GATEWAY_TIMEOUT);
        let gone =
            tokio::time::timeout(Duration::from_millis(5), workers.run(soon(), count())).await;
        assert!(gone.is_err());
        open.send(()).unwrap();
        busy.await.unwrap().unwrap();
        // Too late already, although a worker is free.
        assert!(workers.run(Instant::now(), count()).await.is_err());
        assert_eq!(begun.load(Ordering::SeqCst), 0);
        assert_eq!(workers.run(soon(), count()).await, Ok(0));
        let text = metrics.text(0);
        for counted in ["{reason=\"expired\"} 2", "{reason=\"cancelled\"} 1"] {
            assert!(text.contains(counted), "{text}");
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_and_frees_its_worker() {
        let workers = Workers::new(1, Metrics::new());
        let broken: Result<(), Problem> =
            workers.run(soon(), || std::panic::panic_any("a decoder")).await;
        assert!(broken.unwrap_err().message.contains("panicked"));
        assert_eq!(workers.run(soon(), || Ok(3)).await, Ok(3));
    }
}
