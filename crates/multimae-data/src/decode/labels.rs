//! Class indices.

use super::frame::{Form, Frame, FrameInfo, Pixels, of_any_type};
use super::png_file::describe;
use super::{FileFormat, Problem, READ_AS_COLORS, color};
use crate::RawMap;
use crate::modality::{LabelRule, color_key};
use crate::resize::CropBox;

const JPEG: &str = "it is a jpeg, which does not keep labels exactly; save them as grey or palette png \
                    or as npy";
const JPEG_2000: &str = "it is a jpeg 2000 image, which may not keep labels exactly; save them as grey \
                         or palette png or as npy";

/// The numbers of colours, `(H, W, 3)`.
fn keys(rgb: &[u8]) -> impl Iterator<Item = i64> + Clone + '_ {
    rgb.as_chunks::<3>().0.iter().map(|&color| color_key(color))
}

/// Reads an image whose colours stand for classes.
pub(super) fn read_colors(bytes: &[u8], format: FileFormat) -> Result<Frame, Problem> {
    match format {
        FileFormat::Jpeg => Err(JPEG.to_owned()),
        FileFormat::Jpeg2000 => Err(JPEG_2000.to_owned()),
        // The two kinds without loss differ in their first chunk.
        FileFormat::WebP if bytes.get(12..16).is_none_or(|chunk| chunk != b"VP8L") => {
            Err("it is a webp image that may have lost its exact colours; save it as png"
                .to_owned())
        }
        _ => color::read(bytes, format),
    }
}

/// Is this a file of class indices, or of colours that stand for them?
pub(super) fn check_kind(frame: &Frame, of_colors: bool) -> Result<(), Problem> {
    let info = &frame.info;
    match info.form {
        Form::Color if of_colors => Ok(()),
        Form::Color => Err(READ_AS_COLORS.to_owned()),
        _ if of_colors => {
            Err("it holds values, and the class map of this modality is from colours".to_owned())
        }
        Form::Jpeg => Err(JPEG.to_owned()),
        Form::Raster { format: FileFormat::Jpeg2000, .. } => Err(JPEG_2000.to_owned()),
        Form::Png { bits, palette } | Form::Raster { bits, palette, .. } if info.channels != 1 => {
            Err(format!(
                "it is {}, and labels are class indices in a grey or palette image; if its colours \
                 stand for classes, give a map: `classes: {{map: FILE}}` with a line `R,G,B,CLASS` \
                 for each",
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
    if let (Form::Color, Pixels::U8(rgb)) = (frame.info.form, &frame.pixels) {
        return rule.check(keys(rgb));
    }
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
        Pixels::U8(rgb) if frame.info.form == Form::Color => {
            let keys: Vec<i64> = keys(rgb).collect();
            FrameInfo { channels: 1, ..frame.info }.window(&keys, window, label)
        }
        Pixels::U8(values) => {
            let table: [i64; 256] = std::array::from_fn(|value| label(value as i64));
            frame.info.window(values, window, |value| table[usize::from(value)])
        }
        pixels => of_any_type!(pixels, values => {
            frame.info.window(values, window, |value| label(value as i64))
        }),
    })
}
