//! The safetensors format.

use std::io::Read as _;
use std::path::Path;

use burn::tensor::{AllocationProperty, BoolStore, DType, TensorData};
use bytes::Bytes;
use fs_err as fs;
use indexmap::IndexMap;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::file::contents;
use super::{Problem, foreign, legacy, metadata, sharded, tensor};
use crate::state::StateDict;
use crate::{Error, Result};

/// Reads all tensors and the metadata of a file. Tensors keep their type; half precision is
/// widened when they are loaded into a model.
///
/// # Errors
/// If the file cannot be read or is damaged.
pub fn read_safetensors(path: &Path) -> Result<(StateDict, IndexMap<String, String>)> {
    let problem = |problem| Error::WeightsFile { path: path.to_owned(), problem };
    if path.is_dir() {
        return Err(problem("a folder; give the .safetensors file in it".to_owned()));
    }
    parse_safetensors(&contents(path)?).map_err(problem)
}

/// Reads the content of a file that came another way; `path` names it in errors.
///
/// # Errors
/// As [`read_safetensors`].
pub fn safetensors_from(
    content: Vec<u8>,
    path: &Path,
) -> Result<(StateDict, IndexMap<String, String>)> {
    parse_safetensors(&Bytes::from(content))
        .map_err(|problem| Error::WeightsFile { path: path.to_owned(), problem })
}

/// Longer headers are taken for damage.
const LONGEST_HEADER: u64 = 100 << 20;

/// Whether a file, or its beginning, is of this format: the length of the header, then the header,
/// which is JSON.
pub(super) fn looks_like_safetensors(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else { return false };
    rest.first() == Some(&b'{') && (2..=LONGEST_HEADER).contains(&u64::from_le_bytes(*length))
}

/// Bytes of a file from which its kind is inferred.
const BEGINNING: u64 = 4096;

/// Reads the metadata of a safetensors file, and no tensor. Files of another format have none.
///
/// # Errors
/// If the file cannot be read, its beginning is damaged, or it certainly holds no weights.
pub fn read_metadata(path: &Path) -> Result<IndexMap<String, String>> {
    let problem = |problem: String| Error::WeightsFile { path: path.to_owned(), problem };
    if path.is_dir() {
        return Err(problem("a folder; give the .safetensors file in it".to_owned()));
    }
    let mut file = fs::File::open(path)?;
    let mut start = Vec::new();
    (&mut file).take(BEGINNING).read_to_end(&mut start)?;
    if let Some(kind) = foreign::known(&start).filter(|_| !sharded::is_index(&start)) {
        return Err(problem(kind));
    }
    let Some((length, rest)) =
        start.split_first_chunk::<8>().filter(|(_, r)| r.first() == Some(&b'{'))
    else {
        return Ok(IndexMap::new());
    };
    let length = u64::from_le_bytes(*length);
    if length > LONGEST_HEADER {
        return Err(problem("not a safetensors file, or damaged".to_owned()));
    }
    // The length is only claimed: no more is allocated than the file has.
    let mut header = rest.to_vec();
    header.truncate(length as usize);
    file.take(length - header.len() as u64).read_to_end(&mut header)?;
    if (header.len() as u64) < length {
        let text = "a damaged safetensors file: it ends within its header; copy it again";
        return Err(problem(text.to_owned()));
    }
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&header)
        .map_err(|e| problem(format!("not a safetensors file, or damaged: {e}")))?;
    let metadata = header.get("__metadata__").and_then(|metadata| metadata.as_object());
    let stored = metadata.into_iter().flatten();
    Ok(metadata::entries(stored.filter_map(|(key, value)| Some((key, value.as_str()?)))))
}

/// Reads the bytes of a file; the tensors stay where these are in memory.
///
/// # Errors
/// As [`read_safetensors`].
pub(super) fn parse_safetensors(
    bytes: &Bytes,
) -> Result<(StateDict, IndexMap<String, String>), Problem> {
    if let Some(kind) = foreign::known(bytes) {
        return Err(kind);
    }
    let damaged = |e| damaged(bytes, &e);
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let stored = header.metadata().iter().flatten();
    let metadata = metadata::entries(stored.map(|(key, value)| (key, value.as_str())));
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut names = file.names();
    names.sort_unstable();
    let mut tensors = StateDict::new();
    for name in names {
        let read =
            file.tensor(name).map_err(|e| e.to_string()).and_then(|view| to_data(&view, bytes));
        let data = read.map_err(|problem| format!("tensor `{name}`: {problem}"))?;
        tensors.insert(name.to_owned(), data);
    }
    Ok((tensors, metadata))
}

/// The problem with a file that cannot be read: a file of another format, or damage.
fn damaged(bytes: &[u8], error: &SafeTensorError) -> Problem {
    if bytes.starts_with(b"PK") || legacy::is_legacy(bytes) {
        return "a PyTorch checkpoint or another archive where a .safetensors file of this program \
                is expected"
            .to_owned();
    }
    format!("not a safetensors file, or damaged: {error}")
}

/// The types that both sides know.
const DTYPES: [(Dtype, DType); 13] = [
    (Dtype::F64, DType::F64),
    (Dtype::F32, DType::F32),
    (Dtype::F16, DType::F16),
    (Dtype::BF16, DType::BF16),
    (Dtype::I64, DType::I64),
    (Dtype::I32, DType::I32),
    (Dtype::I16, DType::I16),
    (Dtype::I8, DType::I8),
    (Dtype::U64, DType::U64),
    (Dtype::U32, DType::U32),
    (Dtype::U16, DType::U16),
    (Dtype::U8, DType::U8),
    (Dtype::BOOL, DType::Bool(BoolStore::Native)),
];

fn to_data(view: &TensorView<'_>, file: &Bytes) -> Result<TensorData, Problem> {
    let known = DTYPES.iter().find(|(theirs, _)| *theirs == view.dtype());
    let (_, dtype) = known.ok_or_else(|| format!("its type is {:?}", view.dtype()))?;
    // Headers that are no multiple of 8 leave tensors where numbers may not lie.
    let aligned = view.data().as_ptr().align_offset(dtype.size()) == 0;
    let bytes = if aligned { file.slice_ref(view.data()) } else { view.data().to_vec().into() };
    let bytes = tensor::Bytes::from_shared(bytes, AllocationProperty::File);
    tensor::data(bytes, view.shape(), *dtype)
}

/// The bytes of a file with these tensors and this metadata, which is stored under names of ours beside
/// `format: pt`; writing them in one piece is the caller's task.
///
/// # Errors
/// If a tensor has a type that the format does not know.
pub fn write_safetensors(
    tensors: &StateDict,
    metadata: &IndexMap<String, String>,
) -> Result<Vec<u8>> {
    let views = tensors
        .iter()
        .map(|(name, data)| {
            let known = DTYPES.iter().find(|(_, ours)| *ours == data.dtype());
            let (dtype, _) = known.ok_or_else(|| {
                Error::Weights(format!(
                    "`{name}` has type {:?}, which safetensors does not hold",
                    data.dtype()
                ))
            })?;
            TensorView::new(*dtype, data.shape().to_vec(), data.as_bytes())
                .map(|view| (name.as_str(), view))
                .map_err(|e| Error::Weights(format!("`{name}`: {e}")))
        })
        .collect::<Result<Vec<_>>>()?;
    safetensors::serialize(views, Some(metadata::stored(metadata)))
        .map_err(|e| Error::Weights(format!("safetensors: {e}")))
}
