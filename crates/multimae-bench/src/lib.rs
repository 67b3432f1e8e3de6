//! The same work in multimae, in PyTorch and in inference engines, timed in turn.
//!
//! * A [`BenchmarkCase`](case::BenchmarkCase) is a kind of work and its sizes; [`prepare`](material::prepare) writes its
//!   folder with random weights and inputs.
//! * A worker does a case's work step by step as it is told: [`serve`](worker::serve) is ours,
//!   scripts are those of the others.
//! * [`measure`](measure::measure) has workers work in turn, after it has seen that they compute the
//!   same.
//! * [`Results`](report::Results) are the table, and how near each case comes to the processor's
//!   [limit](limits), from [`flops`].
//!
//! ```
//! use multimae_bench::case::BenchmarkCase;
//! use multimae_bench::{flops, folder::CaseFolder, material, workloads};
//! use multimae_kernels::precision::Precision;
//! use multimae_train::optim::OptimiserStateChoice;
//!
//! let options = workloads::WorkloadOptions {
//!     threads: 1,
//!     precision: Precision::Fp32,
//!     optimizer_state: OptimiserStateChoice::EightBit,
//! };
//! let dir = tempfile::tempdir()?;
//! for case in BenchmarkCase::toys(&BenchmarkCase::models()) {
//!     material::prepare(dir.path(), &case)?;
//!     let mut work = workloads::open(&mut CaseFolder::read(dir.path())?, options)?;
//!     let step = workloads::timed(work.as_mut())?;
//!     assert!(step.loss > 0.0 && step.seconds > 0.0 && flops::of(&case).is_some());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod case;
mod cells;
mod error;
pub mod flops;
pub mod folder;
pub mod limits;
pub mod material;
pub mod measure;
mod models;
pub mod process;
pub mod report;
pub mod startup;
pub mod statistic;
pub mod worker;
pub mod workloads;

pub use error::{Error, Result};
