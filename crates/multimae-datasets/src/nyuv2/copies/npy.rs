//! Arrays in NumPy's npy format that are read in parts.

use std::path::{Path, PathBuf};

use multimae_io::npy::check_header;
use multimae_io::positioned::read_exact_at;
use npyz::{DType, NpyFile, Order, TypeChar};

use super::Problem;

/// More than the longest header that is read.
const MAX_HEAD: usize = 12_000;
/// Values that are read at the same time.
const MAX_VALUES: usize = 1 << 24;

/// An array in a file: its header.
#[derive(Debug)]
pub(super) struct NpyArray {
    path: PathBuf,
    file: fs_err::File,
    shape: Vec<usize>,
    order: Order,
    /// The place of the first value.
    start: u64,
    kind: Kind,
}

/// The type of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    number: TypeChar,
    bytes: usize,
    big_endian: bool,
}

impl NpyArray {
    /// Reads the header of an array, and checks that the file is whole.
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        Self::open_whole(path).map_err(Problem::of(path))
    }

    fn open_whole(path: &Path) -> Result<Self, String> {
        let fail = |error: std::io::Error| error.to_string();
        let file = fs_err::File::open(path).map_err(fail)?;
        let length = file.metadata().map_err(fail)?.len();
        let mut head = vec![0; usize::try_from(length).unwrap_or(MAX_HEAD).min(MAX_HEAD)];
        read_exact_at(file.file(), &mut head, 0).map_err(fail)?;
        check_header(&head)?;
        let header = NpyFile::new(head.as_slice()).map_err(|error| format!("npy: {error}"))?;
        let kind = Kind::of(&header.dtype())?;
        let order = header.order();
        let side = |&side: &u64| usize::try_from(side).map_err(|_| "its shape is too large".into());
        let shape = header.shape().iter().map(side).collect::<Result<Vec<usize>, String>>()?;
        let start = (head.len() - header.into_inner().len()) as u64;
        let bytes =
            shape.iter().try_fold(kind.bytes as u64, |all, &side| all.checked_mul(side as u64));
        if bytes.and_then(|bytes| bytes.checked_add(start)) != Some(length) {
            return Err(format!(
                "it has {length} bytes, which is not the size of an array of the shape {shape:?}; \
                 copy it again"
            ));
        }
        Ok(Self { path: path.to_owned(), file, shape, order, start, kind })
    }

    /// The length of every axis.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether the values are integers.
    pub(super) fn holds_integers(&self) -> bool {
        matches!(self.kind.number, TypeChar::Int | TypeChar::Uint)
    }

    /// All values in row-major order.
    pub(super) fn all(&self) -> Result<Vec<f32>, Problem> {
        let stored =
            self.values(0, self.shape.iter().product()).map_err(Problem::of(&self.path))?;
        Ok(if self.order == Order::C { stored } else { row_major(&stored, &self.shape) })
    }

    /// The values at one place of the first axis, in row-major order.
    pub(super) fn item(&self, index: usize) -> Result<Vec<f32>, Problem> {
        let problem = || {
            let path = self.path.display();
            format!(
                "its values are in column-major order, in which no frame lies together; rewrite \
                 it: python -c \"import numpy as np; a = np.load('{path}'); np.save('{path}', \
                 np.ascontiguousarray(a))\""
            )
        };
        if self.order != Order::C {
            return Err(Problem::of(&self.path)(problem()));
        }
        let count = self.shape.iter().skip(1).product();
        self.values(index * count, count).map_err(Problem::of(&self.path))
    }

    /// Stored values from the place `first` on. Integers above 2^24 are rounded.
    fn values(&self, first: usize, count: usize) -> Result<Vec<f32>, String> {
        if count > MAX_VALUES {
            return Err(format!("{count} values; at most {MAX_VALUES} are read at a time"));
        }
        let Kind { bytes, .. } = self.kind;
        let mut stored = vec![0; count * bytes];
        let offset = self.start + (first * bytes) as u64;
        read_exact_at(self.file.file(), &mut stored, offset).map_err(|error| error.to_string())?;
        self.kind.numbers(&stored)
    }
}

impl Kind {
    fn of(dtype: &DType) -> Result<Self, String> {
        if let DType::Plain(plain) = dtype {
            let (number, bytes) = (plain.type_char(), plain.size_field() as usize);
            let known = match number {
                TypeChar::Float => [2, 4, 8].contains(&bytes),
                TypeChar::Int | TypeChar::Uint => [1, 2, 4, 8].contains(&bytes),
                _ => false,
            };
            if known {
                return Ok(Self { number, bytes, big_endian: dtype.descr().contains('>') });
            }
        }
        Err(format!("its values are {}, expected floats or integers", dtype.descr()))
    }

