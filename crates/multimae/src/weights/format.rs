//! Reading weights of any known format, told by the content of the file.

use std::fmt;
use std::path::Path;

use bytes::Bytes;
use indexmap::IndexMap;

use super::file::contents;
use super::pth::{self, Checkpoint};
use super::value::Value;
use super::zip::{self, Archive};
use super::{Problem, npz, safetensors};
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
    /// The tensors. They keep their type.
    pub weights: StateDict,
    /// The format of the file.
    pub format: Format,
    /// The metadata of a safetensors file.
    pub metadata: IndexMap<String, String>,
    /// The further content of a PyTorch checkpoint, for display.
    pub entries: IndexMap<String, Value>,
}

/// Reads weights from a file of any known format, whatever it is called.
///
/// # Errors
/// If the file cannot be read, is damaged or is of no known format.
pub fn read_weights(path: &Path) -> Result<Loaded> {
    parse_weights(&contents(path)?)
        .map_err(|problem| Error::WeightsFile { path: path.to_owned(), problem })
}

fn parse_weights(bytes: &Bytes) -> Result<Loaded, Problem> {
    let mut loaded = Loaded {
        weights: StateDict::new(),
        format: Format::Safetensors,
        metadata: IndexMap::new(),
        entries: IndexMap::new(),
    };
    if bytes.starts_with(zip::MAGIC) {
        let archive = Archive::open(bytes)?;
        if pth::root_of(&archive).is_none() && npz::is_npz(&archive) {
            loaded.format = Format::Npz;
            loaded.weights = npz::parse_archive(&archive)?;
        } else {
            loaded.format = Format::Pth;
            let Checkpoint { weights, entries } = pth::parse_archive(&archive, bytes.len())?;
            (loaded.weights, loaded.entries) = (weights, entries);
        }
    } else if pth::is_legacy(bytes) {
        return Err(pth::legacy());
    } else if looks_like_safetensors(bytes) {
        (loaded.weights, loaded.metadata) = safetensors::parse_safetensors(bytes)?;
    } else {
        return Err("no safetensors file, no PyTorch checkpoint and no npz file".to_owned());
    }
    Ok(loaded)
}

/// The length of the header, then the header, which is JSON.
fn looks_like_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
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
