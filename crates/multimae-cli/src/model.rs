//! The fine-tuned model that a command works with.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use clap::Args;
use multimae::burn::tensor::Device;
use multimae::state::StateDict;
use multimae_config::keys::RecipeValue as _;
use multimae_config::{Override, PrecisionChoice, ReadingKeys};
use multimae_infer::device::{self, device};
use multimae_infer::predict::ModelPredictor;
use multimae_infer::saved_model::{Adapter, SavedModel};
use multimae_infer::visualize::Pretrained;
use multimae_infer::weights_source::WeightsSource;
use multimae_kernels::precision::Precision;

use crate::terminal;

/// A fine-tuned model and where it computes.
#[derive(Debug, Args)]
pub(crate) struct Model {
    /// Fine-tuned model: the folder of a run or its model.safetensors; with --adapter, the backbone:
    /// a file of pre-trained weights in any format or the folder of a run
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// Adapter for the backbone: the folder of a run or its adapter.safetensors
    #[arg(long, value_name = "FILE")]
    adapter: Option<PathBuf>,
    /// State dict of the model's file, if it holds several, such as `model_ema`
    #[arg(long, value_name = "KEY")]
    weights_key: Option<String>,
    /// Device to compute on
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Precision of the operands of GEMMs: fp32; bf16 where the processor has it; or int8. As the file
    /// says if absent: int8 of a quantised model, otherwise fp32
    #[arg(long, value_parser = precision)]
    precision: Option<PrecisionChoice>,
}

/// A precision by its name in recipes.
pub(crate) fn precision(text: &str) -> Result<PrecisionChoice, String> {
    PrecisionChoice::read(&text.into())
}

impl Model {
    /// A model's file, for the processor.
    pub(crate) fn file(model: PathBuf) -> Self {
        Self { model, adapter: None, weights_key: None, device: "cpu".to_owned(), precision: None }
    }

    /// Another model's file, on the same device.
    pub(crate) fn beside(&self, model: PathBuf) -> Self {
        Self { device: self.device.clone(), ..Self::file(model) }
    }

    /// The model's name in a report.
    pub(crate) fn name(&self) -> String {
        match &self.adapter {
            Some(adapter) => format!("{} on {}", adapter.display(), self.model.display()),
            None => self.model.display().to_string(),
        }
    }

    /// The file or folder beside which a run's result lies.
    pub(crate) fn result(&self) -> &Path {
        self.adapter.as_ref().unwrap_or(&self.model)
    }

    /// The device.
    pub(crate) fn device(&self) -> anyhow::Result<Device> {
        Ok(device(&self.device)?)
    }

    /// The precision of its products that is asked for, which the device has.
    fn precision(&self) -> anyhow::Result<Option<Precision>> {
        let device = self.device()?;
        let of = |choice| device::precision(choice, &self.device, &device);
        Ok(self.precision.map(of).transpose()?)
    }

    /// Whether it is a model with heads for tasks, and not a pre-trained one.
    pub(crate) fn is_fine_tuned(&self) -> anyhow::Result<bool> {
        Ok(self.adapter.is_some() || SavedModel::is_at(&self.model)?)
    }

    /// The pre-trained weights.
    pub(crate) fn source(&self) -> WeightsSource {
        WeightsSource::from(&self.model).with_key(self.weights_key.clone())
    }

    /// The pre-trained model; says what was chosen and assumed.
    pub(crate) fn pretrained(&self) -> anyhow::Result<Pretrained> {
        let (device, precision) = (self.device()?, self.precision()?);
        let model = Pretrained::load(self.source(), &device)?;
        for notice in model.notices() {
            terminal::line(&format!("note: {notice}"));
        }
        Ok(model.with_precision(precision.unwrap_or_default()))
    }

    /// The weights of the backbone before tuning, where the tuned part is an adapter.
    pub(crate) fn backbone_weights(&self) -> anyhow::Result<Option<StateDict>> {
        let Some(adapter) = &self.adapter else { return Ok(None) };
        let adapter = Adapter::load(adapter)?;
        Ok(Some(adapter.backbone_weights(&self.source(), &self.device()?)?))
    }

    /// The model with its adapter.
    pub(crate) fn saved(&self) -> anyhow::Result<SavedModel> {
        let (device, precision) = (self.device()?, self.precision()?);
        if let (Some(key), None) = (&self.weights_key, &self.adapter)
            && self.is_fine_tuned()?
        {
            bail!(
                "--weights-key {key}: {} is a fine-tuned model, which holds one set of weights; \
                 leave the option out, or give a backbone with --adapter",
                self.model.display()
            );
        }
        let saved = match &self.adapter {
            Some(adapter) => Adapter::load(adapter)?.on(&self.source(), &device)?,
            None => SavedModel::load(&SavedModel::find(&self.model)?, &device)?,
        };
        Ok(match precision {
            // A change beside a weight would be rounded by itself, again for every frame.
            Some(Precision::Int8) => saved.merged().with_precision(Precision::Int8),
            Some(precision) => saved.with_precision(precision),
            None => saved,
        })
    }

    /// The model as a predictor, for files that are stored as its own or as `set` says.
    pub(crate) fn load(&self, set: &[Override]) -> anyhow::Result<ModelPredictor> {
        let keys = ReadingKeys::of(set)?;
        let mut saved = self.saved()?;
        saved.card.read_as(&keys).map_err(|problem| anyhow!("--set: {problem}"))?;
        Ok(ModelPredictor::new(saved, self.device()?))
    }
}
