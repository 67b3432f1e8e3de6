//! Tensors as PyTorch pickles them: a view of a storage that lies outside of the pickle.
//!
//! The pickled call is `torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, ..)`, the
//! storage is named by `('storage', torch.FloatStorage, key, device, length)`.

use std::collections::HashMap;

pub(super) use burn::tensor::Bytes;
use burn::tensor::{BoolStore, DType, TensorData};

use super::Problem;
use super::graph::{Graph, Id, Node, Object};

/// PyTorch's own limit.
const MAX_RANK: usize = 64;
/// The limit of nested parameter wrappers.
const MAX_WRAPS: usize = 4;

/// A view of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorView<'a> {
    /// The name of the storage.
    pub(super) storage: &'a str,
    /// The type of the values.
    pub(super) dtype: DType,
    /// The index of its first value in the storage.
    pub(super) offset: usize,
    /// Its shape.
    pub(super) shape: Vec<usize>,
    /// The distance of neighbours, in values, for every axis.
    pub(super) strides: Vec<usize>,
    /// Bytes that the storage is said to have.
    storage_len: usize,
}

/// The tensor that a value is, if it is one.
pub(super) fn find<'a>(graph: &Graph<'a>, id: Id) -> Option<Result<TensorView<'a>, Problem>> {
    let mut id = id;
    for _ in 0..MAX_WRAPS {
        let Node::Object(object) = graph.node(id) else { return None };
        let version = match graph.global(object.class)? {
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                id = *graph.tuple(object.arguments)?.first()?;
                continue;
            }
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => 2,
            ("torch._utils", "_rebuild_tensor_v3") => 3,
            ("torch._utils", name) if name.starts_with("_rebuild") => {
                return Some(Err(format!("its kind of tensor ({name}) is not supported")));
            }
            _ => return None,
        };
        return Some(tensor_view(graph, object, version));
    }
    None
}

fn tensor_view<'a>(
    graph: &Graph<'a>,
    object: &Object,
    version: usize,
) -> Result<TensorView<'a>, Problem> {
    let arguments = graph.tuple(object.arguments).unwrap_or_default();
    let [storage, offset, shape, strides, ..] = *arguments else {
        return Err("too few things make it".to_owned());
    };
    let storage = Storage::read(graph, storage).ok_or("it has no storage")?;
    // Version 3 names the type beside an untyped storage.
    let dtype_name = match version {
        3 => arguments.get(6).and_then(|&dtype| graph.global(dtype)).map(|(_, name)| name),
        _ => Some(storage.class),
    };
    let dtype_name = dtype_name.ok_or("its type is missing")?;
    let dtype = dtype(dtype_name).ok_or_else(|| format!("its type {dtype_name} is unknown"))?;
    let unit = if version == 3 { 1 } else { dtype.size() };
    let sizes =
        |id: Id| graph.tuple(id)?.iter().map(|&n| graph.size(n)).collect::<Option<Vec<_>>>();
    let (Some(offset), Some(shape), Some(strides)) =
        (graph.size(offset), sizes(shape), sizes(strides))
    else {
        return Err("its offset, shape or strides make no sense".to_owned());
    };
    if shape.len() != strides.len() || shape.len() > MAX_RANK {
        return Err(format!("it has shape {shape:?} and strides {strides:?}"));
    }
    let storage_len = storage.len.checked_mul(unit).ok_or("its storage is too large")?;
    Ok(TensorView { storage: storage.key, dtype, offset, shape, strides, storage_len })
}

struct Storage<'a> {
    class: &'a str,
    key: &'a str,
    len: usize,
}

impl<'a> Storage<'a> {
    fn read(graph: &Graph<'a>, id: Id) -> Option<Self> {
        let Node::Persistent(id) = graph.node(id) else { return None };
        Self::named(graph, graph.tuple(*id)?)
    }

