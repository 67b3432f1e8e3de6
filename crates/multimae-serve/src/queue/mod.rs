//! The thread that owns the engine, and what waits for it.

mod health;
mod supervisor;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub use health::Health;
use health::HealthState;
use supervisor::{Supervisor, guarded};

use crate::Metrics;
use crate::engine::{AdapterEntry, Backend, InferenceOutput, InferenceRequest};

/// The limits of batches.
#[derive(Debug, Clone, Copy)]
pub struct QueueConfig {
    /// Tokens of a batch; a request of more is refused.
    pub max_tokens: usize,
    /// Requests of a batch.
    pub max_batch: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { max_tokens: 4096, max_batch: 16 }
    }
}

/// The reason why a request was not computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was too late when its turn came.
    #[error("not done within the deadline")]
    Expired,
    /// It cannot be computed.
    #[error("{0}")]
    Failed(String),
    /// It needs more tokens than a batch may have.
    #[error(
        "the frame takes {tokens} tokens at the model's size, a batch has {limit}; send one with \
         sides that differ less, or start the server with --batch-tokens {tokens}"
    )]
    TooLarge {
        /// Tokens of the request.
        tokens: usize,
        /// Tokens of a batch.
        limit: usize,
    },
    /// The engine panicked on it.
    #[error("the engine panicked on this request; see the log of the server")]
    Panicked,
    /// The engine cannot be restarted at present.
    #[error("the engine cannot be restarted: {0}")]
    Down(String),
    /// The server shuts down.
    #[error("the server shuts down")]
    Closed,
}

/// The result of a request, with the time it waited and that of its batch.
pub type Answer = Result<(InferenceOutput, Duration, Duration), Refusal>;

/// A request that waits.
struct Entry {
    request: InferenceRequest,
    deadline: Instant,
    arrived: Instant,
    answer: oneshot::Sender<Answer>,
    /// The request's tokens, once they are known.
    cost: Option<usize>,
    counted: Counted,
}

/// Counts a waiting request until it is dropped, in whichever way it leaves the queue.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Command {
    Compute(Entry),
    /// Run a tiny forward pass, and say how long it took.
    Probe(oneshot::Sender<(Result<(), String>, Duration)>),
    /// Finish what waits, then end.
    Close,
}

/// Requests for an engine. Clones share its thread.
///
/// A panic in the engine fails the request that caused it alone: the engine is restarted, and the
/// rest of the batch is computed without that request.
#[derive(Debug, Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Box<dyn Backend>,
    commands: Mutex<Sender<Command>>,
    waiting: AtomicUsize,
    closed: AtomicBool,
    /// Mean time of a request in a batch, in microseconds.
    pace: AtomicU64,
    metrics: Metrics,
    health: HealthState,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl Queue {
    /// Starts the thread of a backend's engine.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn start(backend: impl Backend, config: QueueConfig) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let shared = Arc::new(Shared {
            backend: Box::new(backend),
            commands: Mutex::new(sender),
            waiting: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            pace: AtomicU64::new(0),
            metrics: Metrics::new(),
            health: HealthState::default(),
            thread: Mutex::new(None),
        });
        let owned = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("engine".to_owned());
        let (ready, computes) = channel();
        let handle = thread.spawn(move || {
            multimae_kernels::threads::compute_here();
            let _ = ready.send(());
            Supervisor::new(owned, config).supervise(&receiver);
        })?;
        // Adapters that are loaded from now on compute: the thread must be one of the threads that
        // compute by then.
        let _ = computes.recv();
        *lock(&shared.thread) = Some(handle);
        Ok(Self { shared })
    }

    /// The adapters that are loaded.
    #[must_use]
    pub fn catalog(&self) -> Vec<AdapterEntry> {
        self.shared.backend.adapters()
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The number of waiting requests.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// When those that wait now will be done, about.
    #[must_use]
    pub fn backlog(&self) -> Duration {
        let pace = self.shared.pace.load(Ordering::Relaxed);
        Duration::from_micros(pace.saturating_mul(self.waiting() as u64 + 1))
    }

    /// Submits a request. Dropping the future withdraws it.
    pub async fn compute(&self, request: InferenceRequest, deadline: Instant) -> Answer {
        let (answer, product) = oneshot::channel();
        let counted = Counted::new(&self.shared);
        let arrived = Instant::now();
        let entry = Entry { request, deadline, arrived, answer, cost: None, counted };
        if !self.send(Command::Compute(entry)) {
            return Err(Refusal::Closed);
        }
        match tokio::time::timeout_at(deadline.into(), product).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) if self.shared.closed.load(Ordering::SeqCst) => Err(Refusal::Closed),
            // Lost in a panic outside of the engine.
            Ok(Err(_)) => Err(Refusal::Panicked),
            Err(_) => Err(Refusal::Expired),
        }
    }

    /// Loads an adapter on the calling thread, which may take long. Predictions continue meanwhile.
    ///
    /// # Errors
    /// [`Refusal::Failed`] says why it cannot be loaded; [`Refusal::Panicked`] if loading panicked.
    /// The adapters are as they were then.
    pub fn load(&self, name: &str, path: &Path) -> Result<(), Refusal> {
        let loaded = guarded(|| self.shared.backend.load(name, path));
        loaded.map_err(|_| self.fault("load"))?.map_err(Refusal::Failed)
    }

    /// Takes an adapter out on the calling thread. Requests for it that wait fail; a batch that runs
    /// is finished. `false` if there is no such adapter.
    ///
    /// # Errors
    /// [`Refusal::Panicked`] if unloading panicked.
    pub fn unload(&self, name: &str) -> Result<bool, Refusal> {
        guarded(|| self.shared.backend.unload(name)).map_err(|_| self.fault("unload"))
    }

    fn fault(&self, stage: &'static str) -> Refusal {
        self.shared.metrics.panicked(stage);
        Refusal::Panicked
    }

    /// Finishes what was accepted and ends the thread.
    pub fn shut_down(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.send(Command::Close);
        if let Some(thread) = lock(&self.shared.thread).take() {
            let _ = thread.join();
        }
    }

    /// `false` if the thread has ended.
    fn send(&self, command: Command) -> bool {
        lock(&self.shared.commands).send(command).is_ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
