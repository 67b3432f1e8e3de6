//! Samples from files in memory.

use std::path::Path;

use crate::assemble::{Opened, Part, assemble, bad_file};
use crate::modality::check_modalities;
use crate::raw::RawSample;
use crate::resize::CropBox;
use crate::{DataModality, Error, Result, decode};

/// The file of one modality, in memory.
#[derive(Debug, Clone, Copy)]
pub struct ModalityFile<'a> {
    /// The modality that the file holds.
    pub modality: &'a DataModality,
    /// The name of the file, for messages. The format is inferred from the bytes.
    pub name: &'a str,
    /// The content, of any [format](crate::FileFormat).
    pub bytes: &'a [u8],
}

/// Bounds on what is decoded, checked by the headers of files before pixels take memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecodeLimits {
    /// The largest number of pixels of a file; any number if `None`.
    pub max_pixels: Option<u64>,
}

impl RawSample {
    /// Decodes a sample from files in memory, in their order. The checks are those of
    /// [`Dataset::decode`](crate::Dataset::decode), and the limits are checked for all files
    /// before the first one is decoded.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no file, two are of one modality, or a modality makes no
    /// sense; [`Error::TooLarge`] if a header claims more pixels than are allowed;
    /// [`Error::Sample`] if a file is damaged, of the wrong kind or of another size than the
    /// others. The last two name sample, modality and file.
    ///
    /// ```
    /// use multimae_data::encode::npy;
    /// use multimae_data::{
    ///     DataModality, DecodeLimits, Encoding, ModalityFile, RawMap, RawSample,
    /// };
    ///
    /// # fn main() -> multimae_data::Result<()> {
    /// let modality = DataModality::new("semseg", Encoding::labels(3, None, 0));
    /// let bytes = npy(&[0_u8, 1, 2, 1], &[2, 2])?;
    /// let file = ModalityFile { modality: &modality, name: "a.npy", bytes: &bytes };
    /// let sample = RawSample::from_bytes("a", &[file], DecodeLimits::default())?;
    /// assert_eq!((sample.height, sample.width), (2, 2));
    /// assert_eq!(sample.maps["semseg"], RawMap::Labels(vec![0, 1, 2, 1]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_bytes(id: &str, files: &[ModalityFile<'_>], limits: DecodeLimits) -> Result<Self> {
        check_modalities(files.iter().map(|file| file.modality))?;
        for file in files {
            file.check_size(id, limits)?;
        }
        let parts = files.iter().map(|file| Part {
            modality: file.modality,
            path: Path::new(file.name).into(),
            opened: Opened::decode(file.bytes, file.modality),
        });
        assemble((id, 0), parts, |height, width| CropBox::whole((height, width)))
    }
}

impl ModalityFile<'_> {
    fn check_size(&self, sample: &str, limits: DecodeLimits) -> Result<()> {
        let Some(limit) = limits.max_pixels else { return Ok(()) };
        let path = Path::new(self.name);
        let size = decode::claimed_size(self.bytes);
        let (height, width) =
            size.map_err(|problem| bad_file(sample, self.modality, path, problem))?;
        if height.checked_mul(width).is_some_and(|pixels| pixels <= limit) {
            return Ok(());
        }
        Err(Error::TooLarge {
            sample: sample.to_owned(),
            modality: self.modality.name.clone(),
            path: path.to_owned(),
            height,
            width,
            limit,
        })
    }
}
