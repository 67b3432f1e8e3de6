//! The clients of a soak.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use hyper::http::request::Builder;
use indexmap::IndexMap;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::reference::References;
use super::report::{Outcome, Sample, SoakReport, Tally};
use super::requests::{self, BadRequest, image, predict};
use super::{Limits, SoakOptions};
use crate::Result;
use crate::load::client::{Client, Reply};
use crate::load::figures::Quantiles;

/// The pause of the clients that send bad, poisoned and interrupted requests.
const RARE: Duration = Duration::from_millis(150);
/// The pause between two exchanges of adapters, and between two looks at the health.
const SLOW: Duration = Duration::from_secs(1);
/// The time between two bursts, and the requests of one.
const BETWEEN_BURSTS: Duration = Duration::from_secs(60);
const BURST: usize = 200;
/// Descriptions of wrong answers that are kept.
const MAX_REMARKS: usize = 20;

/// The state that the clients share.
pub(super) struct Soak {
    pub(super) options: SoakOptions,
    client: Arc<Client>,
    references: References,
    limits: Limits,
    begin: Instant,
    next: AtomicUsize,
    tallies: Mutex<IndexMap<String, Tally>>,
    remarks: Mutex<Vec<String>>,
    /// Latencies of predictions since the last sample.
    recent: Mutex<Vec<Duration>>,
    samples: Mutex<Vec<Sample>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts all clients; each ends after its request at `end`.
pub(super) fn start(soak: &Arc<Soak>, adapters: &[String], end: Instant) -> Vec<JoinHandle<()>> {
    let mut clients = Vec::new();
    for _ in 0..soak.options.clients {
        let (soak, adapters) = (Arc::clone(soak), adapters.to_vec());
        clients.push(tokio::spawn(async move {
            while Instant::now() < end {
                soak.good("prediction", &adapters).await;
                tokio::time::sleep(soak.options.pause).await;
            }
        }));
    }
    let first = adapters.first().cloned().unwrap_or_default();
    clients.push(tokio::spawn(bursts(Arc::clone(soak), adapters.to_vec(), end)));
    clients.push(tokio::spawn(bad(Arc::clone(soak), first.clone(), end)));
    clients.push(tokio::spawn(interrupted(Arc::clone(soak), first.clone(), end)));
    clients.push(tokio::spawn(poisoned(Arc::clone(soak), first, end)));
    clients.push(tokio::spawn(exchanged(Arc::clone(soak), end)));
    clients.push(tokio::spawn(health(Arc::clone(soak), end)));
    clients
}

impl Soak {
    pub(super) fn new(
        client: Arc<Client>,
        references: References,
        limits: Limits,
        options: SoakOptions,
        begin: Instant,
    ) -> Self {
        Self {
            options,
            client,
            references,
            limits,
            begin,
            next: AtomicUsize::new(0),
            tallies: Mutex::default(),
            remarks: Mutex::default(),
            recent: Mutex::default(),
            samples: Mutex::default(),
        }
    }

    /// Samples for a time, or for the idle time if it is none.
    pub(super) async fn watch(&self, time: Duration) {
        let time = if time.is_zero() { self.options.idle } else { time };
        let end = Instant::now() + time;
        loop {
            self.sample().await;
            let next = (Instant::now() + self.options.sample).min(end);
            tokio::time::sleep_until(next.into()).await;
            if Instant::now() >= end {
                return;
            }
        }
    }

    async fn sample(&self) {
        let seconds = self.begin.elapsed().as_secs_f64();
        let took = std::mem::take(&mut *lock(&self.recent));
        let (answers, latency) = (took.len(), Quantiles::of(took));
        let reply = self.client.get("/metrics").await.and_then(|reply| reply.answered("/metrics"));
        let text = reply.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let metric = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().parse::<f64>().ok())
        };
        let resident_mb = metric("multimae_resident_memory_bytes ").map(|bytes| bytes / 1e6);
        let waiting = metric("multimae_queue_length ");
        lock(&self.samples).push(Sample { seconds, resident_mb, waiting, answers, latency });
    }

    /// Counts a request; one whose answer is wrong leaves a remark.
    fn count(&self, kind: &str, outcome: Outcome, remark: impl FnOnce() -> String) {
        if matches!(outcome, Outcome::Wrong | Outcome::Lost) {
            let mut remarks = lock(&self.remarks);
            if remarks.len() < MAX_REMARKS {
                remarks.push(format!("{kind}: {}", remark()));
            }
        }
        lock(&self.tallies).entry(kind.to_owned()).or_default().add(outcome);
    }

    /// Counts an answer: right if `is_right` says so, else refused, late or wrong.
    fn judge(&self, kind: &str, reply: Result<Reply>, is_right: impl FnOnce(&Reply) -> bool) {
        match reply {
            Err(error) => self.count(kind, Outcome::Lost, || error.to_string()),
            Ok(reply) => {
                let outcome = match reply.status {
                    _ if is_right(&reply) => Outcome::Right,
                    429 if reply.retry_after => Outcome::Refused,
                    504 => Outcome::Late,
                    _ => Outcome::Wrong,
                };
                self.count(kind, outcome, || {
                    let text = String::from_utf8_lossy(&reply.body);
                    format!("{}: {}", reply.status, text.chars().take(200).collect::<String>())
                });
            }
        }
    }

    async fn send(&self, request: Builder, body: Bytes) -> Result<Reply> {
        self.client.send(request, body).await
    }

    /// Asks one of several adapters for a task of a frame, and compares the answer.
    async fn good(&self, kind: &str, adapters: &[String]) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let adapter = &adapters[number % adapters.len()];
        // So that every adapter is asked for every task and frame.
        let (task, frame) = (number / adapters.len(), number / (3 * adapters.len()));
        let Some(task) = self.references.task(adapter, task) else { return };
        let reply = self.send(image(predict(adapter, task)), self.references.frame(frame)).await;
        if let Ok(reply) = &reply
            && reply.status == 200
        {
            lock(&self.recent).push(reply.took);
        }
        self.judge(kind, reply, |reply| {
            reply.status == 200 && self.references.is_right(adapter, task, frame, &reply.body)
        });
    }

    pub(super) fn report(&self, idle: Duration, loaded: Duration) -> SoakReport {
        SoakReport {
            tallies: lock(&self.tallies).clone(),
            samples: lock(&self.samples).clone(),
            remarks: lock(&self.remarks).clone(),
            load_from: idle.as_secs_f64(),
            load_until: loaded.as_secs_f64(),
        }
    }
}

