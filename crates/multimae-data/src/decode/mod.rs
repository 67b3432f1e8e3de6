//! Decoding of the file of one modality.

mod color;
mod continuous;
mod labels;
mod npy;
mod png_file;
mod stored;

use std::path::Path;

pub(crate) use stored::{Container, Stored};

use crate::{Encoding, RawMap};

/// What is wrong with a file, and what to do; the caller adds the sample, modality and path.
pub(crate) type Problem = String;

/// The accepted file extensions, in lower case.
pub const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "npy"];

/// A decoded file.
pub(crate) struct Decoded {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) map: RawMap,
}

/// Reads and decodes a file.
pub(crate) fn decode(path: &Path, encoding: &Encoding) -> Result<Decoded, Problem> {
    let bytes = fs_err::read(path).map_err(|error| error.to_string())?;
    let format = Format::of(&bytes)?;
    let decoded = match encoding {
        Encoding::Color { .. } => color::decode(&bytes, format),
        Encoding::Continuous { channels, .. } => continuous::decode(&bytes, format, *channels),
        Encoding::Labels { classes, ignore, offset } => {
            labels::decode(&bytes, format, labels::Classes::new(*classes, *ignore, *offset))
        }
    }?;
    if decoded.height == 0 || decoded.width == 0 {
        return Err(format!("it has {} x {} pixels", decoded.height, decoded.width));
    }
    Ok(decoded)
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
