//! From a recipe to a run.

pub mod batch;
pub mod device;
pub mod ema;
mod error;
pub mod learner;
pub mod observer;
pub mod optim;
pub mod pretrain;
pub mod recipe;
pub mod run;
pub mod schedule;

pub use error::{Error, Result};
