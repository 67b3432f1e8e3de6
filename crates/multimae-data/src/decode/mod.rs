//! From the bytes of one modality's file to its values: decoding, checking, and picking a window.
//!
//! Everything here works on bytes, wherever they come from; [`contents`] is the only access to files.

mod bmp;
mod color;
mod continuous;
mod exif;
mod format;
mod frame;
mod guard;
mod jp2;
mod jpeg;
mod labels;
mod npy;
mod png_file;
mod pnm;
mod stored;
mod tiff;
mod webp;

use std::path::Path;

use image::ImageFormat;

pub(crate) use exif::ExifOrientation;
pub use format::FileFormat;
pub use frame::Pixels;
pub(crate) use frame::{Form, Frame, FrameInfo, Order, map_pixels, of_any_type};
pub(crate) use guard::guarded;
pub(crate) use stored::Stored;

use crate::limits::MAX_PIXELS;
use crate::modality::LabelRule;
use crate::resize::CropBox;
use crate::{DataModality, Encoding, Orientation, RawMap, ValueRules};

/// The problem with a file, and its remedy; the caller adds the sample, modality and path.
pub(crate) type Problem = String;

/// Of a frame that was read as colours.
const READ_AS_COLORS: &str = "it was read as colours, and this modality needs values as stored";

/// Reads all bytes of a file.
pub(crate) fn contents(path: &Path) -> Result<Vec<u8>, Problem> {
    fs_err::read(path).map_err(|error| error.to_string())
}

/// Decodes the bytes of a file as a modality needs them, upright if that is the rule, and checks
/// that they are what the modality holds. Also gives the orientation that the file carries.
pub(crate) fn decode(
    bytes: &[u8],
    modality: &DataModality,
) -> Result<(Frame, ExifOrientation), Problem> {
    let decode = match &modality.encoding {
        Encoding::Color { .. } => decode_colors,
        encoding if encoding.is_of_color_labels() => decode_color_labels,
        _ => decode_values,
    };
    let (frame, exif) = upright(bytes, modality.orientation, decode)?;
    check(&frame, exif, modality)?;
    Ok((frame, exif))
}

/// The one check of a frame that was read by a modality's rule of orientation.
pub(crate) fn check(
    frame: &Frame,
    exif: ExifOrientation,
    modality: &DataModality,
) -> Result<(), Problem> {
    if modality.orientation.is_applied() && !exif.is_upright() && modality.has_directions() {
        return Err(format!(
            "it holds directions and carries the EXIF orientation {}, which would have to turn the \
             vectors, too; save it upright, or set `orientation: ignore` for its modality",
            exif.number()
        ));
    }
    check_kind(frame, &modality.encoding, &modality.rules)?;
    check_values(frame, &modality.encoding)
}

/// The rule of orientation, for every reader of files: decodes the bytes of a file and turns the
/// pixels as its EXIF orientation says, unless that is to be ignored.
pub(crate) fn upright(
    bytes: &[u8],
    rule: Orientation,
    decode: fn(&[u8]) -> Result<Frame, Problem>,
) -> Result<(Frame, ExifOrientation), Problem> {
    let exif = ExifOrientation::of(bytes, format::known(bytes)?);
    let frame = decode(bytes)?;
    Ok(match rule {
        Orientation::Apply => (exif.turned(frame), exif),
        Orientation::Ignore => (frame, exif),
    })
}

/// Decodes an image as RGB.
pub(crate) fn decode_colors(bytes: &[u8]) -> Result<Frame, Problem> {
    let format = bounded(bytes)?;
    guard::guarded(|| color::read(bytes, format))
}

/// Decodes an image whose colours stand for classes.
pub(crate) fn decode_color_labels(bytes: &[u8]) -> Result<Frame, Problem> {
    let format = bounded(bytes)?;
    guard::guarded(|| labels::read_colors(bytes, format))
}

