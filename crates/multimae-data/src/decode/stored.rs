//! A file as it is, whatever it is for.

use std::path::Path;

use super::Problem;
use super::frame::{Form, Frame, FrameInfo, Pixels};
use super::png_file::kind_of_pixels;

/// The stored values of any file that can be read.
pub(crate) struct Stored {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    /// Bits per value.
    pub(crate) bits: usize,
    /// Values are indices into a palette.
    pub(crate) palette: bool,
    pub(crate) container: Container,
    /// `(H, W, C)`, of arrays `(C, H, W)`. Exact: stored integers have at most 24 bits, or are
    /// labels below that.
    pub(crate) values: Vec<f32>,
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    Png,
    Jpeg,
    Npy,
}

impl Stored {
    /// Reads and decodes a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Problem> {
        Self::decode(&super::contents(path)?)
    }

    /// Decodes the bytes of a file.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Problem> {
        let Frame { info, pixels } = super::decode_values(bytes)?;
        let (container, bits, palette) = match info.form {
            Form::Png { bits, palette } => (Container::Png, bits.into(), palette),
            Form::Color | Form::Jpeg => (Container::Jpeg, 8, false),
            // 64-bit integers are labels; everything else is a number that 32-bit floats hold.
            Form::Npy { .. } => {
                (Container::Npy, if matches!(pixels, Pixels::I64(_)) { 64 } else { 32 }, false)
            }
        };
        let FrameInfo { height, width, channels, .. } = info;
        Ok(Self { height, width, channels, bits, palette, container, values: pixels.to_f32() })
    }

    /// In words, for example `16-bit grey png`.
    pub(crate) fn describe(&self) -> String {
        let kind = kind_of_pixels(self.palette, self.channels);
        match self.container {
            Container::Png => format!("{}-bit {kind} png", self.bits),
            Container::Jpeg => format!("{kind} jpeg"),
            Container::Npy => format!("npy, {} channel(s)", self.channels),
        }
    }
}
