//! Values of published files, by the very reader of training.

use std::path::Path;

use multimae_data::{
    DataModality, DecodeLimits, Encoding, Interpolation, ModalityFile, Orientation, Quantity,
    RawMap, RawSample, Valid, ValueRules,
};

use crate::{Error, Result};

/// The decoded maps of one frame, in the order of the files.
pub(crate) struct Decoded {
    pub(crate) height: usize,
    pub(crate) width: usize,
    maps: std::vec::IntoIter<RawMap>,
}

/// A file to decode, and what it should hold.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted<'a> {
    /// 8-bit colours.
    Color(&'a Path),
    /// Class ids below a number of classes.
    Labels(&'a Path, usize),
    /// One channel of numbers.
    Numbers(&'a Path),
}

/// Decodes the files of a frame as training would, and checks that they have the same size.
///
/// # Errors
/// [`Error::Frame`] if a file cannot be read, is damaged, holds something else or has another size than
/// the others.
pub(crate) fn decode(frame: &str, files: &[Wanted<'_>]) -> Result<Decoded> {
    let read = |file: &Wanted<'_>| {
        let path = file.path();
        fs_err::read(path).map_err(|error| fault(frame, path, error.to_string()))
    };
    let contents = files.iter().map(read).collect::<Result<Vec<_>>>()?;
    let files: Vec<(Wanted<'_>, &[u8])> =
        files.iter().copied().zip(contents.iter().map(Vec::as_slice)).collect();
    decode_bytes(frame, &files, DecodeLimits::default())
}

/// Decodes the contents of the files of a frame. The paths are for messages.
///
/// # Errors
/// As [`decode`]; also if a picture is larger than the limits.
pub(crate) fn decode_bytes(
    frame: &str,
    files: &[(Wanted<'_>, &[u8])],
    limits: DecodeLimits,
) -> Result<Decoded> {
    let modalities: Vec<(DataModality, String)> = files
        .iter()
        .enumerate()
        .map(|(at, (file, _))| (file.modality(at), file.path().to_string_lossy().into_owned()))
        .collect();
    let in_memory: Vec<ModalityFile<'_>> = modalities
        .iter()
        .zip(files)
        .map(|((modality, name), &(_, bytes))| ModalityFile { modality, name, bytes })
        .collect();
    let sample = RawSample::from_bytes(frame, &in_memory, limits)
        .map_err(|error| problem(frame, files, error))?;
    let maps: Vec<RawMap> = sample.maps.into_values().collect();
    Ok(Decoded { height: sample.height, width: sample.width, maps: maps.into_iter() })
}

/// The error of the reader, about the file that it names, or the first one.
fn problem(frame: &str, files: &[(Wanted<'_>, &[u8])], error: multimae_data::Error) -> Error {
    match error {
        multimae_data::Error::Sample { path, problem, .. } => fault(frame, &path, problem),
        other => {
            let path = files.first().map_or(Path::new(""), |(file, _)| file.path());
            fault(frame, path, other.to_string())
        }
    }
}

fn fault(frame: &str, path: &Path, problem: String) -> Error {
    Error::Frame { path: path.to_owned(), frame: frame.to_owned(), problem }
}

impl Wanted<'_> {
    fn path(&self) -> &Path {
        match self {
            Self::Color(path) | Self::Labels(path, _) | Self::Numbers(path) => path,
        }
    }

    fn modality(&self, at: usize) -> DataModality {
        let encoding = match self {
            Self::Color(_) => Encoding::Color { mean: [0.0; 3], std: [1.0; 3] },
            Self::Labels(_, classes) => Encoding::labels(*classes, None, 0),
            Self::Numbers(_) => Encoding::Continuous {
                channels: 1,
                divisor: 1.0,
                mean: Vec::new(),
                std: Vec::new(),
                interpolation: Interpolation::Nearest,
                standardize: false,
                quantity: Quantity::Plain,
            },
        };
        let rules = ValueRules { valid: Valid::All, ..ValueRules::default() };
        let mut modality = DataModality::new(format!("{at}"), encoding);
        // Training applies the orientation of photos; published annotations fit the stored pixels.
        modality.orientation = Orientation::Ignore;
        DataModality { rules, ..modality }
    }
}

impl Decoded {
    /// The next file's colours, `(H, W, 3)`.
    pub(crate) fn color(&mut self) -> Vec<u8> {
        match self.maps.next() {
            Some(RawMap::Color(rgb)) => rgb,
            _ => Vec::new(),
        }
    }

    /// The next file's class ids, `(H, W)`.
    pub(crate) fn labels(&mut self) -> Vec<u8> {
        match self.maps.next() {
            Some(RawMap::Labels(labels)) => labels.iter().map(|&label| label as u8).collect(),
            _ => Vec::new(),
        }
    }

    /// The next file's numbers, `(H, W)`.
    pub(crate) fn numbers(&mut self) -> Vec<f32> {
        match self.maps.next() {
            Some(RawMap::Continuous { data, .. }) => data,
            _ => Vec::new(),
        }
    }

    /// The next file's numbers as those of 16 bits, `(H, W)`.
    pub(crate) fn numbers_16(&mut self) -> Vec<u16> {
        self.numbers().into_iter().map(|value| value as u16).collect()
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma, RgbImage};

    use super::*;

    #[test]
    fn files_are_read_as_what_is_wanted_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let [depth, color, labels] = ["d.png", "c.png", "l.png"].map(|name| dir.path().join(name));
        let depths = image::ImageBuffer::<Luma<u16>, _>::from_raw(3, 2, vec![0, 1, 2, 3, 4, 65535]);
        depths.unwrap().save(&depth).unwrap();
        RgbImage::from_raw(3, 2, (0..18).collect()).unwrap().save(&color).unwrap();
        GrayImage::from_raw(3, 2, vec![0, 1, 2, 3, 4, 5]).unwrap().save(&labels).unwrap();
        let wanted = [Wanted::Numbers(&depth), Wanted::Color(&color), Wanted::Labels(&labels, 6)];
        let mut decoded = decode("7", &wanted).unwrap();
        assert_eq!((decoded.height, decoded.width), (2, 3));
        // 0 is a value as any other one: training alone takes it for a hole.
        assert_eq!(decoded.numbers_16(), [0, 1, 2, 3, 4, 65535]);
        assert_eq!(decoded.color(), (0..18).collect::<Vec<u8>>());
        assert_eq!(decoded.labels(), [0, 1, 2, 3, 4, 5]);

        let message = decode("7", &[Wanted::Labels(&labels, 5)]).err().unwrap().to_string();
        assert!(message.contains("l.png: frame 7: "), "{message}");
        let missing = dir.path().join("none.png");
        let message = decode("7", &[Wanted::Color(&missing)]).err().unwrap().to_string();
        assert!(message.contains("none.png: frame 7: "), "{message}");
        GrayImage::from_pixel(4, 2, Luma([0])).save(&labels).unwrap();
        let message = decode("7", &wanted).err().unwrap().to_string();
        assert!(message.contains("l.png: frame 7: it has 2 x 4 pixels"), "{message}");
    }

    #[test]
    fn pictures_above_the_limit_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        GrayImage::from_pixel(4, 3, Luma([9])).save(&path).unwrap();
        let bytes = fs_err::read(&path).unwrap();
        let decode = |most| {
            let limits = DecodeLimits { max_pixels: Some(most) };
            decode_bytes("7", &[(Wanted::Numbers(&path), &bytes)], limits)
        };
        assert_eq!(decode(12).unwrap().numbers(), [9.0; 12]);
        let message = decode(11).err().unwrap().to_string();
        assert!(message.contains("a.png: frame 7: "), "{message}");
    }
}
