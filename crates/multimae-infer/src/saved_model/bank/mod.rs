//! Several adapters on one backbone.

mod backbones;
mod passes;

use std::path::Path;
use std::sync::Arc;

use backbones::SharedBackbone;
use indexmap::IndexMap;
use multimae::burn::tensor::Device;
use multimae::peft::PeftModel;
use multimae::state::{AllowedKeys, prepare};
use multimae_kernels::precision::Precision;
use multimae_kernels::prepared::PreparedWeights;

use super::{Adapter, ModelCard, SavedModel};
use crate::saved_model::load_pretrained;
use crate::weights_source::WeightsSource;
use crate::{Error, Result};

/// A backbone and adapters by name. The adapters share the backbone's weights: another one costs
/// its own size, with those of the backbone's tensors that it changes.
///
/// A clone is cheap and shares all weights. Adapters that are added to the clone or removed from it
/// leave the original as it is, so that predictions continue meanwhile.
#[derive(Debug, Clone)]
pub struct AdapterBank {
    source: WeightsSource,
    device: Device,
    precision: Precision,
    adapters: IndexMap<String, Arc<Entry>>,
    /// The backbone as the file has it, once per way in which adapters use it.
    backbones: Vec<Arc<SharedBackbone>>,
    /// Of all adapters, and of banks that this one was made of.
    prepared: PreparedWeights,
}

#[derive(Debug, Clone)]
struct Entry {
    saved: SavedModel,
    /// That of `saved`, for other threads.
    card: Arc<ModelCard>,
    keeps_linear_weights: bool,
    backbone: Arc<SharedBackbone>,
}

impl AdapterBank {
    /// A bank without adapters on the backbone of a file or a run's folder.
    #[must_use]
    pub fn new(source: impl Into<WeightsSource>, device: Device) -> Self {
        Self {
            source: source.into(),
            device,
            precision: Precision::default(),
            adapters: IndexMap::new(),
            backbones: Vec::new(),
            prepared: PreparedWeights::new(),
        }
    }

    /// The same bank with predictions in another precision than 32 bits, which its device must
    /// [have](Precision::check).
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        for entry in self.adapters.values_mut() {
            Arc::make_mut(entry).saved.precision = precision;
        }
        self
    }

    /// The names of the adapters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.adapters.keys().map(String::as_str)
    }

    /// The model of an adapter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SavedModel> {
        self.adapters.get(name).map(|entry| &entry.saved)
    }

    /// The card of an adapter.
    #[must_use]
    pub fn card(&self, name: &str) -> Option<&Arc<ModelCard>> {
        self.adapters.get(name).map(|entry| &entry.card)
    }

    /// Adds an adapter, in place of one of the same name. Backbones that no adapter uses any more
    /// are freed.
    ///
    /// # Errors
    /// If it cannot be read, or is for another backbone; the bank is as it was then.
    pub fn add(&mut self, name: &str, path: &Path) -> Result<()> {
        let adapter = Adapter::load(path)?;
        let (model, backbone) = self.on_backbone(&adapter)?;
        let saved = adapter.saved(adapter.load_into(model)?).with_precision(self.precision);
        prepare(&saved.model, &self.prepared);
        let entry = Entry {
            card: Arc::new(adapter.card.clone()),
            keeps_linear_weights: adapter.keeps_linear_weights(),
            saved,
            backbone: Arc::clone(&backbone),
        };
        if !self.backbones.iter().any(|shared| Arc::ptr_eq(shared, &backbone)) {
            self.backbones.push(backbone);
        }
        self.adapters.insert(name.to_owned(), Arc::new(entry));
        self.free_unused();
        Ok(())
    }

    /// Takes an adapter out, and the backbone with it if no other adapter uses it. `false` if there
    /// is none of the name.
    pub fn remove(&mut self, name: &str) -> bool {
        let was_there = self.adapters.shift_remove(name).is_some();
        self.free_unused();
        was_there
    }

    /// The number of backbones in memory.
    #[must_use]
    pub fn backbones(&self) -> usize {
        self.backbones.len()
    }

    fn free_unused(&mut self) {
        let Self { backbones, adapters, .. } = self;
        backbones
            .retain(|shared| adapters.values().any(|entry| Arc::ptr_eq(&entry.backbone, shared)));
    }

    /// The adapter's model with the weights of the backbone, which are read once while an adapter
    /// uses them.
    fn on_backbone(&self, adapter: &Adapter) -> Result<(PeftModel, Arc<SharedBackbone>)> {
        let card = &adapter.card;
        let model = PeftModel::new(&card.model, &card.peft, &self.device)?;
        if let Some(shared) = self.backbones.iter().find(|shared| shared.is_that_of(adapter)) {
            return Ok((shared.under(model), Arc::clone(shared)));
        }
        let fresh =
            AllowedKeys { missing: adapter.backbone.fresh.clone(), ..AllowedKeys::default() };
        let (model, report) = load_pretrained(model, &self.source, &fresh)?;
        adapter.check_backbone(&report.backbone, &report.path)?;
        let blocks = self.backbones.iter().find(|shared| shared.has_blocks_of(&card.model));
        let model = match blocks {
            Some(shared) => shared.blocks_under(model),
            None => model,
        };
        let shared = Arc::new(SharedBackbone::of(&model, adapter));
        Ok((model, shared))
    }

    /// The error of a name that no adapter has.
    pub(crate) fn unknown(&self, name: &str) -> Error {
        let names: Vec<&str> = self.names().collect();
        Error::Prediction(format!("there is no adapter `{name}`; there are {}", names.join(", ")))
    }
}

#[cfg(test)]
mod tests;
