//! Pre-training: from a recipe to a trained masked autoencoder.

mod evaluation;
mod pictures;
mod report;
mod run;
mod setting;
mod step;

pub use evaluation::{evaluate, predict_the_mean};
pub use pictures::reconstructions;
pub use run::Pretraining;
pub use setting::Setting;
