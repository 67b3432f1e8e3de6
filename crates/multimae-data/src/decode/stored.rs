//! A file as it is, whatever it is for.

use std::path::Path;

use super::frame::{Form, Frame, FrameInfo, Pixels};
use super::png_file::kind_of_pixels;
use super::{ExifOrientation, FileFormat, Problem};
use crate::Orientation;

/// The stored values of any file that can be read.
pub(crate) struct Stored {
    /// Rows, as the rule of orientation shows the file.
    pub(crate) height: usize,
    /// Columns.
    pub(crate) width: usize,
    pub(crate) channels: usize,
    /// Bits per value.
    pub(crate) bits: usize,
    /// Values are indices into a palette.
    pub(crate) palette: bool,
    pub(crate) format: FileFormat,
    /// The EXIF orientation of the file, applied or not.
    pub(crate) exif: ExifOrientation,
    /// `(H, W, C)`, of arrays `(C, H, W)`, in the type of the file.
    pub(crate) pixels: Pixels,
    /// The same as 32-bit floats, which hold integers of up to 24 bits exactly.
    pub(crate) values: Vec<f32>,
}

impl Stored {
    /// Reads and decodes a file.
    pub(crate) fn read(path: &Path, rule: Orientation) -> Result<Self, Problem> {
        Self::decode(&super::contents(path)?, rule)
    }

    /// Decodes the bytes of a file.
    pub(crate) fn decode(bytes: &[u8], rule: Orientation) -> Result<Self, Problem> {
        let (frame, exif) = super::upright(bytes, rule, super::decode_values)?;
        Ok(Self::of_frame(frame, exif))
    }

    /// The values of a frame, however it was stored.
    pub(crate) fn of_frame(frame: Frame, exif: ExifOrientation) -> Self {
        let Frame { info, pixels } = frame;
        let (format, bits, palette) = match info.form {
            Form::Png { bits, palette } => (FileFormat::Png, bits.into(), palette),
            Form::Raster { format, bits, palette } => (format, bits.into(), palette),
            Form::Color | Form::Jpeg => (FileFormat::Jpeg, 8, false),
            // 64-bit integers are labels; everything else is a number that 32-bit floats hold.
            Form::Npy { .. } => {
                (FileFormat::Npy, if matches!(pixels, Pixels::I64(_)) { 64 } else { 32 }, false)
            }
        };
        let FrameInfo { height, width, channels, .. } = info;
        let values = pixels.to_f32();
        Self { height, width, channels, bits, palette, format, exif, pixels, values }
    }

    /// In words, for example `16-bit grey png`.
    pub(crate) fn describe(&self) -> String {
        let kind = kind_of_pixels(self.palette, self.channels);
        match self.format {
            FileFormat::Jpeg => format!("{kind} jpeg"),
            FileFormat::Npy => format!("npy, {} channel(s)", self.channels),
            format => format!("{}-bit {kind} {}", self.bits, format.word()),
        }
    }
}
