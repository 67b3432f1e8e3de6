//! The thread that owns the engine, and what waits for it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::Metrics;
use crate::engine::{AdapterEntry, Engine, InferenceOutput, InferenceRequest};

/// The limits of batches.
#[derive(Debug, Clone, Copy)]
pub struct QueueConfig {
    /// Tokens of a batch; a larger request is a batch of its own.
    pub max_tokens: usize,
    /// Pieces of a batch.
    pub max_batch: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { max_tokens: 4096, max_batch: 16 }
    }
}

/// The reason why a request was not computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It was too late when its turn came.
    Expired,
    /// It cannot be computed.
    Failed(String),
    /// The server shuts down.
    Closed,
}

/// The result of a request, with the time it waited and that of its batch.
pub type Answer = Result<(InferenceOutput, Duration, Duration), Refusal>;

struct Entry {
    request: InferenceRequest,
    deadline: Instant,
    arrived: Instant,
    answer: oneshot::Sender<Answer>,
}

enum Command {
    Compute(Entry),
    Load(String, PathBuf, oneshot::Sender<Result<(), String>>),
    Unload(String, oneshot::Sender<bool>),
    /// Finish what waits, then end.
    Close,
}

/// Work for an engine. Clones share the thread.
#[derive(Debug, Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    commands: Mutex<Sender<Command>>,
    catalog: RwLock<Vec<AdapterEntry>>,
    waiting: AtomicUsize,
    /// Mean time of a request in a batch, in microseconds.
    pace: AtomicU64,
    metrics: Metrics,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Queue {
    /// Starts the thread of an engine.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn start(engine: impl Engine, config: QueueConfig) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let shared = Arc::new(Shared {
            commands: Mutex::new(sender),
            catalog: RwLock::new(engine.adapters()),
            waiting: AtomicUsize::new(0),
            pace: AtomicU64::new(0),
            metrics: Metrics::new(),
            thread: Mutex::new(None),
        });
        let mut owner =
            Owner { engine, config, shared: Arc::clone(&shared), waiting: VecDeque::new() };
        let thread = std::thread::Builder::new().name("engine".to_owned());
        let handle = thread.spawn(move || {
            multimae_kernels::threads::compute_here();
            owner.run(&receiver)
        })?;
        *lock(&shared.thread) = Some(handle);
        Ok(Self { shared })
    }

    /// The adapters that are loaded.
    #[must_use]
    pub fn catalog(&self) -> Vec<AdapterEntry> {
        self.shared.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
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
        let entry = Entry { request, deadline, arrived: Instant::now(), answer };
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        if self.send(Command::Compute(entry)).is_err() {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Closed);
        }
        match tokio::time::timeout_at(deadline.into(), product).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Refusal::Closed),
            Err(_) => Err(Refusal::Expired),
        }
    }

    /// Loads an adapter between two batches.
    ///
    /// # Errors
    /// Says why it cannot be loaded.
    pub async fn load(&self, name: &str, path: &Path) -> Result<(), String> {
        let (answer, done) = oneshot::channel();
        self.send(Command::Load(name.to_owned(), path.to_owned(), answer))?;
        done.await.unwrap_or_else(|_| Err("the server shuts down".to_owned()))
    }

    /// Takes an adapter out between two batches. Work that waits for it fails.
    ///
    /// # Errors
    /// If the server shuts down.
    pub async fn unload(&self, name: &str) -> Result<bool, String> {
        let (answer, done) = oneshot::channel();
        self.send(Command::Unload(name.to_owned(), answer))?;
        done.await.map_err(|_| "the server shuts down".to_owned())
    }

    /// Finishes what was accepted and ends the thread.
    pub fn shut_down(&self) {
        let _ = self.send(Command::Close);
        if let Some(thread) = lock(&self.shared.thread).take() {
            let _ = thread.join();
        }
    }

    fn send(&self, command: Command) -> Result<(), String> {
        let closed = |_| "the server shuts down".to_owned();
        lock(&self.shared.commands).send(command).map_err(closed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's side.
struct Owner<E> {
    engine: E,
    config: QueueConfig,
    shared: Arc<Shared>,
    waiting: VecDeque<Entry>,
}

impl<E: Engine> Owner<E> {
    fn run(&mut self, commands: &Receiver<Command>) {
        let mut open = true;
        while open || !self.waiting.is_empty() {
            if self.waiting.is_empty() {
                // Waits; without senders nothing can come any more.
                match commands.recv() {
                    Ok(command) => open &= self.take(command),
                    Err(_) => return,
                }
            }
            while let Ok(command) = commands.try_recv() {
                open &= self.take(command);
            }
            let batch = self.batch();
            if !batch.is_empty() {
                self.compute(batch);
            }
        }
    }

    /// Whether further commands may come.
    fn take(&mut self, command: Command) -> bool {
        match command {
            Command::Compute(entry) => self.waiting.push_back(entry),
            Command::Load(name, path, answer) => {
                let result = self.engine.load(&name, &path);
                self.publish();
                let _ = answer.send(result);
            }
            Command::Unload(name, answer) => {
                let was_there = self.engine.unload(&name);
                self.publish();
                let _ = answer.send(was_there);
            }
            Command::Close => return false,
        }
        true
    }

    fn publish(&self) {
        let mut catalog = self.shared.catalog.write().unwrap_or_else(PoisonError::into_inner);
        *catalog = self.engine.adapters();
    }

    /// Takes the next batch: in the order of arrival, without withdrawn and late requests.
    fn batch(&mut self) -> Vec<Entry> {
        let mut batch: Vec<Entry> = Vec::new();
        let mut tokens = 0;
        while let Some(entry) = self.waiting.pop_front() {
            if entry.answer.is_closed() {
                self.leaves("cancelled");
                continue;
            }
            if entry.deadline <= Instant::now() {
                self.leaves("expired");
                let _ = entry.answer.send(Err(Refusal::Expired));
                continue;
            }
            let cost = self.engine.cost(&entry.request);
            let full =
                tokens + cost > self.config.max_tokens || batch.len() >= self.config.max_batch;
            if full && !batch.is_empty() {
                self.waiting.push_front(entry);
                break;
            }
            tokens += cost;
            batch.push(entry);
        }
        batch
    }

    fn leaves(&self, reason: &'static str) {
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        self.shared.metrics.dropped(reason);
    }

    fn compute(&mut self, batch: Vec<Entry>) {
        let begin = Instant::now();
        let count = batch.len();
        let mut requests = Vec::with_capacity(count);
        let mut answers = Vec::with_capacity(count);
        for Entry { request: piece, arrived, answer, .. } in batch {
            requests.push(piece);
            answers.push((answer, begin.duration_since(arrived)));
        }
        let engine = &mut self.engine;
        // A panic of the model is an answer to those that wait, not the end of the server.
        let run = std::panic::AssertUnwindSafe(|| engine.run(requests));
        let results = std::panic::catch_unwind(run).unwrap_or_else(|_| {
            (0..count)
                .map(|_| {
                    Err("the model panicked on this batch; see the log of the server".to_owned())
                })
                .collect()
        });
        let took = begin.elapsed();
        self.shared.waiting.fetch_sub(count, Ordering::Relaxed);
        self.shared.metrics.batch(count, took);
        self.keep_pace(took / count.max(1) as u32);
        for ((answer, waited), result) in answers.into_iter().zip(results) {
            self.shared.metrics.stage("queue", waited);
            self.shared.metrics.stage("model", took);
            let result = result.map(|product| (product, waited, took)).map_err(Refusal::Failed);
            let _ = answer.send(result);
        }
    }

    /// A moving average of the time of a piece.
    fn keep_pace(&self, each: Duration) {
        let new = u64::try_from(each.as_micros()).unwrap_or(u64::MAX);
        let old = self.shared.pace.load(Ordering::Relaxed);
        let mean = if old == 0 { new } else { old - old / 4 + new / 4 };
        self.shared.pace.store(mean.max(1), Ordering::Relaxed);
    }
}