/// Decodes a file of any format value by value.
pub(crate) fn decode_values(bytes: &[u8]) -> Result<Frame, Problem> {
    let format = bounded(bytes)?;
    guard::guarded(|| match format {
        FileFormat::Png => png_file::read(bytes),
        FileFormat::Jpeg => color::read_jpeg(bytes),
        FileFormat::Npy => npy::read(bytes),
        FileFormat::Tiff => tiff::read(bytes),
        FileFormat::WebP => color::read_webp(bytes),
        FileFormat::Bmp => bmp::read(bytes),
        FileFormat::Pnm => pnm::read(bytes),
        FileFormat::Jpeg2000 => jp2::read(bytes),
    })
}

/// The format of a file whose header claims no more than [`MAX_PIXELS`].
fn bounded(bytes: &[u8]) -> Result<FileFormat, Problem> {
    let format = format::known(bytes)?;
    if format == FileFormat::Png {
        guard::check_palette(bytes)?;
    }
    let (height, width) = claimed_size_of(bytes, format)?;
    if height.checked_mul(width).is_some_and(|pixels| pixels <= MAX_PIXELS) {
        return Ok(format);
    }
    Err(format!(
        "it has {height} x {width} pixels (height x width), and at most {MAX_PIXELS} are read; \
         reduce it"
    ))
}

/// Height and width that the header of a file claims; no pixel is decoded.
pub(crate) fn claimed_size(bytes: &[u8]) -> Result<(u64, u64), Problem> {
    claimed_size_of(bytes, format::known(bytes)?)
}

fn claimed_size_of(bytes: &[u8], format: FileFormat) -> Result<(u64, u64), Problem> {
    guard::guarded(|| match format {
        FileFormat::Png => color::claimed_size(bytes, ImageFormat::Png),
        FileFormat::Jpeg => jpeg::size(bytes),
        FileFormat::Npy => npy::claimed_size(bytes),
        FileFormat::Tiff => tiff::claimed_size(bytes),
        FileFormat::WebP => webp::claimed_size(bytes),
        FileFormat::Bmp => color::claimed_size(bytes, ImageFormat::Bmp),
        FileFormat::Pnm => pnm::claimed_size(bytes),
        FileFormat::Jpeg2000 => jp2::claimed_size(bytes),
    })
}

/// Checks that a frame is of the kind that a modality holds.
pub(crate) fn check_kind(
    frame: &Frame,
    encoding: &Encoding,
    rules: &ValueRules,
) -> Result<(), Problem> {
    match encoding {
        Encoding::Color { .. } if frame.info.form != Form::Color => {
            Err(color::NO_COLORS.to_owned())
        }
        Encoding::Color { .. } => Ok(()),
        Encoding::Continuous { channels, .. } => continuous::check_kind(frame, *channels, rules),
        Encoding::Labels { .. } => labels::check_kind(frame, encoding.is_of_color_labels()),
    }
}

/// Checks that all values of a frame, which is of the right kind, are possible.
pub(crate) fn check_values(frame: &Frame, encoding: &Encoding) -> Result<(), Problem> {
    match encoding {
        // Values that are not finite are invalid pixels.
        Encoding::Color { .. } | Encoding::Continuous { .. } => Ok(()),
        Encoding::Labels { .. } => match LabelRule::of(encoding) {
            Some(rule) => labels::check_values(frame, &rule),
            None => Ok(()),
        },
    }
}

/// Returns the values of a window of a checked frame; invalid pixels of numbers are NaN.
pub(crate) fn convert(
    frame: Frame,
    modality: &DataModality,
    window: CropBox,
) -> Result<RawMap, Problem> {
    let (height, width) = frame.size();
    if window.top + window.height > height || window.left + window.width > width {
        return Err(format!("{window:?} is not inside its {height} x {width} pixels"));
    }
    match &modality.encoding {
        Encoding::Color { .. } => color::convert(frame, window),
        Encoding::Continuous { .. } => match modality.zero_problem(frame.pixels.range()) {
            Some(problem) => Err(problem),
            None => Ok(continuous::convert(frame, modality, window)),
        },
        encoding @ Encoding::Labels { classes, .. } => {
            let rule = LabelRule::of(encoding).unwrap_or(LabelRule::new(*classes, None, 0));
            Ok(labels::convert(&frame, &rule, window))
        }
    }
}
