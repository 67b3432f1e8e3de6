//! The tuned parameters, without the backbone, in one file.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use multimae::burn::tensor::Device;
use multimae::peft::PeftModel;
use multimae::state::{AllowedKeys, StateDict, load, parameters, state_dict};
use multimae::tuning::{ParameterKind, Tuning};
use multimae::weights::{read_safetensors, write_safetensors};
use multimae_io::atomic::write_atomically;
use multimae_kernels::precision::Precision;

use super::backbone::POSITIONS;
use super::{Backbone, CARD, FINETUNED, KIND, ModelCard, SavedModel, problem};
use crate::saved_model::load_pretrained;
use crate::weights_source::{ADAPTER_FILE, WeightsSource};
use crate::{Error, Result};

/// The kind of a file with an adapter.
pub(super) const ADAPTER: &str = "adapter";
/// The prefix of the backbone's blocks in names of parameters.
pub(super) const ENCODER: &str = "encoder.";
const BACKBONE: &str = "backbone";
const TUNING: &str = "tuning";

/// Everything that predicting needs besides the backbone: heads, prompts and the other additions,
/// the backbone's tensors that were trained, and the card.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// The tensors by the names of their parameters.
    pub tensors: StateDict,
    /// The model card of the tuned model.
    pub card: ModelCard,
    /// The mode of tuning.
    pub tuning: Tuning,
    /// The backbone that it belongs to.
    pub backbone: Backbone,
    /// Further information.
    pub notes: IndexMap<String, String>,
}

impl Adapter {
    /// The adapter of a tuned model that began with `backbone`.
    #[must_use]
    pub fn of(saved: &SavedModel, tuning: &Tuning, backbone: Backbone) -> Self {
        let mut adapter = Self {
            tensors: state_dict(&saved.model),
            card: saved.card.clone(),
            tuning: tuning.clone(),
            backbone,
            notes: saved.notes.clone(),
        };
        let own = std::mem::take(&mut adapter.tensors);
        adapter.tensors = own.into_iter().filter(|(name, _)| adapter.holds(name)).collect();
        adapter
    }

    /// Whether the parameter of this name is stored here and not in the backbone.
    fn holds(&self, name: &str) -> bool {
        let depth = self.card.model.encoder.depth;
        ParameterKind::of(name) != ParameterKind::Backbone
            || (self.tuning.trains(name, depth) && !name.ends_with(POSITIONS))
            || self.backbone.fresh.iter().any(|fresh| fresh == name)
    }

