//! Texts in the cells and structures of MATLAB's v5 files: the lists and the order of the frames.

use std::path::Path;

use crate::nyuv2::mat5::{
    MI_COMPRESSED, MI_INT8, MI_INT32, MI_MATRIX, MI_UINT32, Order, Problem, inflate, open,
};
use crate::{Error, Result};

/// The most that one compressed element may become. The table of the frames is the largest one.
const MAX_INFLATED: u64 = 1 << 30;

const CLASS_CELL: u8 = 1;
const CLASS_STRUCT: u8 = 2;
const CLASS_CHAR: u8 = 4;

/// The texts of the cell array `name`, in its order.
///
/// # Errors
/// [`Error::Input`] if the file is damaged, not of this format, or has no such array; [`Error::Io`].
pub(super) fn cell_texts(path: &Path, name: &str) -> Result<Vec<String>> {
    read(path, name, |array| {
        if array.class != CLASS_CELL {
            return Err(format!("`{name}` is no cell array"));
        }
        let mut rest = array.rest;
        (0..array.count).map(|_| array.order.text(&mut rest)).collect()
    })
}

/// The texts of one field of the structure array `name`, in its order.
///
/// # Errors
/// As [`cell_texts`].
pub(super) fn field_texts(path: &Path, name: &str, field: &str) -> Result<Vec<String>> {
    read(path, name, |array| {
        let (order, mut rest) = (array.order, array.rest);
        if array.class != CLASS_STRUCT {
            return Err(format!("`{name}` is no structure array"));
        }
        let length = order.element(&mut rest)?.data;
        let length = length.first_chunk().map_or(0, |&word| order.u32(word) as usize);
        let names = order.element(&mut rest)?.data;
        let names: Vec<&[u8]> = names.chunks(length.max(1)).map(until_zero).collect();
        let wanted = names.iter().position(|known| *known == field.as_bytes());
        let wanted = wanted.ok_or_else(|| format!("`{name}` has no field `{field}`"))?;
        let mut texts = Vec::with_capacity(array.count.min(1 << 16));
        for _ in 0..array.count {
            for at in 0..names.len() {
                if at == wanted {
                    texts.push(order.text(&mut rest)?);
                } else {
                    order.element(&mut rest)?;
                }
            }
        }
        Ok(texts)
    })
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// An array: its class, and the elements behind its name.
struct ArrayHead<'a> {
    order: Order,
    class: u8,
    count: usize,
    rest: &'a [u8],
}