    /// The storage that a tuple names. Older files have a sixth entry, of a view, which is nothing
    /// for whole storages.
    fn named(graph: &Graph<'a>, tuple: &[Id]) -> Option<Self> {
        let [kind, class, key, _device, len, ref view @ ..] = *tuple else { return None };
        let whole = match *view {
            [] => true,
            [view] => matches!(graph.node(view), Node::None),
            _ => false,
        };
        if graph.str(kind)? != "storage" || !whole {
            return None;
        }
        let (_, class) = graph.global(class)?;
        Some(Self { class, key: graph.str(key)?, len: graph.size(len)? })
    }
}

/// The bytes of a value in every storage that a pickle names, by its key.
pub(super) fn storage_units<'a>(graph: &Graph<'a>) -> HashMap<&'a str, usize> {
    let unit = |tuple: &[Id]| {
        let storage = Storage::named(graph, tuple)?;
        let unit = match storage.class {
            "UntypedStorage" | "QInt8Storage" | "QUInt8Storage" => 1,
            "QInt32Storage" => 4,
            "ComplexFloatStorage" => 8,
            "ComplexDoubleStorage" => 16,
            class => dtype(class)?.size(),
        };
        Some((storage.key, unit))
    };
    graph.persistent_ids().filter_map(unit).collect()
}

/// The type of a storage class or of a `torch.dtype`.
fn dtype(name: &str) -> Option<DType> {
    Some(match name {
        "FloatStorage" | "float32" => DType::F32,
        "DoubleStorage" | "float64" => DType::F64,
        "HalfStorage" | "float16" => DType::F16,
        "BFloat16Storage" | "bfloat16" => DType::BF16,
        "LongStorage" | "int64" => DType::I64,
        "IntStorage" | "int32" => DType::I32,
        "ShortStorage" | "int16" => DType::I16,
        "CharStorage" | "int8" => DType::I8,
        "ByteStorage" | "uint8" => DType::U8,
        "BoolStorage" | "bool" => DType::Bool(BoolStore::Native),
        "uint16" => DType::U16,
        "uint32" => DType::U32,
        "uint64" => DType::U64,
        _ => return None,
    })
}

/// The storage class of a type; PyTorch has none for the newer ones.
pub(super) fn storage_class(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::F32 => "FloatStorage",
        DType::F64 => "DoubleStorage",
        DType::F16 => "HalfStorage",
        DType::BF16 => "BFloat16Storage",
        DType::I64 => "LongStorage",
        DType::I32 => "IntStorage",
        DType::I16 => "ShortStorage",
        DType::I8 => "CharStorage",
        DType::U8 => "ByteStorage",
        DType::Bool(BoolStore::Native) => "BoolStorage",
        _ => return None,
    })
}

impl TensorView<'_> {
    /// Bytes of the tensor, if that many are possible.
    pub(super) fn len(&self) -> Option<usize> {
        let count = self.shape.iter().try_fold(1_usize, |all, &n| all.checked_mul(n))?;
        count.checked_mul(self.dtype.size())
    }

    /// Copies the tensor out of its storage, in row-major order.
    ///
    /// # Errors
    /// If it is not inside of the storage, or has more values: then values would be repeated, and a
    /// small file could ask for any amount of memory.
    pub(super) fn copy(&self, storage: &[u8]) -> Result<TensorData, Problem> {
        if storage.len() < self.storage_len {
            let (has, needs) = (storage.len(), self.storage_len);
            return Err(format!("its storage has {has} of {needs} bytes"));
        }
        let bytes = gather(storage, self.dtype.size(), self.offset, &self.shape, &self.strides)?;
        data(Bytes::from_bytes_vec(bytes), &self.shape, self.dtype)
    }
}

/// A tensor of these bytes.
///
/// # Errors
/// If a boolean is neither 0 nor 1, or the length is another than the shape says.
pub(super) fn data(bytes: Bytes, shape: &[usize], dtype: DType) -> Result<TensorData, Problem> {
    if matches!(dtype, DType::Bool(_)) && bytes.iter().any(|&byte| byte > 1) {
        return Err("a boolean is neither 0 nor 1".to_owned());
    }
    TensorData::try_from_bytes(bytes, shape.to_vec(), dtype).map_err(|e| e.to_string())
}

