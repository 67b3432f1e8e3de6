//! A file as it is, whatever it is for.

use std::path::Path;

use super::png_file::{PngFile, kind_of_pixels};
use super::{Format, Problem, color, npy};

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
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Problem> {
        let bytes = fs_err::read(path).map_err(|error| error.to_string())?;
        let stored = match Format::of(&bytes)? {
            Format::Png => Self::png(PngFile::decode(&bytes)?),
            Format::Jpeg => Self::jpeg(&bytes)?,
            Format::Npy => Self::npy(&bytes)?,
        };
        if stored.values.is_empty() {
            return Err(format!("it has {} x {} pixels", stored.height, stored.width));
        }
        Ok(stored)
    }

    fn png(png: PngFile) -> Self {
        Self {
            height: png.height,
            width: png.width,
            channels: png.channels,
            bits: png.bits,
            palette: png.palette,
            container: Container::Png,
            values: png.values.into_iter().map(f32::from).collect(),
        }
    }

    fn jpeg(bytes: &[u8]) -> Result<Self, Problem> {
        let (height, width, channels, values) = color::jpeg_channels(bytes)?;
        let values = values.into_iter().map(f32::from).collect();
        let container = Container::Jpeg;
        Ok(Self { height, width, channels, bits: 8, palette: false, container, values })
    }

    fn npy(bytes: &[u8]) -> Result<Self, Problem> {
        // 64-bit integers are labels; everything else is a number that 32-bit floats hold.
        let (shape, values, bits) = match npy::floats(bytes) {
            Ok(array) => (array.shape, array.values, 32),
            Err(problem) => match npy::integers(bytes) {
                Ok(array) => {
                    (array.shape, array.values.into_iter().map(|x| x as f32).collect(), 64)
                }
                Err(_) => return Err(problem),
            },
        };
        let (channels, height, width) = match shape[..] {
            [height, width] => (1, height, width),
            [channels, height, width] => (channels, height, width),
            _ => return Err(format!("its shape is {shape:?}, expected 2 or 3 axes")),
        };
        let container = Container::Npy;
        Ok(Self { height, width, channels, bits, palette: false, container, values })
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
