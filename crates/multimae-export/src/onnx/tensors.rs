//! Constants of a graph: inside its file, or a part of the weights' file beside it.

use std::collections::HashMap;

use half::f16;
use multimae::burn::tensor::{DType, TensorData};

use super::graph::elem_type;
use super::proto::{StringStringEntryProto, TensorProto, data_type};
use crate::{Error, Result};

/// The place of a weight's values in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Bytes before them.
    pub(crate) offset: usize,
    /// Their bytes.
    pub(crate) length: usize,
}

/// The storage of the weights.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Storage<'a> {
    /// In the graph's file, as 32-bit numbers.
    Inside,
    /// In the graph's file, as 16-bit numbers.
    Half,
    /// In a safetensors file beside it.
    Beside {
        /// The name of the file.
        file: &'a str,
        /// The places of the weights in it.
        spans: &'a HashMap<String, Span>,
    },
}

impl Storage<'_> {
    /// Whether weights have 16 bits.
    pub(crate) fn is_half(self) -> bool {
        matches!(self, Self::Half)
    }

    /// A weight as a constant.
    ///
    /// # Errors
    /// If its type is not one of a graph.
    pub(crate) fn weight(self, name: &str, data: &TensorData) -> Result<TensorProto> {
        match self {
            Self::Inside => tensor(name, data),
            Self::Half => tensor(name, &halved(data)),
            Self::Beside { file, spans } => {
                let span = spans.get(name).ok_or_else(|| missing(name, file))?;
                let entry = |key: &str, value: String| StringStringEntryProto {
                    key: key.to_owned(),
                    value,
                };
                Ok(TensorProto {
                    dims: dims(data),
                    data_type: elem_type(data).ok_or_else(|| unknown(name, data))?,
                    name: name.to_owned(),
                    raw_data: None,
                    external_data: vec![
                        entry("location", file.to_owned()),
                        entry("offset", span.offset.to_string()),
                        entry("length", span.length.to_string()),
                    ],
                    data_location: 1,
                })
            }
        }
    }
}

/// Data as a constant inside the file.
///
/// # Errors
/// If its type is not one of a graph.
pub(crate) fn tensor(name: &str, data: &TensorData) -> Result<TensorProto> {
    Ok(TensorProto {
        dims: dims(data),
        data_type: elem_type(data).ok_or_else(|| unknown(name, data))?,
        name: name.to_owned(),
        // The engine keeps numbers in the order of the processor; all that we build for are little-endian.
        raw_data: Some(data.as_bytes().to_vec()),
        external_data: Vec::new(),
        data_location: 0,
    })
}

/// Real numbers rounded to 16 bits; numbers too large for them stay finite.
pub(crate) fn halved(data: &TensorData) -> TensorData {
    if data.dtype() != DType::F32 {
        return data.clone();
    }
    let (least, largest) = (f16::MIN.to_f32(), f16::MAX.to_f32());
    let rounded: Vec<f16> =
        data.iter::<f32>().map(|value| f16::from_f32(value.clamp(least, largest))).collect();
    TensorData::new(rounded, data.shape().clone())
}

fn dims(data: &TensorData) -> Vec<i64> {
    data.shape().iter().map(|extent| *extent as i64).collect()
}

fn unknown(name: &str, data: &TensorData) -> Error {
    Error::Request(format!(
        "weight `{name}` has the type {:?}, which is none of ours",
        data.dtype()
    ))
}

fn missing(name: &str, file: &str) -> Error {
    Error::Request(format!("weight `{name}` is not in {file}"))
}

/// The places of all tensors in the bytes of a safetensors file.
///
/// # Errors
/// If the bytes are of no such file.
pub(crate) fn spans(bytes: &[u8]) -> Result<HashMap<String, Span>> {
    let damaged = || Error::Request("the weights that were written are no safetensors".to_owned());
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
    let header = rest.get(..length).ok_or_else(damaged)?;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(header).map_err(|_| damaged())?;
    let start = 8 + length;
    let tensors = header.iter().filter(|(name, _)| *name != "__metadata__");
    let span = |(name, tensor): (&String, &serde_json::Value)| {
        let at = |index: usize| tensor["data_offsets"][index].as_u64().map(|at| at as usize);
        let (begin, end) = (at(0).ok_or_else(damaged)?, at(1).ok_or_else(damaged)?);
        Ok((name.clone(), Span { offset: start + begin, length: end - begin }))
    };
    tensors.map(span).collect()
}

/// The element type of 32-bit real numbers.
pub(crate) const FLOAT: i32 = data_type::FLOAT;
