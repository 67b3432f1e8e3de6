//! Class indices.

use super::frame::{Form, Frame, Pixels, of_any_type};
use super::png_file::describe;
use super::{FileFormat, Problem, READ_AS_COLORS};
use crate::RawMap;
use crate::modality::LabelRule;
use crate::resize::CropBox;

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
pub(super) fn check_values(frame: &Frame, rule: &LabelRule) -> Result<(), Problem> {
    if let Pixels::U8(values) = &frame.pixels {
        // A count per value is faster than a question per pixel.
        let mut seen = [false; 256];
        values.iter().for_each(|&value| seen[usize::from(value)] = true);
        let fine = |(value, &seen): (usize, &bool)| !seen || rule.label(value as i64).is_some();
        if seen.iter().enumerate().all(fine) {
            return Ok(());
        }
    }
    of_any_type!(&frame.pixels, values => rule.check(values.iter().map(|&value| value as i64)))
}

/// The labels of a window.
pub(super) fn convert(frame: &Frame, rule: &LabelRule, window: CropBox) -> RawMap {
    let label = |stored: i64| rule.label(stored).unwrap_or(stored);
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
