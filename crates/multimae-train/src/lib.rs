//! From a recipe to a run.

pub mod learner;
pub mod optim;
