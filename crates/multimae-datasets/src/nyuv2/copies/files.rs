//! The files of a copy: listing and decoding.

use std::path::{Path, PathBuf};

use multimae_data::{DecodeLimits, is_stray};
use png::BitDepth;

use super::Problem;
use crate::Error;
use crate::decoded::{Decoded, Wanted, decode_bytes};

/// Far more pixels than a frame has.
const LIMITS: DecodeLimits = DecodeLimits { max_pixels: Some(1 << 22) };

/// A decoded picture: height and width, and its values row by row.
pub(super) struct Picture<T> {
    pub(super) size: (usize, usize),
    pub(super) values: Vec<T>,
}

/// Decodes a picture as RGB, `(H, W, 3)`.
pub(super) fn colors(path: &Path) -> Result<Picture<u8>, Problem> {
    colors_of(&contents(path)?, path)
}

/// Decodes a picture in memory as RGB. The path is for messages.
pub(super) fn colors_of(bytes: &[u8], path: &Path) -> Result<Picture<u8>, Problem> {
    let mut decoded = decode(bytes, Wanted::Color(path), path)?;
    Ok(Picture { size: (decoded.height, decoded.width), values: decoded.color() })
}

/// Decodes a grey picture as numbers, `(H, W)`.
pub(super) fn numbers_of(bytes: &[u8], path: &Path) -> Result<Picture<f32>, Problem> {
    let mut decoded = decode(bytes, Wanted::Numbers(path), path)?;
    Ok(Picture { size: (decoded.height, decoded.width), values: decoded.numbers() })
}

/// Decodes a grey PNG of this many bits as numbers, `(H, W)`. `meaning` says what the bits mean here.
pub(super) fn grey_png(
    path: &Path,
    bits: BitDepth,
    meaning: &str,
) -> Result<Picture<f32>, Problem> {
    let bytes = contents(path)?;
    let fail = Problem::of(path);
    let mut decoder = png::Decoder::new(std::io::Cursor::new(&bytes));
    let found = match decoder.read_header_info() {
        Ok(info) => info.bit_depth,
        Err(error) => return Err(fail(format!("it is not a whole PNG file: {error}"))),
    };
    if found != bits {
        return Err(fail(format!(
            "it has {} bits per pixel, and {meaning} have {}",
            found as u8, bits as u8
        )));
    }
    numbers_of(&bytes, path)
}

fn contents(path: &Path) -> Result<Vec<u8>, Problem> {
    fs_err::read(path).map_err(|error| Problem::of(path)(error.to_string()))
}

fn decode(bytes: &[u8], wanted: Wanted<'_>, path: &Path) -> Result<Decoded, Problem> {
    decode_bytes("", &[(wanted, bytes)], LIMITS).map_err(|error| match error {
        Error::Frame { path, problem, .. } => Problem { path, text: problem },
        other => Problem::of(path)(other.to_string()),
    })
}

/// The names in a folder, without those that systems leave behind, in rising order.
pub(super) fn names(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        if let Ok(name) = entry?.file_name().into_string()
            && !is_stray(&name)
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The names of the folders in a folder, in rising order; none if it is no folder.
pub(super) fn folder_names(folder: &Path) -> Vec<String> {
    let mut names = names(folder).unwrap_or_default();
    names.retain(|name| folder.join(name).is_dir());
    names
}

/// Whether a folder has a file whose name fits.
pub(super) fn has_file(folder: &Path, fits: impl Fn(&str) -> bool) -> bool {
    let entries = fs_err::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.into_iter().any(|entry| entry.file_name().to_str().is_some_and(&fits))
}

/// The number in a name, between what is before and behind it: digits alone.
pub(super) fn number<'a>(name: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    let digits = name.strip_prefix(before)?.strip_suffix(behind)?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

/// A path below the folder of a copy, in messages and tables.
pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}

/// Bytes of all files together.
///
/// # Errors
/// If one is missing.
pub(super) fn sizes(root: &Path, files: &[PathBuf]) -> std::io::Result<Vec<u64>> {
    files.iter().map(|file| Ok(fs_err::metadata(root.join(file))?.len())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_alone() {
        assert_eq!(number("rgb_00045.jpg", "rgb_", ".jpg"), Some("00045"));
        for other in ["rgb_.jpg", "rgb_1a.jpg", "rgb_00045.png", "xrgb_00045.jpg"] {
            assert_eq!(number(other, "rgb_", ".jpg"), None, "{other}");
        }
    }
}
