//! Numeric arrays in MATLAB's v5 files.
//!
//! A file is a header of 128 bytes and a row of elements: a tag with a type and a size, then the
//! data. An array is an element of elements (flags, dimensions, name, values), and may be
//! compressed as a whole. Layout: "MAT-File Format", The MathWorks. Cells, structures, characters
//! and sparse arrays are stepped over.

use std::io::Read;
use std::path::Path;

use flate2::read::ZlibDecoder;

use super::{Error, Result};

const HEADER: usize = 128;
/// The most that one compressed element may become: the files read here hold some thousand numbers.
const MAX_INFLATED: u64 = 64 << 20;

pub(crate) const MI_UINT32: u32 = 6;
pub(crate) const MI_INT32: u32 = 5;
pub(crate) const MI_INT8: u32 = 1;
pub(crate) const MI_MATRIX: u32 = 14;
pub(crate) const MI_COMPRESSED: u32 = 15;

/// The classes of numeric arrays, from double to uint64.
const NUMERIC: std::ops::RangeInclusive<u8> = 6..=15;

pub(crate) type Problem = String;

/// The values of the numeric array `name`, in MATLAB's order (first index fastest).
///
/// # Errors
/// [`Error::Io`]; [`Error::Input`] if the file is damaged, not of this format, or has no such array.
pub(super) fn read_numbers(path: &Path, name: &str) -> Result<Vec<f64>> {
    let bytes = fs_err::read(path)?;
    find(&bytes, name).map_err(|problem| Error::Input { path: path.to_owned(), problem })
}

/// Looks for an array in the bytes of a file, and drops it.
#[cfg(fuzzing)]
pub fn read_all(bytes: &[u8], name: &str) {
    let _ = find(bytes, name);
}

fn find(bytes: &[u8], wanted: &str) -> std::result::Result<Vec<f64>, Problem> {
    let (order, mut rest) = open(bytes)?;
    let mut seen = Vec::new();
    while !rest.is_empty() {
        let element = order.element(&mut rest)?;
        let array = match element.kind {
            MI_COMPRESSED => order.array(&inflate(element.data, order, MAX_INFLATED)?)?,
            MI_MATRIX => order.array(element.data)?,
            _ => continue,
        };
        match array {
            Array { name, values: Some(values) } if name == wanted => return Ok(values),
            Array { name, .. } => seen.push(format!("`{name}`")),
        }
    }
    let seen = if seen.is_empty() { "no array".to_owned() } else { seen.join(", ") };
    Err(format!("it has no numeric array `{wanted}`, but {seen}"))
}

/// The order of bytes, and the elements behind the header.
pub(crate) fn open(bytes: &[u8]) -> std::result::Result<(Order, &[u8]), Problem> {
    if bytes.starts_with(b"MATLAB 7.3") {
        return Err(
            "it is a MATLAB v7.3 file, and a v5 file is expected; save it with `-v7`".into()
        );
    }
    let order = match bytes.get(126..HEADER) {
        Some(b"IM") => Order::Little,
        Some(b"MI") => Order::Big,
        _ => return Err("it is not a MATLAB v5 file, or is damaged".to_owned()),
    };
    Ok((order, &bytes[HEADER..]))
}

/// The matrix inside a compressed element.
pub(crate) fn inflate(
    data: &[u8],
    order: Order,
    most: u64,
) -> std::result::Result<Vec<u8>, Problem> {
    let mut inflated = Vec::new();
    ZlibDecoder::new(data)
        .take(most)
        .read_to_end(&mut inflated)
        .map_err(|error| format!("a compressed array is damaged: {error}"))?;
    let element = order.element(&mut &inflated[..])?;
    match element.kind {
        MI_MATRIX => Ok(element.data.to_vec()),
        kind => Err(format!("a compressed element holds type {kind} instead of an array")),
    }
}

/// A tagged run of bytes.
pub(crate) struct Element<'a> {
    pub(crate) kind: u32,
    pub(crate) data: &'a [u8],
}

struct Array {
    name: String,
    /// `None` if it is not numeric.
    values: Option<Vec<f64>>,
}

