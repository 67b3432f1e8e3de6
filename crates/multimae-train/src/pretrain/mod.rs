//! Pre-training: from a recipe to a trained masked autoencoder.

mod constant;
mod data;
mod evaluation;
mod pictures;
mod report;
mod run;
mod sets;
mod setup;
mod stages;
mod step;

pub use data::TrainingData;
pub use evaluation::{evaluate, mean_baseline};
pub use pictures::reconstructions;
pub use run::Pretraining;
pub use sets::SetRanges;
pub use setup::PretrainSetup;
pub use stages::{TrainingStage, TrainingStages};
