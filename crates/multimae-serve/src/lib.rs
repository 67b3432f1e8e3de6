//! One backbone and many adapters behind HTTP.
//!
//! * A [`Backend`] holds a model and starts an [`Engine`] that computes: the [real one](BankBackend)
//!   is a backbone with adapters, and a pre-trained model that reconstructs masked patches. Adapters
//!   are loaded beside the engine, which sees them with its next batch.
//! * The [`Queue`] is a thread that owns the engine: prepared frames come in, form batches by a
//!   budget of tokens, and leave through a channel of their own. Requests that are late, or whose
//!   client has disconnected, are not computed. A panic restarts the engine and fails the request
//!   that caused it; the rest of its batch is computed without it.
//! * [`app`] is the router: it bounds what comes in and admits by permits. A bounded number of worker
//!   threads decodes images and brings them to the model's size, and brings the outputs of the engine back to
//!   the frame's size and encodes the one file that is asked for. Nothing is written to disk.
//! * [`load`] runs a load test against a server, and measures its throughput and load shedding.
//!
//! ```
//! use std::path::Path;
//!
//! use multimae_serve::{AdapterEntry, Backend, Engine, InferenceOutput, InferenceRequest};
//! use multimae_serve::{Queue, QueueConfig};
//!
//! /// A model without adapters.
//! struct Silent;
//!
//! impl Backend for Silent {
//!     fn adapters(&self) -> Vec<AdapterEntry> {
//!         Vec::new()
//!     }
//!     fn load(&self, _: &str, _: &Path) -> Result<(), String> {
//!         Err("none can be loaded".to_owned())
//!     }
//!     fn unload(&self, _: &str) -> bool {
//!         false
//!     }
//!     fn start(&self) -> Result<Box<dyn Engine>, String> {
//!         Ok(Box::new(SilentEngine))
//!     }
//! }
//!
//! struct SilentEngine;
//!
//! impl Engine for SilentEngine {
//!     fn cost(&self, _: &InferenceRequest) -> usize {
//!         1
//!     }
//!     fn run(&mut self, requests: &[InferenceRequest]) -> Vec<Result<InferenceOutput, String>> {
//!         requests.iter().map(|_| Err("nothing".to_owned())).collect()
//!     }
//!     fn probe(&mut self) -> Result<(), String> {
//!         Ok(())
//!     }
//! }
//!
//! let queue = Queue::start(Silent, QueueConfig::default()).unwrap();
//! assert!(queue.catalog().is_empty());
//! queue.shut_down();
//! ```

mod answer;
mod config;
mod engine;
mod error;
mod example;
mod images;
pub mod load;
mod metrics;
mod openapi;
mod queue;
mod results;
mod routes;
mod server;
mod workers;

/// The parser of bodies, for the fuzz targets.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::routes::read_body;
}

pub use config::ServerConfig;
pub use engine::{AdapterEntry, Backend, BankBackend, Engine, InferenceOutput, InferenceRequest};
pub use error::{Error, Result};
pub use metrics::Metrics;
pub use queue::{Answer, Health, Queue, QueueConfig, Refusal};
pub use routes::{App, app};
pub use server::serve;