fn read<T>(
    path: &Path,
    wanted: &str,
    parse: impl Fn(&ArrayHead<'_>) -> std::result::Result<T, Problem>,
) -> Result<T> {
    let bytes = fs_err::read(path)?;
    find(&bytes, wanted, parse).map_err(|problem| Error::Input { path: path.to_owned(), problem })
}

fn find<T>(
    bytes: &[u8],
    wanted: &str,
    parse: impl Fn(&ArrayHead<'_>) -> std::result::Result<T, Problem>,
) -> std::result::Result<T, Problem> {
    let (order, mut rest) = open(bytes)?;
    let mut seen = Vec::new();
    while !rest.is_empty() {
        let element = order.element(&mut rest)?;
        let inflated;
        let data = match element.kind {
            MI_COMPRESSED => {
                inflated = inflate(element.data, order, MAX_INFLATED)?;
                &inflated[..]
            }
            MI_MATRIX => element.data,
            _ => continue,
        };
        let (name, head) = order.head(data)?;
        if name == wanted {
            return parse(&head);
        }
        seen.push(format!("`{name}`"));
    }
    let seen = if seen.is_empty() { "no array".to_owned() } else { seen.join(", ") };
    Err(format!("it has no array `{wanted}`, but {seen}"))
}

impl Order {
    fn head(self, mut rest: &[u8]) -> std::result::Result<(String, ArrayHead<'_>), Problem> {
        let damaged = || "an array without flags, dimensions or name".to_owned();
        let flags = self.element(&mut rest)?;
        let class = match (flags.kind, flags.data.first_chunk()) {
            (MI_UINT32, Some(&word)) => (self.u32(word) & 0xff) as u8,
            _ => return Err(damaged()),
        };
        let dims = self.element(&mut rest)?;
        let name = self.element(&mut rest)?;
        if dims.kind != MI_INT32 || name.kind != MI_INT8 {
            return Err(damaged());
        }
        let dims = dims.data.as_chunks::<4>().0.iter().map(|&word| self.u32(word) as usize);
        let count = dims.fold(1, usize::saturating_mul);
        let name = String::from_utf8_lossy(name.data).into_owned();
        Ok((name, ArrayHead { order: self, class, count, rest }))
    }

    /// The text of the next array.
    fn text(self, rest: &mut &[u8]) -> std::result::Result<String, Problem> {
        let element = self.element(rest)?;
        if element.kind != MI_MATRIX {
            return Err("a cell holds something that is no array".to_owned());
        }
        let (_, mut head) = self.head(element.data)?;
        if head.class != CLASS_CHAR {
            return Err("a cell holds something that is no text".to_owned());
        }
        let characters = self.element(&mut head.rest)?;
        let wide = |bytes: &[u8]| -> Vec<u16> {
            let unit = |&bytes: &[u8; 2]| match self {
                Self::Little => u16::from_le_bytes(bytes),
                Self::Big => u16::from_be_bytes(bytes),
            };
            bytes.as_chunks::<2>().0.iter().map(unit).collect()
        };
        match characters.kind {
            // 8-bit characters, and UTF-8.
            1 | 2 | 16 => Ok(String::from_utf8_lossy(characters.data).into_owned()),
            // 16-bit characters, and UTF-16.
            4 | 17 => Ok(String::from_utf16_lossy(&wide(characters.data))),
            kind => Err(format!("a text of characters of type {kind}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPLIT: &[u8] = include_bytes!(
        "../../tests/fixtures/sets/sunrgbd/SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
    );
    const META: &[u8] =
        include_bytes!("../../tests/fixtures/sets/sunrgbd/SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat");

    fn write(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mat");
        fs_err::write(&path, bytes).unwrap();
        (dir, path)
    }

    #[test]
    fn texts_of_cells_and_fields_are_read() {
        let (_dir, path) = write(SPLIT);
        let train = cell_texts(&path, "alltrain").unwrap();
        assert_eq!(train[0], "/n/fs/sun3d/data/SUNRGBD/kv1/NYUdata/NYU0000");
        assert_eq!((train.len(), cell_texts(&path, "alltest").unwrap().len()), (2, 1));
        let message = cell_texts(&path, "none").unwrap_err().to_string();
        assert!(message.contains("`alltrain`, `alltest`"), "{message}");
        assert!(cell_texts(&path, "trainvalsplit").is_err(), "a structure");

        let (_dir, path) = write(META);
        let names = field_texts(&path, "SUNRGBDMeta", "sequenceName").unwrap();
        assert_eq!(names[2], "SUNRGBD/kv1/NYUdata/NYU0000");
        let message = field_texts(&path, "SUNRGBDMeta", "none").unwrap_err().to_string();
        assert!(message.contains("no field `none`"), "{message}");
        assert!(field_texts(&path, "SUNRGBDMeta", "groundtruth3DBB").is_err(), "no texts");
    }

    /// The one array of a file, not compressed.
    fn plain(bytes: &[u8]) -> Vec<u8> {
        let (order, mut rest) = open(bytes).unwrap();
        let element = order.element(&mut rest).unwrap();
        let data = inflate(element.data, order, MAX_INFLATED).unwrap();
        let size = u32::try_from(data.len()).unwrap();
        [&bytes[..128], &MI_MATRIX.to_le_bytes(), &size.to_le_bytes(), &data].concat()
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0_usize..4000, value: u8, packed: bool) {
            for (file, name) in [(SPLIT, "alltrain"), (META, "SUNRGBDMeta")] {
                let mut bytes = if packed { file.to_vec() } else { plain(file) };
                let at = at % bytes.len();
                bytes[at] = value;
                let (_dir, path) = write(&bytes);
                let _ = cell_texts(&path, name);
                let _ = field_texts(&path, name, "rgbpath");
            }
        }
    }
}