    fn numbers(self, stored: &[u8]) -> Result<Vec<f32>, String> {
        /// The numbers of a type whose stored form is that of `$read`.
        macro_rules! numbers {
            ($type:ty, $convert:expr) => {{
                let values = stored.as_chunks::<{ size_of::<$type>() }>().0.iter();
                let big_endian = self.big_endian;
                let read = |&bytes: &[u8; size_of::<$type>()]| {
                    let read =
                        if big_endian { <$type>::from_be_bytes } else { <$type>::from_le_bytes };
                    $convert(read(bytes))
                };
                Ok(values.map(read).collect())
            }};
        }
        match (self.number, self.bytes) {
            (TypeChar::Float, 2) => numbers!(u16, |bits| half::f16::from_bits(bits).to_f32()),
            (TypeChar::Float, 4) => numbers!(f32, |value| value),
            (TypeChar::Float, 8) => numbers!(f64, |value| value as f32),
            (TypeChar::Uint, 1) => Ok(stored.iter().copied().map(f32::from).collect()),
            (TypeChar::Uint, 2) => numbers!(u16, f32::from),
            (TypeChar::Uint, 4) => numbers!(u32, |value| value as f32),
            (TypeChar::Uint, 8) => numbers!(u64, |value| value as f32),
            (TypeChar::Int, 1) => numbers!(i8, f32::from),
            (TypeChar::Int, 2) => numbers!(i16, f32::from),
            (TypeChar::Int, 4) => numbers!(i32, |value| value as f32),
            (TypeChar::Int, 8) => numbers!(i64, |value| value as f32),
            _ => Err("its values are of an unknown type".to_owned()),
        }
    }
}

/// Column-major values in row-major order.
fn row_major(stored: &[f32], shape: &[usize]) -> Vec<f32> {
    let place = |mut index: usize| {
        // The last axis moves fastest in the index, and slowest in the file.
        let mut stride = stored.len();
        shape.iter().rev().fold(0, |place, &side| {
            stride /= side.max(1);
            let at = place + index % side.max(1) * stride;
            index /= side.max(1);
            at
        })
    };
    (0..stored.len()).map(|index| stored[place(index)]).collect()
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    fn array(header: &str, values: &[u8]) -> Result<NpyArray, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        let len = u16::try_from(header.len()).unwrap().to_le_bytes();
        let head = [b"\x93NUMPY\x01\x00", len.as_slice(), header.as_bytes()].concat();
        fs::write(&path, [head.as_slice(), values].concat()).unwrap();
        NpyArray::open(&path).map_err(|problem| problem.text)
    }

    fn header(descr: &str, fortran: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
    }

    #[test]
    fn values_of_all_types_are_read_item_by_item() {
        let two = |descr: &str, values: &[u8]| {
            let array = array(&header(descr, "False", "(2, 1)"), values).unwrap();
            assert_eq!(array.shape(), [2, 1]);
            (array.item(0).unwrap()[0], array.item(1).unwrap()[0])
        };
        assert_eq!(two("<f2", &[0x00, 0x3c, 0x00, 0xc0]), (1.0, -2.0));
        assert_eq!(
            two(">f4", &[1.5_f32.to_be_bytes(), (-2.5_f32).to_be_bytes()].concat()),
            (1.5, -2.5)
        );
        assert_eq!(
            two("<f8", &[0.25_f64.to_le_bytes(), 3_f64.to_le_bytes()].concat()),
            (0.25, 3.0)
        );
        assert_eq!(two("|u1", &[7, 255]), (7.0, 255.0));
        assert_eq!(
            two("<i8", &[(-1_i64).to_le_bytes(), 12_i64.to_le_bytes()].concat()),
            (-1.0, 12.0)
        );
    }

    #[test]
    fn columns_are_turned_into_rows() {
        let array = array(&header("|u1", "True", "(2, 3)"), &[1, 4, 2, 5, 3, 6]).unwrap();
        assert_eq!(array.all().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert!(array.item(0).unwrap_err().text.contains("ascontiguousarray"));
    }

    #[test]
    fn files_that_are_no_whole_arrays_are_refused() {
        let problem = array(&header("<f4", "False", "(2, 3)"), &[0; 23]).unwrap_err();
        assert!(problem.contains("[2, 3]"), "{problem}");
        let problem = array(&header("<f4", "False", "(9999999999, 9999999999)"), &[]).unwrap_err();
        assert!(problem.contains("bytes"), "{problem}");
        let problem = array(&header("<c8", "False", "(1,)"), &[0; 8]).unwrap_err();
        assert!(problem.contains("expected floats or integers"), "{problem}");
        assert!(array("{}", &[]).is_err());
    }
}
