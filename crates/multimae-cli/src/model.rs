//! The fine-tuned model that a command works with.

use std::path::PathBuf;

use clap::Args;
use multimae::burn::tensor::Device;
use multimae_config::PrecisionChoice;
use multimae_config::keys::RecipeValue as _;
use multimae_infer::device::{self, device};
use multimae_infer::predict::ModelPredictor;
use multimae_infer::saved_model::{Adapter, SavedModel};
use multimae_kernels::precision::Precision;

/// A fine-tuned model and where it computes.
#[derive(Debug, Args)]
pub(crate) struct Model {
    /// Fine-tuned model: the model.safetensors of a run; with --adapter, the backbone: a file of
    /// pre-trained weights or the folder of a run
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// Adapter for the backbone: the adapter.safetensors of a run
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,
    /// Device to compute on
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Precision of the operands of GEMMs: fp32, or bf16 where the processor has it
    #[arg(long, default_value = "fp32", value_parser = precision)]
    precision: PrecisionChoice,
}

/// A precision by its name in recipes.
pub(crate) fn precision(text: &str) -> Result<PrecisionChoice, String> {
    PrecisionChoice::read(&text.into())
}

impl Model {
    /// A model's file, for the processor.
    pub(crate) fn file(model: PathBuf) -> Self {
        Self { model, adapter: None, device: "cpu".to_owned(), precision: PrecisionChoice::Fp32 }
    }

    /// The model's name in a report.
    pub(crate) fn name(&self) -> String {
        match &self.adapter {
            Some(adapter) => format!("{} on {}", adapter.display(), self.model.display()),
            None => self.model.display().to_string(),
        }
    }

    /// The device.
    pub(crate) fn device(&self) -> anyhow::Result<Device> {
        Ok(device(&self.device)?)
    }

    /// The precision of its products, which the device has.
    pub(crate) fn precision(&self) -> anyhow::Result<Precision> {
        Ok(device::precision(self.precision, &self.device, &self.device()?)?)
    }

    /// Whether it is a model with heads for tasks, and not a pre-trained one.
    pub(crate) fn is_fine_tuned(&self) -> anyhow::Result<bool> {
        Ok(self.adapter.is_some() || SavedModel::is_at(&self.model)?)
    }

    /// The model with its adapter.
    pub(crate) fn saved(&self) -> anyhow::Result<SavedModel> {
        let (device, precision) = (self.device()?, self.precision()?);
        let saved = match &self.adapter {
            Some(adapter) => Adapter::load(adapter)?.on(&self.model.to_string_lossy(), &device)?,
            None => SavedModel::load(&SavedModel::file_of(&self.model), &device)?,
        };
        Ok(saved.with_precision(precision))
    }

    pub(crate) fn load(&self) -> anyhow::Result<ModelPredictor> {
        Ok(ModelPredictor::new(self.saved()?, self.device()?))
    }
}
