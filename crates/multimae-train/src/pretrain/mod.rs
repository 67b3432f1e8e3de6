//! Pre-training: from a recipe to a trained masked autoencoder.

mod constant;
mod evaluation;
mod pictures;
mod report;
mod run;
mod setup;
mod stages;
mod step;

pub use evaluation::{evaluate, mean_baseline};
pub use pictures::reconstructions;
pub use run::Pretraining;
pub use setup::PretrainSetup;
pub use stages::{TrainingStage, TrainingStages};