/// Collects the values of a view in row-major order. All numbers but `width` count values.
///
/// # Errors
/// If the view is not inside of the storage, or has more values than it.
pub(super) fn gather(
    storage: &[u8],
    width: usize,
    offset: usize,
    shape: &[usize],
    strides: &[usize],
) -> Result<Vec<u8>, Problem> {
    if shape.contains(&0) {
        return Ok(Vec::new());
    }
    let values = storage.len() / width;
    let count = shape.iter().try_fold(1_usize, |all, &n| all.checked_mul(n));
    let last = shape
        .iter()
        .zip(strides)
        .try_fold(offset, |last, (&n, &stride)| last.checked_add((n - 1).checked_mul(stride)?));
    let fits = last.is_some_and(|last| last < values);
    let Some(count) = count.filter(|&count| fits && count <= values) else {
        return Err(format!(
            "shape {shape:?}, strides {strides:?} and offset {offset} do not fit its {values} values"
        ));
    };
    if strides == row_major(shape) {
        return Ok(storage[offset * width..(offset + count) * width].to_vec());
    }
    let mut bytes = Vec::with_capacity(count * width);
    let mut index = vec![0; shape.len()];
    for _ in 0..count {
        let at: usize = index.iter().zip(strides).map(|(i, stride)| i * stride).sum();
        let at = (offset + at) * width;
        bytes.extend_from_slice(&storage[at..at + width]);
        advance(&mut index, shape);
    }
    Ok(bytes)
}

/// The next index in row-major order; the first one again after the last.
fn advance(index: &mut [usize], shape: &[usize]) {
    for (i, &n) in index.iter_mut().zip(shape).rev() {
        *i += 1;
        if *i < n {
            return;
        }
        *i = 0;
    }
}

/// Strides of a tensor without gaps, last axis first in memory.
pub(super) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = column_major(&shape.iter().rev().copied().collect::<Vec<_>>());
    strides.reverse();
    strides
}

/// Strides of a tensor without gaps, first axis first in memory.
pub(super) fn column_major(shape: &[usize]) -> Vec<usize> {
    let mut stride = 1_usize;
    shape
        .iter()
        .map(|&n| {
            let this = stride;
            stride = stride.saturating_mul(n);
            this
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_copied_in_row_major_order() {
        let storage: Vec<u8> = (0..12).collect();
        let take = |offset, shape: &[usize], strides: &[usize]| {
            gather(&storage, 1, offset, shape, strides)
        };
        assert_eq!(take(0, &[3, 4], &[4, 1]).unwrap(), storage);
        assert_eq!(take(0, &[4, 3], &[1, 4]).unwrap(), [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
        assert_eq!(take(5, &[2, 2], &[4, 2]).unwrap(), [5, 7, 9, 11]);
        assert_eq!(take(7, &[], &[]).unwrap(), [7]);
        assert_eq!(take(900, &[0, 5], &[1, 1]).unwrap(), [0_u8; 0]);
        // Repeated values are fine where there are no more of them than stored ones.
        assert_eq!(take(3, &[2, 2], &[0, 1]).unwrap(), [3, 4, 3, 4]);
    }

    #[test]
    fn views_outside_of_the_storage_are_refused() {
        let take = |offset, shape: &[usize], strides: &[usize]| {
            gather(&[0; 24], 2, offset, shape, strides).unwrap_err()
        };
        take(0, &[13], &[1]);
        take(12, &[1], &[1]);
        take(1, &[3, 4], &[4, 1]);
        take(usize::MAX, &[2], &[1]);
        take(0, &[usize::MAX, usize::MAX], &[0, 0]);
        take(0, &[2, 2], &[usize::MAX, usize::MAX]);
        take(0, &[1 << 40], &[0]);
    }
}
