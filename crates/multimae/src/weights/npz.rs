//! NumPy's `.npz`: a zip archive of `.npy` arrays, stored or deflated.
//!
//! An npy file is a header, the text of a Python dict, and the values. Source: the format's
//! description in NumPy's documentation (`numpy.lib.format`).

use std::path::Path;

use burn::tensor::{BoolStore, DType, TensorData};
use fs_err as fs;

use super::Problem;
use super::tensor::{Bytes, column_major, data, gather, row_major};
use super::zip::Archive;
use crate::state::StateDict;
use crate::{Error, Result};

const MAGIC: &[u8] = b"\x93NUMPY";
/// What the names of the entries end in, which is no part of an array's name.
const SUFFIX: &str = ".npy";
/// NumPy's own limit.
const MAX_RANK: usize = 64;

/// Reads all arrays of a file. They keep their type.
///
/// # Errors
/// If the file cannot be read, is damaged, or holds an array of something but little-endian
/// numbers and truth values.
pub fn read_npz(path: &Path) -> Result<StateDict> {
    let bytes = fs::read(path)?;
    let weights = Archive::open(&bytes).and_then(|archive| parse_archive(&archive));
    weights.map_err(|problem| Error::WeightsFile { path: path.to_owned(), problem })
}

/// Whether an archive holds arrays.
pub(super) fn is_npz(archive: &Archive<'_>) -> bool {
    archive.names().any(|name| name.ends_with(SUFFIX))
}

/// Reads all arrays of an archive.
pub(super) fn parse_archive(archive: &Archive<'_>) -> Result<StateDict, Problem> {
    let mut weights = StateDict::new();
    for entry in archive.names() {
        let Some(name) = entry.strip_suffix(SUFFIX) else {
            return Err(format!("`{entry}` in it is no array"));
        };
        let array = read_npy(&archive.read(entry)?);
        let array = array.map_err(|problem| format!("array `{name}`: {problem}"))?;
        weights.insert(name.to_owned(), array);
    }
    Ok(weights)
}

/// The array in the bytes of an npy file, in row-major order.
fn read_npy(bytes: &[u8]) -> Result<TensorData, Problem> {
    let (header, values) = split(bytes).ok_or("not in the npy format, or cut off")?;
    let header = Header::parse(header).ok_or_else(|| format!("its header is {header:?}"))?;
    let dtype = dtype(header.descr).ok_or_else(|| {
        format!("its type {:?} is not supported (little-endian numbers are)", header.descr)
    })?;
    let shape = &header.shape;
    let strides = if header.fortran_order { column_major(shape) } else { row_major(shape) };
    let values = gather(values, dtype.size(), 0, shape, &strides)?;
    data(Bytes::from_bytes_vec(values), shape, dtype)
}

/// Header and values.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (version, rest) = rest.split_at_checked(2)?;
    // Version 1 has a length of 2 bytes, later ones of 4.
    let (len, rest) = rest.split_at_checked(if version[0] == 1 { 2 } else { 4 })?;
    let len = len.iter().rev().fold(0_usize, |all, &byte| all << 8 | usize::from(byte));
    let (header, values) = rest.split_at_checked(len)?;
    Some((std::str::from_utf8(header).ok()?, values))
}

#[derive(Debug, PartialEq, Eq)]
struct Header<'a> {
    descr: &'a str,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl<'a> Header<'a> {
    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim_end().strip_prefix('{')?.strip_suffix('}')?;
        // The values are looked up by key: their order is not fixed.
        let value = |key: &str| {
            let (_, rest) = text.split_once(&format!("'{key}':"))?;
            Some(rest.trim_start())
        };
        let (descr, _) = value("descr")?.strip_prefix('\'')?.split_once('\'')?;
        let (shape, _) = value("shape")?.strip_prefix('(')?.split_once(')')?;
        let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape = sizes.map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>()?;
        let order = value("fortran_order")?;
        let fortran_order = order.starts_with("True");
        let known = fortran_order || order.starts_with("False");
        (known && shape.len() <= MAX_RANK).then_some(Self { descr, fortran_order, shape })
    }
}

fn dtype(descr: &str) -> Option<DType> {
    Some(match descr {
        "<f8" => DType::F64,
        "<f4" => DType::F32,
        "<f2" => DType::F16,
        "<i8" => DType::I64,
        "<i4" => DType::I32,
        "<i2" => DType::I16,
        "|i1" => DType::I8,
        "<u8" => DType::U64,
        "<u4" => DType::U32,
        "<u2" => DType::U16,
        "|u1" => DType::U8,
        "|b1" => DType::Bool(BoolStore::Native),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, values: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(values);
        bytes
    }

    #[test]
    fn both_orders_are_read() {
        let rows = npy(
            "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }\n",
            &[1, 2, 3, 4, 5, 6],
        );
        let columns =
            npy("{'shape': (2, 3), 'fortran_order': True, 'descr': '|u1'}", &[1, 4, 2, 5, 3, 6]);
        assert_eq!(read_npy(&rows).unwrap(), read_npy(&columns).unwrap());
        let scalar = npy("{'descr': '<i2', 'fortran_order': False, 'shape': ()}", &[1, 2]);
        assert_eq!(read_npy(&scalar).unwrap().shape().as_slice(), [0_usize; 0]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |header: &str, values: &[u8]| read_npy(&npy(header, values)).unwrap_err();
        let objects = error("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"\x80");
        assert!(objects.contains("|O"), "{objects}");
        let big = "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999)}";
        assert!(error(big, &[0; 8]).contains("do not fit"));
        assert!(error("{'descr': '<f4', 'shape': (1,)}", &[0; 4]).contains("header"));
        let ground_truth = error("{'descr': '|b1', 'fortran_order': False, 'shape': (1,)}", &[2]);
        assert!(ground_truth.contains("truth"), "{ground_truth}");
    }
}