/// More requests than the server admits, at once.
async fn bursts(soak: Arc<Soak>, adapters: Vec<String>, end: Instant) {
    while Instant::now() + BETWEEN_BURSTS < end {
        tokio::time::sleep(BETWEEN_BURSTS).await;
        let one = || {
            let (soak, adapters) = (Arc::clone(&soak), adapters.clone());
            tokio::spawn(async move { soak.good("prediction in a burst", &adapters).await })
        };
        let all: Vec<_> = (0..BURST).map(|_| one()).collect();
        for one in all {
            if let Err(error) = one.await {
                soak.count("prediction in a burst", Outcome::Lost, || error.to_string());
            }
        }
    }
}

async fn bad(soak: Arc<Soak>, adapter: String, end: Instant) {
    let token = soak.options.token.is_some();
    while Instant::now() < end {
        for bad in requests::bad(&adapter, &soak.references.frame(0), soak.limits, token) {
            let BadRequest { kind, status, request, body } = bad;
            let reply = soak.send(request, body).await;
            soak.judge(kind, reply, |reply| reply.status == status);
            tokio::time::sleep(RARE).await;
        }
    }
}

/// Clients that hang up in the middle of a body: nothing is answered, and nothing is kept.
async fn interrupted(soak: Arc<Soak>, adapter: String, end: Instant) {
    let address = soak.client.address();
    let frame = soak.references.frame(0);
    let bytes = requests::half_sent(&adapter, &frame, &address.to_string());
    while Instant::now() < end {
        let sent = async {
            let stream = TcpStream::connect(address).await?;
            stream.writable().await?;
            stream.try_write(&bytes)
        };
        let outcome = if sent.await.is_ok() { Outcome::Right } else { Outcome::Lost };
        soak.count("client hangs up", outcome, || "no connection".to_owned());
        tokio::time::sleep(RARE).await;
    }
}

async fn poisoned(soak: Arc<Soak>, adapter: String, end: Instant) {
    let frames: Vec<Bytes> =
        soak.options.poisoned.iter().map(|frame| Bytes::from(frame.clone())).collect();
    while Instant::now() < end && !frames.is_empty() {
        for frame in &frames {
            let request = image(requests::any_task(&adapter));
            let reply = soak.send(request, frame.clone()).await;
            soak.judge("poisoned image", reply, |reply| reply.status == 500);
            tokio::time::sleep(RARE).await;
        }
    }
}

/// Loads an adapter, asks it, unloads it, and asks for it in vain.
async fn exchanged(soak: Arc<Soak>, end: Instant) {
    while Instant::now() < end && !soak.options.exchanges.is_empty() {
        for (number, exchange) in soak.options.exchanges.iter().enumerate() {
            let name = requests::exchanged(number);
            let body = requests::file(&name, &exchange.file);
            let reply = soak.send(requests::load(), body).await;
            let loaded = reply.as_ref().is_ok_and(|reply| reply.status == 201);
            let kind = if exchange.status == 201 { "load adapter" } else { "load bad adapter" };
            soak.judge(kind, reply, |reply| reply.status == exchange.status);
            if loaded {
                for _ in 0..3 {
                    soak.good("prediction of a new adapter", std::slice::from_ref(&name)).await;
                }
                let reply = soak.send(requests::unload(&name), Bytes::new()).await;
                let unloaded = reply.as_ref().is_ok_and(|reply| reply.status == 200);
                soak.judge("unload adapter", reply, |reply| reply.status == 200);
                if unloaded {
                    let request = image(requests::any_task(&name));
                    let reply = soak.send(request, soak.references.frame(number)).await;
                    soak.judge("unloaded adapter", reply, |reply| reply.status == 404);
                }
            }
            tokio::time::sleep(SLOW).await;
        }
    }
}

async fn health(soak: Arc<Soak>, end: Instant) {
    while Instant::now() < end {
        let reply = soak.client.get("/health").await;
        soak.judge("health", reply, |reply| reply.status == 200);
        tokio::time::sleep(SLOW).await;
    }
}
