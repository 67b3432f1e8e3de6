//! The files of a copy: listing and decoding.

use std::path::{Path, PathBuf};

use multimae_data::{
    DataModality, DecodeLimits, Encoding, Interpolation, ModalityFile, Orientation, Quantity,
    RawMap, RawSample, is_stray,
};
use png::BitDepth;

use super::Problem;

/// Pixels of the largest picture that is decoded: far more than a frame has.
const MAX_PIXELS: u64 = 1 << 22;

/// A decoded map: height and width, and its values row by row.
pub(super) struct Decoded<T> {
    pub(super) size: (usize, usize),
    pub(super) values: Vec<T>,
}

/// Decodes a picture as RGB, `(H, W, 3)`.
pub(super) fn colors(path: &Path) -> Result<Decoded<u8>, Problem> {
    colors_of(&contents(path)?, path)
}

/// Decodes a picture in memory as RGB. The path is for messages.
pub(super) fn colors_of(bytes: &[u8], path: &Path) -> Result<Decoded<u8>, Problem> {
    let (size, map) = decode(bytes, path, Encoding::Color { mean: [0.0; 3], std: [1.0; 3] })?;
    match map {
        RawMap::Color(values) => Ok(Decoded { size, values }),
        _ => Err(Problem::of(path)("it holds no colours".to_owned())),
    }
}

/// Decodes a grey picture as numbers, `(H, W)`.
pub(super) fn numbers_of(bytes: &[u8], path: &Path) -> Result<Decoded<f32>, Problem> {
    let encoding = Encoding::Continuous {
        channels: 1,
        divisor: 1.0,
        mean: Vec::new(),
        std: Vec::new(),
        interpolation: Interpolation::Nearest,
        standardize: false,
        quantity: Quantity::Plain,
    };
    let (size, map) = decode(bytes, path, encoding)?;
    match map {
        RawMap::Continuous { data, .. } => Ok(Decoded { size, values: data }),
        _ => Err(Problem::of(path)("it holds no numbers".to_owned())),
    }
}

/// Decodes a grey PNG of this many bits as numbers, `(H, W)`. `meaning` says what the bits mean here.
pub(super) fn grey_png(
    path: &Path,
    bits: BitDepth,
    meaning: &str,
) -> Result<Decoded<f32>, Problem> {
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

/// Decodes a file as it is stored, whatever orientation it carries: all maps of a copy are stored the
/// same way.
fn decode(
    bytes: &[u8],
    path: &Path,
    encoding: Encoding,
) -> Result<((usize, usize), RawMap), Problem> {
    let name = path.to_string_lossy();
    let modality =
        DataModality { orientation: Orientation::Ignore, ..DataModality::new("map", encoding) };
    let file = ModalityFile { modality: &modality, name: &name, bytes };
    let limits = DecodeLimits { max_pixels: Some(MAX_PIXELS) };
    let decoded = RawSample::from_bytes("frame", &[file], limits).map_err(|error| match error {
        multimae_data::Error::Sample { problem, .. } => problem,
        other => other.to_string(),
    });
    let sample = decoded.map_err(Problem::of(path))?;
    let size = (sample.height, sample.width);
    let map = sample.maps.into_values().next();
    map.map(|map| (size, map)).ok_or_else(|| Problem::of(path)("it holds nothing".to_owned()))
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
