//! One sample from the files of its modalities, wherever their bytes are.

use std::borrow::Cow;
use std::path::Path;

use indexmap::IndexMap;

use crate::decode::{self, ExifOrientation, Frame, Problem};
use crate::packed::PackedFrame;
use crate::resize::CropBox;
use crate::{DataModality, Error, RawMap, RawSample, Result};

/// The file of one modality of a sample.
pub(crate) struct Part<'a> {
    pub(crate) modality: &'a DataModality,
    /// The file, for messages.
    pub(crate) path: Cow<'a, Path>,
    pub(crate) opened: Result<Opened<'a>, Problem>,
}

/// One modality of a sample, before it is clear which part is wanted.
pub(crate) enum Opened<'a> {
    /// Decoded and checked, with the orientation that the file carries.
    Decoded(Frame, ExifOrientation),
    /// Not yet read.
    Packed(PackedFrame<'a>),
}

impl Opened<'_> {
    /// Decodes the bytes of a file, and checks it.
    pub(crate) fn decode(bytes: &[u8], modality: &DataModality) -> Result<Self, Problem> {
        decode::decode(bytes, modality).map(|(frame, exif)| Self::Decoded(frame, exif))
    }

    fn size(&self) -> (usize, usize) {
        match self {
            Self::Decoded(frame, _) => frame.size(),
            Self::Packed(frame) => frame.size(),
        }
    }

    /// The orientation of the file; packs hold what was read by the rule.
    fn exif(&self) -> ExifOrientation {
        match self {
            Self::Decoded(_, exif) => *exif,
            Self::Packed(_) => ExifOrientation::UPRIGHT,
        }
    }

    fn window(self, modality: &DataModality, part: CropBox) -> Result<RawMap, Problem> {
        match self {
            Self::Decoded(frame, _) => decode::convert(frame, modality, part),
            Self::Packed(frame) => frame.window(modality, part),
        }
    }
}

/// The error of a file that is bad.
pub(crate) fn bad_file(
    sample: &str,
    modality: &DataModality,
    path: &Path,
    problem: Problem,
) -> Error {
    Error::Sample {
        sample: sample.to_owned(),
        modality: modality.name.clone(),
        path: path.to_owned(),
        problem,
    }
}

/// Puts a sample together from its parts, which are taken one by one, so that nothing is decoded
/// behind a bad one. `window` chooses the part of the image when it knows height and width.
///
/// # Errors
/// [`Error::Sample`] if a part is bad, of another size than the first, or smaller than the window.
pub(crate) fn assemble<'a>(
    (id, index): (&str, usize),
    parts: impl IntoIterator<Item = Part<'a>>,
    window: impl FnOnce(usize, usize) -> CropBox,
) -> Result<RawSample> {
    let mut maps = IndexMap::new();
    let mut window = Some(window);
    // The first modality, its size and orientation, and the window.
    let mut first: Option<(&DataModality, (usize, usize), ExifOrientation, CropBox)> = None;
    for Part { modality, path, opened } in parts {
        let bad = |problem| bad_file(id, modality, &path, problem);
        let opened = opened.map_err(bad)?;
        let (found, exif) = (opened.size(), opened.exif());
        if let Some(window) = window.take() {
            first = Some((modality, found, exif, window(found.0, found.1)));
        }
        let Some((one, expected, one_exif, chosen)) = first else { continue };
        if found != expected {
            let mut problem = other_size(found, &one.name, expected);
            for (modality, exif) in [(one, one_exif), (modality, exif)] {
                problem.push_str(&exif.advice(&modality.name, modality.orientation));
            }
            return Err(bad(problem));
        }
        let map = opened.window(modality, chosen).map_err(bad)?;
        maps.insert(modality.name.clone(), map);
    }
    let (height, width) = first.map(|(.., part)| (part.height, part.width)).unwrap_or_default();
    Ok(RawSample { id: id.to_owned(), index, height, width, maps })
}

fn other_size(found: (usize, usize), first: &str, expected: (usize, usize)) -> Problem {
    format!(
        "it has {} x {} pixels, and `{first}` of this sample has {} x {} (height x width); all \
         modalities of a sample need the same size, also those with a stride",
        found.0, found.1, expected.0, expected.1
    )
}
