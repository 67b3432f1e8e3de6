//! From a recipe to a run.

mod error;
pub mod learner;
pub mod optim;
pub mod recipe;
pub mod run;
pub mod schedule;

pub use error::{Error, Result};
