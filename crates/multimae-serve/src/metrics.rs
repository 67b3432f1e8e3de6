//! Metrics for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Response {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Encoded {
    format: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

/// All counters of a server. Clones count the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    responses: Family<Response, Counter>,
    refused: Family<Reason, Counter>,
    encoded: Family<Encoded, Counter>,
    panics: Family<Stage, Counter>,
    stages: Family<Stage, Histogram, fn() -> Histogram>,
    batches: Histogram,
    waiting: Gauge,
    memory: Gauge,
}

/// From half a millisecond to sixteen seconds.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counters at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("multimae");
        let responses = Family::default();
        let refused = Family::default();
        let encoded = Family::default();
        let stages: Family<Stage, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(seconds);
        let batches = Histogram::new(exponential_buckets(1.0, 2.0, 8));
        let (waiting, memory, panics) = (Gauge::default(), Gauge::default(), Family::default());
        registry.register("responses", "Responses by route and status", responses.clone());
        registry.register("refused", "Requests that were not computed", refused.clone());
        registry.register("encoded_files", "Files that were encoded, by format", encoded.clone());
        registry.register("panics", "Panics that were caught, by stage", panics.clone());
        registry.register("stage_seconds", "Time by stage", stages.clone());
        registry.register("batch_size", "Requests of a batch", batches.clone());
        registry.register("queue_length", "Requests that wait", waiting.clone());
        registry.register("resident_memory_bytes", "Resident memory, on Linux", memory.clone());
        Self {
            registry: Arc::new(registry),
            responses,
            refused,
            encoded,
            panics,
            stages,
            batches,
            waiting,
            memory,
        }
    }

    /// A response was given.
    pub fn response(&self, route: &'static str, status: u16) {
        self.responses.get_or_create(&Response { route, status }).inc();
    }

    /// Work was not computed.
    pub fn dropped(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// A stage of the engine panicked.
    pub fn panicked(&self, stage: &'static str) {
        self.panics.get_or_create(&Stage { stage }).inc();
    }

    /// A file of a result was encoded.
    pub fn encoded(&self, format: &'static str) {
        self.encoded.get_or_create(&Encoded { format }).inc();
    }

    /// A stage of a request took so long.
    pub fn stage(&self, stage: &'static str, took: Duration) {
        self.stages.get_or_create(&Stage { stage }).observe(took.as_secs_f64());
    }

    /// A batch was computed.
    pub fn batch(&self, pieces: usize, _: Duration) {
        self.batches.observe(pieces as f64);
    }

    /// The text that Prometheus reads.
    #[must_use]
    pub fn text(&self, waiting: usize) -> String {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        if let Some(bytes) = multimae_io::memory::resident_memory() {
            self.memory.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}
