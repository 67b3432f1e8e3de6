//! Class indices.

use std::collections::BTreeMap;

use super::frame::{Form, Frame, Pixels, of_any_type};
use super::png_file::describe;
use super::{FileFormat, Problem, READ_AS_COLORS};
use crate::RawMap;
use crate::capped::Capped;
use crate::resize::CropBox;

/// The allowed labels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Classes {
    classes: i64,
    ignore: Option<i64>,
    offset: i64,
}

impl Classes {
    pub(crate) fn new(classes: usize, ignore: Option<i64>, offset: i64) -> Self {
        Self { classes: i64::try_from(classes).unwrap_or(i64::MAX), ignore, offset }
    }

    /// The label of a stored value, if it is allowed.
    pub(crate) fn label(self, stored: i64) -> Option<i64> {
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

    /// Is every one of the stored values allowed?
    fn check(self, stored: impl Iterator<Item = i64>) -> Result<(), Problem> {
        let mut outside = BTreeMap::<i64, usize>::new();
        for value in stored.filter(|&value| self.label(value).is_none()) {
            *outside.entry(value).or_default() += 1;
        }
        if outside.is_empty() { Ok(()) } else { Err(self.complaint(&outside)) }
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

/// Is this a file of class indices?
pub(super) fn check_kind(frame: &Frame) -> Result<(), Problem> {
    let info = &frame.info;
    match info.form {
        Form::Color => Err(READ_AS_COLORS.to_owned()),
        Form::Jpeg => {
            Err("it is a jpeg, which does not keep labels exactly; save them as grey or \
                           palette png or as npy"
                .to_owned())
        }
        Form::Raster { format: FileFormat::Jpeg2000, .. } => {
            Err("it is a jpeg 2000 image, which may not keep labels exactly; save them as grey or \
             palette png or as npy"
                .to_owned())
        }
        Form::Png { bits, palette } | Form::Raster { bits, palette, .. } if info.channels != 1 => {
            Err(format!(
                "it is {}, and labels are class indices in a grey or palette image; colours are \
                 not indices",
                describe(bits, palette, info.channels)
            ))
        }
        Form::Npy { .. } | Form::Raster { .. } if !frame.pixels.are_integers() => {
            Err(format!("its values are {}, expected an integer type", frame.pixels.descr()))
        }
        Form::Png { .. } | Form::Raster { .. } => Ok(()),
        Form::Npy { axes: 3 } => {
            let shape = [info.channels, info.height, info.width];
            Err(format!("its shape is {shape:?}, expected (height, width)"))
        }
        Form::Npy { .. } => Ok(()),
    }
}

/// Are all labels allowed?
pub(super) fn check_values(frame: &Frame, classes: Classes) -> Result<(), Problem> {
    if let Pixels::U8(values) = &frame.pixels {
        // A count per value is faster than a question per pixel.
        let mut seen = [false; 256];
        values.iter().for_each(|&value| seen[usize::from(value)] = true);
        let fine = |(value, &seen): (usize, &bool)| !seen || classes.label(value as i64).is_some();
        if seen.iter().enumerate().all(fine) {
            return Ok(());
        }
    }
    of_any_type!(&frame.pixels, values => classes.check(values.iter().map(|&value| value as i64)))
}

/// The labels of a window.
pub(super) fn convert(frame: &Frame, classes: Classes, window: CropBox) -> RawMap {
    let label = |stored: i64| classes.label(stored).unwrap_or(stored);
    RawMap::Labels(match &frame.pixels {
        Pixels::U8(values) => {
            let table: [i64; 256] = std::array::from_fn(|value| label(value as i64));
            frame.info.window(values, window, |value| table[usize::from(value)])
        }
        pixels => of_any_type!(pixels, values => {
            frame.info.window(values, window, |value| label(value as i64))
        }),
    })
}
