//! From the file of one modality to its values: reading, checking, and picking a window.

mod color;
mod continuous;
mod frame;
mod labels;
mod npy;
mod png_file;
mod stored;

use std::path::Path;

pub(crate) use frame::{Form, Frame, FrameInfo, Order, Pixels, of_any_type};
pub(crate) use labels::Classes;
pub(crate) use stored::{Container, Stored};

use crate::resize::CropBox;
use crate::{Encoding, RawMap};

/// What is wrong with a file, and what to do; the caller adds the sample, modality and path.
pub(crate) type Problem = String;

/// The accepted file extensions, in lower case.
pub const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "npy"];

/// Of a frame that was read as colours.
const READ_AS_COLORS: &str = "it was read as colours, and this modality needs values as stored";

/// Reads a file as a modality needs it, and checks that it is what the modality holds.
pub(crate) fn read(path: &Path, encoding: &Encoding) -> Result<Frame, Problem> {
    let frame = match encoding {
        Encoding::Color { .. } => read_colors(path)?,
        _ => read_values(path)?,
    };
    check_kind(&frame, encoding)?;
    check_values(&frame, encoding)?;
    Ok(frame)
}

/// Reads an image as RGB.
pub(crate) fn read_colors(path: &Path) -> Result<Frame, Problem> {
    let bytes = fs_err::read(path).map_err(|error| error.to_string())?;
    color::read(&bytes, Format::of(&bytes)?)
}

/// Reads any file value by value.
pub(crate) fn read_values(path: &Path) -> Result<Frame, Problem> {
    let bytes = fs_err::read(path).map_err(|error| error.to_string())?;
    match Format::of(&bytes)? {
        Format::Png => png_file::read(&bytes),
        Format::Jpeg => color::read_jpeg(&bytes),
        Format::Npy => npy::read(&bytes),
    }
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

/// What a window of a checked frame holds.
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

/// The format of a file by its first bytes: extensions lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Png,
    Jpeg,
    Npy,
}

impl Format {
    fn of(bytes: &[u8]) -> Result<Self, Problem> {
        if bytes.is_empty() {
            Err("the file is empty".to_owned())
        } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Ok(Self::Png)
        } else if bytes.starts_with(b"\xff\xd8\xff") {
            Ok(Self::Jpeg)
        } else if bytes.starts_with(b"\x93NUMPY") {
            Ok(Self::Npy)
        } else {
            Err("it begins neither like a png nor like a jpeg nor like an npy file; it is damaged \
                 or of another format"
                .to_owned())
        }
    }
}
