//! The fine-tuned model that a command works with.

use std::path::PathBuf;

use clap::Args;
use multimae_train::device::device;
use multimae_train::predict::ModelPredictor;
use multimae_train::saved_model::SavedModel;

/// A fine-tuned model and where it computes.
#[derive(Debug, Args)]
pub(crate) struct Model {
    /// Fine-tuned model: the model.safetensors of a run
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// Where to compute
    #[arg(long, default_value = "cpu")]
    device: String,
}

impl Model {
    pub(crate) fn load(&self) -> anyhow::Result<ModelPredictor> {
        let device = device(&self.device)?;
        Ok(ModelPredictor::new(SavedModel::load(&self.model, &device)?, device))
    }
}
