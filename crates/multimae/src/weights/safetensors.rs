//! The safetensors format.

use std::collections::HashMap;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use fs_err as fs;
use indexmap::IndexMap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::state::StateDict;
use crate::{Error, Result};

/// Reads all tensors and the metadata of a file. Tensors keep their type; half precision is
/// widened when they are loaded into a model.
///
/// # Errors
/// If the file cannot be read or is damaged.
pub fn read_safetensors(path: &Path) -> Result<(StateDict, IndexMap<String, String>)> {
    let bytes = fs::read(path)?;
    let error = |problem: String| Error::WeightsFile { path: path.to_owned(), problem };
    let (_, header) = SafeTensors::read_metadata(&bytes)
        .map_err(|e| error(format!("not a safetensors file, or damaged: {e}")))?;
    let metadata: IndexMap<String, String> = header
        .metadata()
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|e| error(format!("not a safetensors file, or damaged: {e}")))?;
    let mut names = file.names();
    names.sort_unstable();
    let mut tensors = StateDict::new();
    for name in names {
        let view = file.tensor(name).map_err(|e| error(format!("tensor `{name}`: {e}")))?;
        let data = to_data(&view)
            .ok_or_else(|| error(format!("tensor `{name}` has type {:?}", view.dtype())))?;
        tensors.insert(name.to_owned(), data);
    }
    Ok((tensors, metadata))
}

fn to_data(view: &TensorView<'_>) -> Option<TensorData> {
    let dtype = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::U8 => DType::U8,
        // One byte each, 0 or 1.
        Dtype::BOOL => DType::U8,
        _ => return None,
    };
    Some(TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype))
}

/// The bytes of a file with these tensors and this metadata; writing them in one piece is the
/// caller's task.
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
            let dtype = match data.dtype() {
                DType::F32 => Dtype::F32,
                DType::F64 => Dtype::F64,
                DType::F16 => Dtype::F16,
                DType::BF16 => Dtype::BF16,
                DType::I64 => Dtype::I64,
                DType::I32 => Dtype::I32,
                DType::U8 => Dtype::U8,
                other => {
                    return Err(Error::Weights(format!(
                        "`{name}` has type {other:?}, which safetensors does not hold"
                    )));
                }
            };
            TensorView::new(dtype, data.shape().to_vec(), data.as_bytes())
                .map(|view| (name.as_str(), view))
                .map_err(|e| Error::Weights(format!("`{name}`: {e}")))
        })
        .collect::<Result<Vec<_>>>()?;
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let metadata = (!metadata.is_empty()).then_some(metadata);
    safetensors::serialize(views, metadata).map_err(|e| Error::Weights(format!("safetensors: {e}")))
}
