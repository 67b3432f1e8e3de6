//! Pre-training: from a recipe to a trained masked autoencoder.

mod evaluation;
mod logs;
mod pictures;
mod report;
mod run;
mod setting;
mod state;
mod step;

pub use evaluation::{evaluate, predict_the_mean};
pub use pictures::reconstructions;
pub use run::Pretraining;
pub use setting::Setting;
pub use state::State;

use indexmap::IndexMap;

/// The losses of predicting the mean of every channel and the frequency of every class.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    /// By task.
    pub losses: IndexMap<String, f64>,
    /// The samples that they were measured on: `evaluation` or `training`.
    pub on: &'static str,
}
