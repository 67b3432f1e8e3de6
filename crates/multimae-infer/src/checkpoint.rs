//! Reading the weights of a training checkpoint, without the rest of its state.

use std::path::{Path, PathBuf};

use fs_err as fs;
use multimae::burn::tensor::TensorData;
use multimae::state::StateDict;

use crate::Result;

/// The prefix of the names of numbered checkpoints; the step follows, with leading zeros.
pub const PREFIX: &str = "step-";
/// The extension of checkpoints.
pub const SUFFIX: &str = ".safetensors";
/// The name of the best checkpoint of a run.
pub const BEST: &str = "best.safetensors";
/// The part of a checkpoint that holds the model's parameters.
pub const MODEL: &str = "model";
/// The part of a checkpoint that holds averaged parameters.
pub const EMA: &str = "ema";

/// Lists the numbered checkpoints of a folder, oldest first; none if there is no such folder.
///
/// # Errors
/// If the folder cannot be listed.
pub fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            found.push(entry.path());
        }
    }
    // The step has a fixed number of digits, so names sort by it.
    found.sort();
    Ok(found)
}

/// Whether tensors are those of a checkpoint, whose names begin with the part they belong to.
#[must_use]
pub fn is_checkpoint(tensors: &StateDict) -> bool {
    tensors.keys().any(|name| name.starts_with(&format!("{MODEL}/")))
}

/// Returns the tensors of one part of a checkpoint, without the prefix.
#[must_use]
pub fn part(tensors: &StateDict, name: &str) -> StateDict {
    let prefix = format!("{name}/");
    tensors
        .iter()
        .filter_map(|(key, data)| Some((key.strip_prefix(&prefix)?.to_owned(), data.clone())))
        .collect()
}

/// Returns the weights of a checkpoint that prediction uses: the averaged ones where there are.
#[must_use]
pub fn evaluated_weights(tensors: &StateDict) -> StateDict {
    let mut weights = part(tensors, MODEL);
    for (name, data) in part(tensors, EMA) {
        if let Some(weight) = weights.get_mut(&name) {
            // Averages are flat.
            let shape = weight.shape().to_vec();
            *weight = TensorData::from_bytes_vec(data.as_bytes().to_vec(), shape, data.dtype());
        }
    }
    weights
}
