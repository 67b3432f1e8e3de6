//! Reading weights of any known format, inferred from the content of the file.

use std::fmt;
use std::path::Path;

use burn::tensor::TensorData;
use bytes::Bytes;
use indexmap::IndexMap;

use super::file::contents;
use super::pth::{self, Checkpoint, Wanted};
use super::safetensors::{looks_like_safetensors, parse_safetensors};
use super::selection::{NamedDict, select};
use super::value::Value;
use super::zip::{self, Archive};
use super::{Problem, foreign, legacy, npz, sharded};
use crate::model::MultiMaeConfig;
use crate::state::StateDict;
use crate::{Error, Result};

/// The key of a model's configuration in the metadata of a safetensors file.
const CONFIG: &str = "config";

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// safetensors.
    Safetensors,
    /// A PyTorch checkpoint.
    Pth,
    /// NumPy arrays.
    Npz,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::Pth => "PyTorch checkpoint",
            Self::Npz => "NumPy npz",
        })
    }
}

/// The content of a file of weights.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The tensors. They keep their type; their names are without prefixes such as `module.`.
    pub weights: StateDict,
    /// The format of the file.
    pub format: Format,
    /// The metadata of a safetensors file.
    pub metadata: IndexMap<String, String>,
    /// The further content of a PyTorch checkpoint, for display.
    pub entries: IndexMap<String, Value>,
    /// Notes about the selection among several state dicts, and about stripped prefixes.
    pub notices: Vec<String>,
}

/// Reads weights from a file of any known format, whatever it is called. Of several state dicts
/// the preferred one is read.
///
/// # Errors
/// If the file cannot be read, is damaged, is of no known format, or holds several state dicts
/// that nothing distinguishes.
pub fn read_weights(path: &Path) -> Result<Loaded> {
    read_weights_of(path, None)
}

/// Reads the weights under a key of a file, such as `model_ema`; without a key as
/// [`read_weights`].
///
/// # Errors
/// As [`read_weights`], and if there is no state dict under the key.
pub fn read_weights_of(path: &Path, key: Option<&str>) -> Result<Loaded> {
    let problem = |problem| Error::WeightsFile { path: path.to_owned(), problem };
    if path.is_dir() {
        return Err(problem("a folder; give the file of weights in it".to_owned()));
    }
    let bytes = contents(path)?;
    if !looks_like_safetensors(&bytes) && sharded::is_index(&bytes) {
        return sharded::read(path, &bytes, key);
    }
    parse_weights(&bytes, key).map_err(problem)
}

pub(super) fn parse_weights(bytes: &Bytes, key: Option<&str>) -> Result<Loaded, Problem> {
    if looks_like_safetensors(bytes) {
        let (weights, metadata) = parse_safetensors(bytes)?;
        return flat(weights, Format::Safetensors, metadata, key);
    }
    if bytes.starts_with(zip::MAGIC) {
        let archive = Archive::open(bytes)?;
        if pth::root_of(&archive).is_none() && npz::is_npz(&archive) {
            return flat(npz::parse_archive(&archive)?, Format::Npz, IndexMap::new(), key);
        }
        return Ok(checkpoint(pth::parse_archive(&archive, bytes.len(), Wanted::of(key))?));
    }
    if legacy::is_legacy(bytes) {
        return legacy::parse(bytes, Wanted::of(key)).map(checkpoint);
    }
    Err(foreign::described(bytes))
}

/// All tensors of a file that is one of several, under their own names, and its format.
pub(super) fn parse_shard(bytes: &Bytes) -> Result<(StateDict, Format), Problem> {
    if looks_like_safetensors(bytes) {
        return Ok((parse_safetensors(bytes)?.0, Format::Safetensors));
    }
    if bytes.starts_with(zip::MAGIC) || legacy::is_legacy(bytes) {
        return Ok((pth::parse_pth(bytes, Wanted::Root)?.weights, Format::Pth));
    }
    Err(foreign::described(bytes))
}

fn checkpoint(checkpoint: Checkpoint) -> Loaded {
    let Checkpoint { weights, entries, notices } = checkpoint;
    Loaded { weights, format: Format::Pth, metadata: IndexMap::new(), entries, notices }
}

/// The selected tensors of a format that has no dicts in dicts.
pub(super) fn flat(
    weights: StateDict,
    format: Format,
    metadata: IndexMap<String, String>,
    key: Option<&str>,
) -> Result<Loaded, Problem> {
    let mut loaded =
        Loaded { weights, format, metadata, entries: IndexMap::new(), notices: Vec::new() };
    // The parts of a checkpoint of this program are its caller's to choose from.
    if loaded.weights.keys().any(|name| name.contains(PART)) && key.is_none_or(is_part) {
        return Ok(loaded);
    }
    if loaded.weights.is_empty() {
        return Ok(loaded);
    }
    let names = loaded.weights.keys().map(String::as_str).collect();
    let dict = NamedDict { paths: vec![String::new()], names };
    let selection = select(&[dict], key)?;
    let mut tensors: Vec<Option<TensorData>> = loaded.weights.into_values().map(Some).collect();
    let mut take = |(index, name): (usize, String)| Some((name, tensors.get_mut(index)?.take()?));
    loaded.weights = selection.tensors.into_iter().filter_map(&mut take).collect();
    loaded.notices = selection.notices;
    Ok(loaded)
}

/// Stands between the part of a checkpoint of this program and the name of a tensor.
const PART: &str = "/";

fn is_part(key: &str) -> bool {
    matches!(key, "model" | "ema")
}

/// Puts a model's configuration into the metadata of a safetensors file, for
/// [`read_model_config`].
///
/// # Errors
/// If the configuration cannot be written.
pub fn write_model_config(
    config: &MultiMaeConfig,
    metadata: &mut IndexMap<String, String>,
) -> Result<()> {
    let text = serde_json::to_string(config)
        .map_err(|e| Error::Config(format!("it cannot be written: {e}")))?;
    metadata.insert(CONFIG.to_owned(), text);
    Ok(())
}

/// The model's configuration in the metadata of a safetensors file, if it is there.
///
/// # Errors
/// If it is there but cannot be read.
pub fn read_model_config(metadata: &IndexMap<String, String>) -> Result<Option<MultiMaeConfig>> {
    let parse = |text: &String| {
        serde_json::from_str(text)
            .map_err(|e| Error::Config(format!("the `{CONFIG}` in the file's metadata: {e}")))
    };
    metadata.get(CONFIG).map(parse).transpose()
}
