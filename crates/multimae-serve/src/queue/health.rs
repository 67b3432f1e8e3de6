//! The health of the engine: the outcome of a tiny forward pass, kept for a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Command, Queue, Shared, lock};

/// The least time that an outcome is kept.
const KEPT: Duration = Duration::from_secs(1);
/// The longest time that an outcome is kept.
const MAX_KEPT: Duration = Duration::from_secs(10);
/// An outcome is kept for this multiple of the time that its forward pass took, so that probes take
/// a tenth of the engine's time.
const SPARING: u32 = 9;
/// The time that a probe waits for a batch that runs.
const PATIENCE: Duration = Duration::from_secs(2);

/// The health of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The reason why it does not compute, if it does not.
    pub problem: Option<String>,
    /// The engine is at a batch, and was not probed behind it.
    pub busy: bool,
    /// The time of the forward pass, without its wait.
    pub took: Duration,
    /// The number of restarts since the start of the server.
    pub restarts: u64,
}

/// The facts that probes leave behind.
#[derive(Default)]
pub(super) struct HealthState {
    /// The last outcome, and until when it counts. Probes wait for each other here.
    last: tokio::sync::Mutex<Option<(Health, Instant)>>,
    /// Since when the engine is at a batch.
    busy_since: Mutex<Option<Instant>>,
    /// The reason why the engine cannot be started.
    down: Mutex<Option<String>>,
    restarts: AtomicU64,
}

/// A batch that runs, until it is dropped.
pub(super) struct Busy(Arc<Shared>);

impl Busy {
    pub(super) fn now(shared: &Arc<Shared>) -> Self {
        *lock(&shared.health.busy_since) = Some(Instant::now());
        Self(Arc::clone(shared))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *lock(&self.0.health.busy_since) = None;
    }
}

impl HealthState {
    pub(super) fn set_down(&self, problem: Option<String>) {
        *lock(&self.down) = problem;
    }

    pub(super) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }
}

impl Queue {
    /// Probes the engine by a tiny forward pass, unless it was probed a short while ago. An engine
    /// that is at a batch for less than `longest` is healthy.
    pub async fn health(&self, longest: Duration) -> Health {
        let state = &self.shared.health;
        let mut last = state.last.lock().await;
        if let Some((health, until)) = &*last
            && Instant::now() < *until
        {
            return health.clone();
        }
        let (answer, probed) = oneshot::channel();
        let sent = self.send(Command::Probe(answer));
        let (mut busy, mut took) = (false, Duration::ZERO);
        let problem = match tokio::time::timeout(PATIENCE, probed).await {
            Ok(Ok((result, pass))) => {
                took = pass;
                result.err()
            }
            _ if !sent => Some("the server shuts down".to_owned()),
            Ok(Err(_)) => Some("the engine's thread dropped the probe".to_owned()),
            Err(_) => {
                busy = true;
                let since = *lock(&state.busy_since);
                let at_it = since.map_or(PATIENCE, |since| since.elapsed());
                let seconds = at_it.as_secs_f64();
                (at_it > longest).then(|| format!("the engine computes a batch for {seconds:.0} s"))
            }
        };
        let kept = if problem.is_none() { took * SPARING } else { KEPT };
        let health = Health { problem, busy, took, restarts: self.restarts() };
        *last = Some((health.clone(), Instant::now() + kept.clamp(KEPT, MAX_KEPT)));
        health
    }

    /// The number of restarts of the engine.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.shared.health.restarts.load(Ordering::Relaxed)
    }

    /// The reason why the engine could not be started when it was last tried.
    #[must_use]
    pub fn down(&self) -> Option<String> {
        lock(&self.shared.health.down).clone()
    }
}
