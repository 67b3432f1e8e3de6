//! From the bytes of one modality's file to its values: decoding, checking, and picking a window.
//!
//! Everything here works on bytes, wherever they come from; [`contents`] is the only access to files.

mod color;
mod continuous;
mod format;
mod frame;
mod guard;
mod labels;
mod npy;
mod png_file;
mod stored;

use std::path::Path;

use image::ImageFormat;

pub use format::FileFormat;
pub(crate) use frame::{Form, Frame, FrameInfo, Order, Pixels, of_any_type};
pub(crate) use labels::Classes;
pub(crate) use stored::{Container, Stored};

use crate::resize::CropBox;
use crate::{Encoding, RawMap};

/// The problem with a file, and its remedy; the caller adds the sample, modality and path.
pub(crate) type Problem = String;

/// The accepted file extensions, in lower case.
pub const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "npy"];

/// Of a frame that was read as colours.
const READ_AS_COLORS: &str = "it was read as colours, and this modality needs values as stored";

/// Reads all bytes of a file.
pub(crate) fn contents(path: &Path) -> Result<Vec<u8>, Problem> {
    fs_err::read(path).map_err(|error| error.to_string())
}

/// Decodes the bytes of a file as a modality needs them, and checks that they are what the modality
/// holds.
pub(crate) fn decode(bytes: &[u8], encoding: &Encoding) -> Result<Frame, Problem> {
    let frame = match encoding {
        Encoding::Color { .. } => decode_colors(bytes)?,
        _ => decode_values(bytes)?,
    };
    check_kind(&frame, encoding)?;
    check_values(&frame, encoding)?;
    Ok(frame)
}

/// Decodes an image as RGB.
pub(crate) fn decode_colors(bytes: &[u8]) -> Result<Frame, Problem> {
    let format = format::known(bytes)?;
    if format == FileFormat::Png {
        guard::check_palette(bytes)?;
    }
    guard::guarded(|| color::read(bytes, format))
}

/// Decodes a file of any format value by value.
pub(crate) fn decode_values(bytes: &[u8]) -> Result<Frame, Problem> {
    let format = format::known(bytes)?;
    if format == FileFormat::Png {
        guard::check_palette(bytes)?;
    }
    guard::guarded(|| match format {
        FileFormat::Png => png_file::read(bytes),
        FileFormat::Jpeg => color::read_jpeg(bytes),
        FileFormat::Npy => npy::read(bytes),
    })
}

/// Height and width that the header of a file claims; no pixel is decoded.
pub(crate) fn claimed_size(bytes: &[u8]) -> Result<(u64, u64), Problem> {
    let format = format::known(bytes)?;
    guard::guarded(|| match format {
        FileFormat::Png => color::claimed_size(bytes, ImageFormat::Png),
        FileFormat::Jpeg => color::claimed_size(bytes, ImageFormat::Jpeg),
        FileFormat::Npy => npy::claimed_size(bytes),
    })
}

/// Checks that a frame is of the kind that a modality holds.
pub(crate) fn check_kind(frame: &Frame, encoding: &Encoding) -> Result<(), Problem> {
    match encoding {
        Encoding::Color { .. } if frame.info.form != Form::Color => {
            Err(color::NO_COLORS.to_owned())
        }
        Encoding::Color { .. } => Ok(()),
        Encoding::Continuous { channels, .. } => continuous::check_kind(frame, *channels),
        Encoding::Labels { .. } => labels::check_kind(frame),
    }
}

/// Checks that all values of a frame, which is of the right kind, are possible.
pub(crate) fn check_values(frame: &Frame, encoding: &Encoding) -> Result<(), Problem> {
    match encoding {
        Encoding::Color { .. } => Ok(()),
        Encoding::Continuous { .. } => continuous::check_values(frame),
        Encoding::Labels { classes, ignore, offset } => {
            labels::check_values(frame, Classes::new(*classes, *ignore, *offset))
        }
    }
}

/// Returns the values of a window of a checked frame.
pub(crate) fn convert(
    frame: Frame,
    encoding: &Encoding,
    window: CropBox,
) -> Result<RawMap, Problem> {
    let (height, width) = frame.size();
    if window.top + window.height > height || window.left + window.width > width {
        return Err(format!("{window:?} is not inside its {height} x {width} pixels"));
    }
    match encoding {
        Encoding::Color { .. } => color::convert(frame, window),
        Encoding::Continuous { .. } => Ok(continuous::convert(frame, window)),
        Encoding::Labels { classes, ignore, offset } => {
            let classes = Classes::new(*classes, *ignore, *offset);
            Ok(labels::convert(&frame, classes, window))
        }
    }
}
