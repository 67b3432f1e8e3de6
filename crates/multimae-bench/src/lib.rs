//! The same work in multimae and in PyTorch, timed in turn.
//!
//! * A [`Case`](case::Case) is a kind of work and its sizes; [`prepare`](material::prepare) writes its
//!   folder with random weights and inputs.
//! * A worker does a case's work step by step as it is told: [`serve`](worker::serve) is ours, a
//!   script is PyTorch's.
//! * [`measure`](measure::measure) has workers work in turn, after it has seen that they compute the
//!   same.
//! * [`Results`](report::Results) are the table, and how near each case comes to the processor's
//!   peak, from [`flops`].
//!
//! ```
//! use multimae_bench::case::Case;
//! use multimae_bench::{flops, folder::CaseFolder, material, work};
//!
//! let dir = tempfile::tempdir()?;
//! for case in Case::toys(&Case::models()) {
//!     material::prepare(dir.path(), &case)?;
//!     let mut work = work::open(&mut CaseFolder::read(dir.path())?, 1)?;
//!     let step = work::timed(work.as_mut())?;
//!     assert!(step.loss > 0.0 && step.seconds > 0.0 && flops::of(&case).is_some());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod case;
mod error;
pub mod flops;
pub mod folder;
pub mod material;
pub mod measure;
mod models;
pub mod peak;
pub mod process;
pub mod report;
pub mod startup;
pub mod statistic;
pub mod work;
pub mod worker;

pub use error::{Error, Result};
