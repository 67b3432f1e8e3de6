//! The thread's side: batches, and what happens when the engine panics.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError};
use std::time::{Duration, Instant};

use multimae_kernels::allocator::release_freed_memory;

use super::health::Busy;
use super::{Command, Entry, QueueConfig, Refusal, Shared};
use crate::engine::{Engine, InferenceOutput, InferenceRequest};

/// The time between two attempts to start an engine that does not start.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// The times without requests after which memory is given back: soon, and when the threads that
/// decode, which the runtime ends after ten idle seconds, have left theirs behind.
const IDLE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(12)];

/// A panic was caught; its message is in the log, where the panic wrote it.
pub(super) struct Panic;

/// Runs a stage of the engine, of which nothing is used any more after a panic.
pub(super) fn guarded<T>(stage: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(stage)).map_err(|payload| {
        // Dropping what was thrown may throw again.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        Panic
    })
}

/// The owner of the engine, who restarts it after a panic.
///
/// The thread stays: it is one of those that compute, and its place among them cannot be given to
/// another. The engine is made anew.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    config: QueueConfig,
    engine: Option<Box<dyn Engine>>,
    /// The failure of the last attempt to start, and when the next is due.
    down: Option<(String, Instant)>,
    waiting: VecDeque<Entry>,
    open: bool,
    /// A batch was computed since memory was given back.
    has_computed: bool,
}

impl Supervisor {
    pub(super) fn new(shared: Arc<Shared>, config: QueueConfig) -> Self {
        let (waiting, open, has_computed) = (VecDeque::new(), true, false);
        Self { shared, config, engine: None, down: None, waiting, open, has_computed }
    }

    /// Serves commands until the queue is closed. Panics anywhere restart the engine; what waits
    /// stays.
    pub(super) fn supervise(&mut self, commands: &Receiver<Command>) {
        while guarded(|| self.run(commands)).is_err() {
            self.restart("queue");
        }
    }

    fn run(&mut self, commands: &Receiver<Command>) {
        while self.open || !self.waiting.is_empty() {
            if self.waiting.is_empty() {
                // Without senders nothing can come any more.
                match self.next(commands) {
                    Ok(command) => self.take(command),
                    Err(_) => return,
                }
            }
            while let Ok(command) = commands.try_recv() {
                self.take(command);
            }
            let batch = self.batch();
            if !batch.is_empty() {
                self.compute(batch);
            }
        }
    }

