//! Class indices.

use std::collections::BTreeMap;

use super::png_file::PngFile;
use super::{Decoded, Format, Problem, npy};
use crate::RawMap;
use crate::error::Capped;

/// Which labels are allowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Classes {
    classes: i64,
    ignore: Option<i64>,
    offset: i64,
}

impl Classes {
    pub(super) fn new(classes: usize, ignore: Option<i64>, offset: i64) -> Self {
        Self { classes: i64::try_from(classes).unwrap_or(i64::MAX), ignore, offset }
    }

    /// The label of a stored value, if it is allowed.
    fn label(self, stored: i64) -> Option<i64> {
        if self.ignore == Some(stored) {
            return Some(stored);
        }
        let label = stored.checked_add(self.offset)?;
        if (0..self.classes).contains(&label) {
            Some(label)
        } else if stored >= 0 && label < 0 {
            self.ignore
        } else {
            None
        }
    }

    fn apply(self, stored: impl Iterator<Item = i64>) -> Result<Vec<i64>, Problem> {
        let mut outside = BTreeMap::<i64, usize>::new();
        let labels = stored
            .map(|stored| {
                self.label(stored).unwrap_or_else(|| {
                    *outside.entry(stored).or_default() += 1;
                    stored
                })
            })
            .collect();
        if outside.is_empty() { Ok(labels) } else { Err(self.complaint(&outside)) }
    }

    fn complaint(self, outside: &BTreeMap<i64, usize>) -> Problem {
        let found: Vec<String> =
            outside.iter().map(|(label, pixels)| format!(" {label} ({pixels} pixels)")).collect();
        let ignored = match self.ignore {
            Some(ignore) => format!("label {ignore} is ignored"),
            None => "no label is ignored".to_owned(),
        };
        let shifted = match self.offset {
            0 => String::new(),
            offset => format!(" after the offset {offset}"),
        };
        format!(
            "labels outside the {} classes 0..{}{shifted}:{}; {ignored}; correct the number of \
             classes, the ignored label or the offset, or the file",
            self.classes,
            self.classes,
            Capped(&found, ",").to_string().trim_start_matches(',')
        )
    }
}

pub(super) fn decode(bytes: &[u8], format: Format, classes: Classes) -> Result<Decoded, Problem> {
    match format {
        Format::Png => decode_png(bytes, classes),
        Format::Npy => decode_npy(bytes, classes),
        Format::Jpeg => {
            Err("it is a jpeg, which does not keep labels exactly; save them as grey or \
                             palette png or as npy"
                .to_owned())
        }
    }
}

fn decode_png(bytes: &[u8], classes: Classes) -> Result<Decoded, Problem> {
    let png = PngFile::decode(bytes)?;
    if png.channels != 1 {
        return Err(format!(
            "it is {}, and labels are class indices in a grey or palette png; colours are not \
             indices",
            png.describe()
        ));
    }
    let labels = classes.apply(png.values.iter().map(|&value| i64::from(value)))?;
    Ok(Decoded { height: png.height, width: png.width, map: RawMap::Labels(labels) })
}

fn decode_npy(bytes: &[u8], classes: Classes) -> Result<Decoded, Problem> {
    let array = npy::integers(bytes)?;
    let [height, width] = array.shape[..] else {
        return Err(format!("its shape is {:?}, expected (height, width)", array.shape));
    };
    let labels = classes.apply(array.values.into_iter())?;
    Ok(Decoded { height, width, map: RawMap::Labels(labels) })
}
