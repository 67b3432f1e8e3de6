//! The pre-trained weights that a model started from.

use std::path::Path;

use fs_err as fs;
use multimae::peft::PeftModel;
use multimae::state::{StateDict, state_dict};
use multimae::tuning::ParameterKind;
use multimae_io::atomic::write_atomically;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::problem;
use crate::Result;

/// Position tables follow from a model's size, so they do not tell backbones apart.
pub(super) const POSITIONS: &str = ".pos_emb";

/// The identity of a backbone: the weights of input adapters, tokens and encoder before training.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backbone {
    /// SHA-256 over name, shape and values of its tensors in the order of their names, position
    /// tables left out, in hexadecimal digits.
    pub sha256: String,
    /// Parameters of the model that the backbone does not have and that began fresh.
    pub fresh: Vec<String>,
}

impl Backbone {
    /// The backbone that a model has. `missing` are parameters that are not of it.
    #[must_use]
    pub fn of(model: &PeftModel, missing: &[String]) -> Self {
        let weights = state_dict(model);
        let backbone = |name: &&String| ParameterKind::of(name) == ParameterKind::Backbone;
        let fresh: Vec<String> = missing.iter().filter(backbone).cloned().collect();
        let own =
            |name: &&String| backbone(name) && !name.ends_with(POSITIONS) && !fresh.contains(name);
        let mut names: Vec<&String> = weights.keys().filter(own).collect();
        names.sort_unstable();
        Self { sha256: hash(&weights, &names), fresh }
    }

    /// Writes it beside a run, which may be resumed when the weights are no longer there.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text =
            serde_json::to_string_pretty(self).map_err(|error| problem(path, error.to_string()))?;
        Ok(write_atomically(path, text.as_bytes())?)
    }

    /// Reads the entries that [`Self::write`] wrote.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)?;
        serde_json::from_str(&text).map_err(|error| problem(path, error.to_string()))
    }
}

/// SHA-256 over name, shape and values of all weights of a model in the order of their names, in
/// hexadecimal digits: with merged or separate adapters, other ones.
#[must_use]
pub fn weights_sha256(model: &PeftModel) -> String {
    let weights = state_dict(model);
    let mut names: Vec<&String> = weights.keys().collect();
    names.sort_unstable();
    hash(&weights, &names)
}

fn hash(weights: &StateDict, names: &[&String]) -> String {
    let mut hasher = Sha256::new();
    for &name in names {
        let data = &weights[name];
        let shape: Vec<String> = data.shape().iter().map(ToString::to_string).collect();
        hasher.update(format!("{name} [{}]\n", shape.join(", ")));
        let values: Vec<u8> = data.iter::<f32>().flat_map(f32::to_le_bytes).collect();
        hasher.update(values);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