    /// Waits for a command. Memory that a busy time has left behind is given back meanwhile.
    fn next(&mut self, commands: &Receiver<Command>) -> Result<Command, RecvError> {
        if self.has_computed {
            for idle in IDLE {
                match commands.recv_timeout(idle) {
                    Err(RecvTimeoutError::Timeout) => release_freed_memory(),
                    Err(RecvTimeoutError::Disconnected) => return Err(RecvError),
                    Ok(command) => return Ok(command),
                }
            }
            self.has_computed = false;
        }
        commands.recv()
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Compute(entry) => self.waiting.push_back(entry),
            Command::Probe(answer) if answer.is_closed() => {}
            Command::Probe(answer) => {
                let begin = Instant::now();
                let result = self.probe();
                let _ = answer.send((result, begin.elapsed()));
            }
            Command::Close => self.open = false,
        }
    }

    fn probe(&mut self) -> Result<(), String> {
        let probed = self.engine().map(|engine| guarded(|| engine.probe()));
        match probed? {
            Ok(result) => result,
            Err(Panic) => {
                self.restart("probe");
                Err("the engine panicked on an empty frame; see the log of the server".to_owned())
            }
        }
    }

    /// The engine, started if there is none.
    fn engine(&mut self) -> Result<&mut dyn Engine, String> {
        if self.engine.is_none() {
            if let Some((problem, due)) = &self.down
                && Instant::now() < *due
            {
                return Err(problem.clone());
            }
            let started = guarded(|| self.shared.backend.start());
            match started.unwrap_or_else(|Panic| Err("starting the engine panicked".to_owned())) {
                Ok(engine) => {
                    self.engine = Some(engine);
                    self.down = None;
                }
                Err(problem) => self.down = Some((problem, Instant::now() + RESTART_PAUSE)),
            }
            self.shared.health.set_down(self.down.as_ref().map(|(problem, _)| problem.clone()));
        }
        match (&mut self.engine, &self.down) {
            (Some(engine), _) => Ok(engine.as_mut()),
            (None, down) => Err(down.as_ref().map_or_else(String::new, |(text, _)| text.clone())),
        }
    }

    /// Drops the engine after a panic; the next request starts another.
    fn restart(&mut self, stage: &'static str) {
        self.shared.metrics.panicked(stage);
        self.shared.health.count_restart();
        let engine = self.engine.take();
        let _ = guarded(|| drop(engine));
    }

    /// Takes the next batch: in the order of arrival, without withdrawn, late and too large requests.
    fn batch(&mut self) -> Vec<Entry> {
        let mut batch: Vec<Entry> = Vec::new();
        let mut tokens = 0;
        while let Some(mut entry) = self.waiting.pop_front() {
            if entry.answer.is_closed() {
                self.shared.metrics.dropped("cancelled");
                continue;
            }
            if entry.deadline <= Instant::now() {
                self.refuse(entry, "expired", Refusal::Expired);
                continue;
            }
            let cost = match entry.cost.map_or_else(|| self.cost(&entry.request), Ok) {
                Ok(cost) => cost,
                Err(refusal) => {
                    self.refuse(entry, "failed", refusal);
                    continue;
                }
            };
            entry.cost = Some(cost);
            let limit = self.config.max_tokens;
            if cost > limit {
                self.refuse(entry, "too_large", Refusal::TooLarge { tokens: cost, limit });
                continue;
            }
            if tokens + cost > limit || batch.len() >= self.config.max_batch {
                self.waiting.push_front(entry);
                break;
            }
            tokens += cost;
            batch.push(entry);
        }
        batch
    }

    fn refuse(&self, entry: Entry, reason: &'static str, refusal: Refusal) {
        self.shared.metrics.dropped(reason);
        let Entry { answer, counted, .. } = entry;
        drop(counted);
        let _ = answer.send(Err(refusal));
    }

    fn cost(&mut self, request: &InferenceRequest) -> Result<usize, Refusal> {
        let cost = self.engine().map(|engine| guarded(|| engine.cost(request)));
        cost.map_err(Refusal::Down)?.map_err(|Panic| {
            self.restart("cost");
            Refusal::Panicked
        })
    }

    fn compute(&mut self, batch: Vec<Entry>) {
        let begin = Instant::now();
        let _busy = Busy::now(&self.shared);
        self.has_computed = true;
        let count = batch.len();
        let mut requests = Vec::with_capacity(count);
        let mut answers = Vec::with_capacity(count);
        for Entry { request, arrived, answer, counted, .. } in batch {
            requests.push(request);
            answers.push((answer, begin.duration_since(arrived), counted));
        }
        let results = self.isolated(&requests);
        let took = begin.elapsed();
        self.shared.metrics.batch(count, took);
        self.keep_pace(took / u32::try_from(count).unwrap_or(u32::MAX).max(1));
        for ((answer, waited, counted), result) in answers.into_iter().zip(results) {
            self.shared.metrics.stage("queue", waited);
            self.shared.metrics.stage("model", took);
            drop(counted);
            let _ = answer.send(result.map(|output| (output, waited, took)));
        }
    }

    /// The results of requests. A batch that the engine panics on is halved until the requests that
    /// cause it are alone; only these fail.
    fn isolated(&mut self, requests: &[InferenceRequest]) -> Vec<Result<InferenceOutput, Refusal>> {
        let failed = match self.attempt(requests) {
            Ok(results) => return results,
            Err(failed) => failed,
        };
        if requests.len() <= 1 || failed != Refusal::Panicked {
            return requests.iter().map(|_| Err(failed.clone())).collect();
        }
        let (front, back) = requests.split_at(requests.len() / 2);
        let mut results = self.isolated(front);
        results.extend(self.isolated(back));
        results
    }

    fn attempt(
        &mut self,
        requests: &[InferenceRequest],
    ) -> Result<Vec<Result<InferenceOutput, Refusal>>, Refusal> {
        let engine = self.engine().map_err(Refusal::Down)?;
        match guarded(|| engine.run(requests)) {
            Ok(results) if results.len() == requests.len() => {
                Ok(results.into_iter().map(|result| result.map_err(Refusal::Failed)).collect())
            }
            // An engine that loses results is no better than one that panics.
            Ok(_) | Err(Panic) => {
                self.restart("forward");
                Err(Refusal::Panicked)
            }
        }
    }

    /// A moving average of the time of a request.
    fn keep_pace(&self, each: Duration) {
        let new = u64::try_from(each.as_micros()).unwrap_or(u64::MAX);
        let old = self.shared.pace.load(Ordering::Relaxed);
        let mean = if old == 0 { new } else { old - old / 4 + new / 4 };
        self.shared.pace.store(mean.max(1), Ordering::Relaxed);
    }
}
