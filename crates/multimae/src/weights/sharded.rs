//! Weights in several files with an index, as Hugging Face writes large models:
//! `model.safetensors.index.json` or `pytorch_model.bin.index.json` has the file of every tensor.

use std::path::{Component, Path};

use bytes::Bytes;
use indexmap::{IndexMap, IndexSet};

use super::file::contents;
use super::format::{Format, Loaded, flat, parse_shard};
use crate::state::StateDict;
use crate::{Error, Result};

/// The key of the index that maps tensors to files.
const MAP: &str = "weight_map";
/// Some editors put it before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Longer indexes are taken for damage.
const LONGEST: usize = 64 << 20;
/// More files are taken for damage.
const MOST_FILES: usize = 1000;

/// Whether a file, or its beginning, is an index.
pub(super) fn is_index(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(4096)];
    let text = String::from_utf8_lossy(start);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with('{') && text.contains(&format!("\"{MAP}\""))
}

/// Reads the tensors of all files of an index.
///
/// # Errors
/// If the index or a file is damaged, or a file lacks a tensor that the index says it has.
pub(super) fn read(path: &Path, index: &Bytes, key: Option<&str>) -> Result<Loaded> {
    let problem = |problem: String| Error::WeightsFile { path: path.to_owned(), problem };
    if index.len() > LONGEST {
        return Err(problem(format!("an index of {} bytes, more than {LONGEST}", index.len())));
    }
    let text = index.strip_prefix(BYTE_ORDER_MARK).unwrap_or(index);
    let index: serde_json::Value = serde_json::from_slice(text)
        .map_err(|error| problem(format!("a damaged index of weights: {error}")))?;
    let map = index.get(MAP).and_then(serde_json::Value::as_object);
    let map = map.ok_or_else(|| problem(format!("an index of weights without a `{MAP}`")))?;
    let file = |(name, file): (&String, &serde_json::Value)| {
        let file = file.as_str().filter(|file| is_plain(file));
        file.map(|file| (name.clone(), file.to_owned()))
            .ok_or_else(|| problem(format!("the file of `{name}` is not a plain name")))
    };
    let map: IndexMap<String, String> = map.iter().map(file).collect::<Result<_>>()?;
    let files: IndexSet<&String> = map.values().collect();
    if files.len() > MOST_FILES {
        return Err(problem(format!("an index of {} files, more than {MOST_FILES}", files.len())));
    }
    let (mut weights, mut format) = (StateDict::new(), Format::Safetensors);
    let folder = path.parent().unwrap_or(Path::new(""));
    for file in files {
        let path = folder.join(file);
        let read = parse_shard(&contents(&path)?);
        let (tensors, own) = read.map_err(|problem| Error::WeightsFile { path, problem })?;
        weights.extend(tensors);
        format = own;
    }
    if let Some((name, file)) = map.iter().find(|(name, _)| !weights.contains_key(*name)) {
        return Err(problem(format!("`{name}` is not in {file}, as the index says")));
    }
    weights.retain(|name, _| map.contains_key(name));
    flat(weights, format, IndexMap::new(), key).map_err(problem)
}

/// Whether a name leads to a file in the same folder.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}
