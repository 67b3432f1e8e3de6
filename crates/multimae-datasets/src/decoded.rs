//! Values of published files, by the very reader of training.

use std::path::Path;

use multimae_data::{
    DataModality, Dataset, Encoding, Interpolation, Orientation, Quantity, RawMap, SampleEntry,
    Valid, ValueRules,
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
/// [`Error::Frame`] if a file is damaged, holds something else or has another size than the others.
pub(crate) fn decode(frame: &str, files: &[Wanted<'_>]) -> Result<Decoded> {
    let paths = files.iter().map(|file| file.path().to_owned()).collect();
    let modalities: Vec<DataModality> =
        files.iter().enumerate().map(|(at, file)| file.modality(at)).collect();
    let entry = SampleEntry { id: frame.to_owned(), paths };
    let sample = Dataset::of_entries(&modalities, vec![entry])
        .and_then(|dataset| dataset.decode(0))
        .map_err(|error| problem(frame, files, &error))?;
    let maps: Vec<RawMap> = sample.maps.into_values().collect();
    Ok(Decoded { height: sample.height, width: sample.width, maps: maps.into_iter() })
}

fn problem(frame: &str, files: &[Wanted<'_>], error: &multimae_data::Error) -> Error {
    let (path, problem) = match error {
        multimae_data::Error::Sample { path, problem, .. } => (path.clone(), problem.clone()),
        other => {
            let path = files.first().map(|file| file.path().to_owned()).unwrap_or_default();
            (path, other.to_string())
        }
    };
    Error::Frame { path, frame: frame.to_owned(), problem }
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

    /// The next file's numbers of 16 bits, `(H, W)`.
    pub(crate) fn numbers(&mut self) -> Vec<u16> {
        match self.maps.next() {
            Some(RawMap::Continuous { data, .. }) => data.iter().map(|&x| x as u16).collect(),
            _ => Vec::new(),
        }
    }
}