    /// Writes one safetensors file, whole or not at all.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = |value: serde_json::Result<String>| {
            value.map_err(|error| problem(path, format!("it cannot be written: {error}")))
        };
        let mut metadata = self.notes.clone();
        metadata.insert(KIND.to_owned(), ADAPTER.to_owned());
        metadata.insert(CARD.to_owned(), text(serde_json::to_string(&self.card))?);
        metadata.insert(BACKBONE.to_owned(), text(serde_json::to_string(&self.backbone))?);
        metadata.insert(TUNING.to_owned(), self.tuning.to_string());
        Ok(write_atomically(path, &write_safetensors(&self.tensors, &metadata)?)?)
    }

    /// The adapter's file in a run's folder, or the file itself.
    pub(super) fn file_of(path: &Path) -> Result<PathBuf> {
        if !path.is_dir() {
            return Ok(path.to_owned());
        }
        let file = path.join(ADAPTER_FILE);
        if file.is_file() {
            return Ok(file);
        }
        Err(problem(
            path,
            format!(
                "holds no {ADAPTER_FILE}; give the folder of a run that tuned with a frozen \
                 backbone, or its {ADAPTER_FILE}"
            ),
        ))
    }

    /// Reads an adapter, of a file or of a run's folder, and checks it against its own description.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged or is no adapter.
    pub fn load(path: &Path) -> Result<Self> {
        let path = &Self::file_of(path)?;
        let (tensors, metadata) = read_safetensors(path)?;
        Self::of_parts(path, tensors, metadata)
    }

    /// The adapter of the content of a file.
    pub(super) fn of_parts(
        path: &Path,
        tensors: StateDict,
        mut metadata: IndexMap<String, String>,
    ) -> Result<Self> {
        let problem = |text: String| problem(path, text);
        let kind = metadata.shift_remove(KIND);
        if kind.as_deref() == Some(FINETUNED) {
            return Err(problem(
                "is a whole fine-tuned model and no adapter; give it as --model, without --adapter"
                    .to_owned(),
            ));
        }
        if kind.as_deref() != Some(ADAPTER) {
            return Err(problem(
                "no adapter; give the adapter.safetensors of a run that tuned with a frozen \
                 backbone"
                    .to_owned(),
            ));
        }
        let mut entry = |key: &str| metadata.shift_remove(key).unwrap_or_default();
        let card = ModelCard::read(&entry(CARD)).map_err(problem)?;
        let backbone: Backbone = serde_json::from_str(&entry(BACKBONE))
            .map_err(|error| problem(format!("its backbone: {error}")))?;
        let tuning: Tuning = entry(TUNING)
            .parse()
            .map_err(|error| problem(format!("its mode of tuning: {error}")))?;
        let adapter = Self { tensors, card, tuning, backbone, notes: metadata };
        adapter.check().map_err(problem)?;
        Ok(adapter)
    }

    /// Everything that is no part of a backbone must be there, in the shapes of the card.
    fn check(&self) -> Result<(), String> {
        let model = PeftModel::new(&self.card.model, &self.card.peft, &Device::default())
            .map_err(|error| error.to_string())?;
        self.load_into(model).map(|_| ()).map_err(|error| error.to_string())
    }

    /// The model with the tensors of this adapter in place of its own.
    pub(super) fn load_into(&self, model: PeftModel) -> multimae::Result<PeftModel> {
        let names = parameters(&model).into_iter().map(|parameter| parameter.name);
        let missing = names.filter(|name| !self.holds(name)).collect();
        load(model, self.tensors.clone(), &AllowedKeys { missing, ..AllowedKeys::default() })
    }

    /// The tuned model: the backbone of a file or a run's folder with this adapter.
    ///
    /// # Errors
    /// If the backbone cannot be read, is another one than that of the adapter, or does not fit.
    pub fn on(&self, backbone: &WeightsSource, device: &Device) -> Result<SavedModel> {
        Ok(self.saved(self.load_into(self.before_tuning(backbone, device)?)?))
    }

    /// The model with the weights of the backbone, and its additions fresh.
    fn before_tuning(&self, backbone: &WeightsSource, device: &Device) -> Result<PeftModel> {
        let model = PeftModel::new(&self.card.model, &self.card.peft, device)?;
        let fresh = AllowedKeys { missing: self.backbone.fresh.clone(), ..AllowedKeys::default() };
        let (model, report) = load_pretrained(model, backbone, &fresh)?;
        self.check_backbone(&report.backbone, &report.path)?;
        Ok(model)
    }

    /// The weights of the backbone that the tuned model has, under its names, as they were before
    /// tuning.
    ///
    /// # Errors
    /// As [`Self::on`].
    pub fn backbone_weights(&self, backbone: &WeightsSource, device: &Device) -> Result<StateDict> {
        let model = self.before_tuning(backbone, device)?;
        let of_backbone = |(name, _): &(String, _)| {
            ParameterKind::of(name) == ParameterKind::Backbone
                && !self.backbone.fresh.contains(name)
        };
        Ok(state_dict(&model).into_iter().filter(of_backbone).collect())
    }

    /// # Errors
    /// If `found` is not the backbone of the adapter.
    pub(super) fn check_backbone(&self, found: &Backbone, path: &Path) -> Result<()> {
        if found.sha256 == self.backbone.sha256 {
            return Ok(());
        }
        Err(Error::SavedModel {
            path: path.to_owned(),
            problem: format!(
                "is not the backbone of this adapter: its weights have SHA-256 {}, the adapter was \
                 trained with {}",
                found.sha256, self.backbone.sha256
            ),
        })
    }

    pub(super) fn saved(&self, model: PeftModel) -> SavedModel {
        let (card, notes) = (self.card.clone(), self.notes.clone());
        SavedModel { model, card, notes, precision: Precision::default() }
    }

    /// Whether the linear layers of the backbone's blocks have the weights and biases that they had
    /// before tuning: then samples of several adapters can share a pass.
    #[must_use]
    pub fn keeps_linear_weights(&self) -> bool {
        let of_block = |name: &str| name.contains(".attn.") || name.contains(".mlp.");
        !self.tensors.keys().any(|name| {
            ParameterKind::of(name) == ParameterKind::Backbone
                && name.starts_with(ENCODER)
                && of_block(name)
        })
    }

    /// Bytes of its tensors.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.tensors.values().map(|data| data.as_bytes().len()).sum()
    }
}