/// The order of bytes.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    pub(crate) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    /// Takes an element and its padding off the front.
    pub(crate) fn element<'a>(
        self,
        rest: &mut &'a [u8],
    ) -> std::result::Result<Element<'a>, Problem> {
        let truncated = || "it ends in the middle of an element".to_owned();
        let word = self.u32(*rest.first_chunk().ok_or_else(truncated)?);
        let (kind, size, start) = if word >> 16 == 0 {
            let size = rest.get(4..).and_then(|rest| rest.first_chunk()).ok_or_else(truncated)?;
            (word, self.u32(*size) as usize, 8)
        } else {
            // A small element: size and type share a word, the data follow in the next.
            (word & 0xffff, (word >> 16) as usize, 4)
        };
        let whole = rest.get(start..).and_then(|rest| rest.get(..size)).ok_or_else(truncated)?;
        // All but compressed elements are padded to 8 bytes; the last one may lack the padding.
        let end = start + size;
        let padded = if kind == MI_COMPRESSED { end } else { end.next_multiple_of(8) };
        *rest = rest.get(padded..).unwrap_or_default();
        Ok(Element { kind, data: whole })
    }

    fn array(self, mut rest: &[u8]) -> std::result::Result<Array, Problem> {
        let flags = self.element(&mut rest)?;
        let class = match (flags.kind, flags.data.first_chunk()) {
            (MI_UINT32, Some(&word)) => (self.u32(word) & 0xff) as u8,
            _ => return Err("an array without flags".to_owned()),
        };
        let dims = self.element(&mut rest)?;
        if dims.kind != MI_INT32 {
            return Err("an array without dimensions".to_owned());
        }
        let dims = dims.data.as_chunks::<4>().0.iter().map(|&word| u64::from(self.u32(word)));
        let count = dims.fold(1_u64, u64::saturating_mul);
        let name = self.element(&mut rest)?;
        if name.kind != MI_INT8 {
            return Err("an array without a name".to_owned());
        }
        let name = String::from_utf8_lossy(name.data).into_owned();
        if !NUMERIC.contains(&class) {
            return Ok(Array { name, values: None });
        }
        let values = self.numbers(self.element(&mut rest)?)?;
        if values.len() as u64 != count {
            return Err(format!("`{name}` has {} of {count} values", values.len()));
        }
        Ok(Array { name, values: Some(values) })
    }

    /// Numbers are stored in the smallest type that holds them, whatever the class of the array.
    fn numbers(self, element: Element<'_>) -> std::result::Result<Vec<f64>, Problem> {
        let data = element.data;
        Ok(match element.kind {
            1 => data.iter().map(|&x| f64::from(x.cast_signed())).collect(),
            2 => data.iter().map(|&x| f64::from(x)).collect(),
            3 => self.values(data, |bytes| f64::from(i16::from_le_bytes(bytes))),
            4 => self.values(data, |bytes| f64::from(u16::from_le_bytes(bytes))),
            5 => self.values(data, |bytes| f64::from(i32::from_le_bytes(bytes))),
            6 => self.values(data, |bytes| f64::from(u32::from_le_bytes(bytes))),
            7 => self.values(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
            9 => self.values(data, f64::from_le_bytes),
            12 => self.values(data, |bytes| i64::from_le_bytes(bytes) as f64),
            13 => self.values(data, |bytes| u64::from_le_bytes(bytes) as f64),
            kind => return Err(format!("an array of numbers with values of type {kind}")),
        })
    }

    fn values<const N: usize>(self, data: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        let ordered = |mut bytes: [u8; N]| {
            if matches!(self, Self::Big) {
                bytes.reverse();
            }
            value(bytes)
        };
        data.as_chunks::<N>().0.iter().map(|&bytes| ordered(bytes)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;

    use super::*;

    /// A little-endian element with padding.
    fn element(kind: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = [kind.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    /// A matrix of class double whose values are stored as 16-bit integers.
    fn matrix(name: &str, values: &[u16]) -> Vec<u8> {
        let flags = [6_u32.to_le_bytes(), [0; 4]].concat();
        let dims = [(values.len() as u32).to_le_bytes(), 1_u32.to_le_bytes()].concat();
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let parts = [(6, &flags[..]), (5, &dims), (1, name.as_bytes()), (4, &data)];
        element(MI_MATRIX, &parts.map(|(kind, data)| element(kind, data)).concat())
    }

    fn compressed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        let data = encoder.finish().unwrap();
        let mut element = [15_u32.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
        element.extend(data);
        element
    }

    fn file(elements: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![b' '; 124];
        bytes.extend([0, 1, b'I', b'M']);
        bytes.extend(elements.concat());
        bytes
    }

    #[test]
    fn plain_small_and_compressed_arrays() {
        let small = {
            let mut bytes = matrix("x", &[]);
            // Values in the tag itself: two bytes of unsigned 16-bit integers.
            bytes.truncate(bytes.len() - 8);
            bytes.extend([4, 0, 2, 0, 9, 1, 0, 0]);
            // One value instead of none.
            bytes[32] = 1;
            bytes
        };
        let bytes = file(&[matrix("a", &[1, 65535]), compressed(&matrix("b", &[3, 4, 5])), small]);
        assert_eq!(find(&bytes, "a").unwrap(), [1.0, 65535.0]);
        assert_eq!(find(&bytes, "b").unwrap(), [3.0, 4.0, 5.0]);
        assert_eq!(find(&bytes, "x").unwrap(), [265.0]);
        let problem = find(&bytes, "c").unwrap_err();
        assert!(problem.contains("`a`, `b`, `x`"), "{problem}");
    }

    #[test]
    fn other_files_are_named() {
        assert!(find(b"MATLAB 7.3 MAT-file", "a").unwrap_err().contains("v7.3"));
        assert!(find(&[0; 200], "a").unwrap_err().contains("not a MATLAB v5 file"));
        assert!(find(&[], "a").is_err());
    }

    proptest! {
        #[test]
        fn what_is_cut_off_is_an_error(cut in 0_usize..150) {
            let bytes = file(&[compressed(&matrix("b", &[3, 4, 5]))]);
            prop_assume!(cut > 0 && cut < bytes.len());
            prop_assert!(find(&bytes[..bytes.len() - cut], "b").is_err());
        }

        #[test]
        fn damage_never_panics(at in 0_usize..400, value: u8, plain: bool) {
            let elements = [matrix("a", &[1, 2]), compressed(&matrix("b", &[3, 4, 5]))];
            let mut bytes = file(&elements[usize::from(!plain)..]);
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = find(&bytes, "b");
        }
    }
}
