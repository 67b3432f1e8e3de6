//! NumPy's `.npz`: a zip archive of `.npy` arrays, stored or deflated.
//!
//! An npy file is a header, the text of a Python dict, and the values. The `npyz` crate reads the
//! header; the values are copied as bytes, whatever their type. Source: the format's description in
//! NumPy's documentation (`numpy.lib.format`).

use std::path::Path;

use burn::tensor::{BoolStore, DType, TensorData};
use fs_err as fs;
use multimae_io::npy;
use npyz::{Endianness, NpyHeader, Order, TypeChar};

use super::Problem;
use super::tensor::{Bytes, column_major, data, gather, row_major};
use super::zip::Archive;
use crate::state::StateDict;
use crate::{Error, Result};

/// The suffix of the entries' names, which is no part of an array's name.
const SUFFIX: &str = ".npy";
/// NumPy's own limit.
const MAX_RANK: usize = 64;

/// Reads all arrays of a file. They keep their type.
///
/// # Errors
/// If the file cannot be read, is damaged, or holds an array of something but little-endian numbers
/// and booleans.
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
    npy::check_header(bytes)?;
    let mut values = bytes;
    let header =
        NpyHeader::from_reader(&mut values).map_err(|error| format!("its header: {error}"))?;
    let dtype = dtype(&header.dtype()).ok_or_else(|| {
        let descr = header.dtype().descr();
        format!("its type {descr} is not supported (little-endian numbers and booleans are)")
    })?;
    let shape = header.shape().iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<_>>>();
    let shape = shape.filter(|shape| shape.len() <= MAX_RANK);
    let shape = shape.ok_or_else(|| format!("its shape {:?} is impossible", header.shape()))?;
    let strides = match header.order() {
        Order::Fortran => column_major(&shape),
        Order::C => row_major(&shape),
    };
    let values = gather(values, dtype.size(), 0, &shape, &strides)?;
    data(Bytes::from_bytes_vec(values), &shape, dtype)
}

fn dtype(stored: &npyz::DType) -> Option<DType> {
    let npyz::DType::Plain(stored) = stored else { return None };
    if stored.endianness() == Endianness::Big {
        return None;
    }
    Some(match (stored.type_char(), stored.size_field()) {
        (TypeChar::Float, 8) => DType::F64,
        (TypeChar::Float, 4) => DType::F32,
        (TypeChar::Float, 2) => DType::F16,
        (TypeChar::Int, 8) => DType::I64,
        (TypeChar::Int, 4) => DType::I32,
        (TypeChar::Int, 2) => DType::I16,
        (TypeChar::Int, 1) => DType::I8,
        (TypeChar::Uint, 8) => DType::U64,
        (TypeChar::Uint, 4) => DType::U32,
        (TypeChar::Uint, 2) => DType::U16,
        (TypeChar::Uint, 1) => DType::U8,
        (TypeChar::Bool, 1) => DType::Bool(BoolStore::Native),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, values: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
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
        let empty =
            "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 99999999999, 99999999999)}";
        assert_eq!(read_npy(&npy(empty, &[])).unwrap().num_elements(), 0);
        assert!(error("{'descr': '<f4', 'shape': (1,)}", &[0; 4]).contains("header"));
        let record =
            error("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}", &[0; 4]);
        assert!(record.contains("not supported"), "{record}");
        let big_endian = error("{'descr': '>f4', 'fortran_order': False, 'shape': ()}", &[0; 4]);
        assert!(big_endian.contains(">f4"), "{big_endian}");
        let boolean = error("{'descr': '|b1', 'fortran_order': False, 'shape': (1,)}", &[2]);
        assert!(boolean.contains("neither 0 nor 1"), "{boolean}");
    }

    #[test]
    fn headers_that_take_long_are_refused() {
        for header in ["{".repeat(40), "[".repeat(60_000), " ".repeat(20_000)] {
            let problem = read_npy(&npy(&header, &[])).unwrap_err();
            assert!(problem.contains("brackets"), "{problem}");
        }
    }
}
