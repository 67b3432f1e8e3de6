//! Data sets of files.

mod layout;
mod list;
mod pairing;
mod walk;

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use rand::RngExt;

pub use layout::Layout;
pub use pairing::PairingProblems;
pub(crate) use walk::Files;

use crate::{DataModality, Error, RawSample, Result, decode, stream};

/// Samples in files: every sample has one file per modality.
#[derive(Debug, Clone)]
pub struct Dataset {
    modalities: Vec<DataModality>,
    samples: Vec<SampleEntry>,
}

/// The files of one sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleEntry {
    /// The name of the sample: the path of its files below the modality's folder, without the
    /// extension.
    pub id: String,
    /// One file per modality, in the order of [`Dataset::modalities`].
    pub paths: Vec<PathBuf>,
}

impl Dataset {
    /// Finds the samples below `root`. Files are not read yet. Samples are in the order of their
    /// ids, or of the list.
    ///
    /// # Errors
    /// [`Error::Config`] if the modalities make no sense, [`Error::MissingFolder`],
    /// [`Error::List`], [`Error::Pairing`] with all missing and extra files, [`Error::Io`].
    pub fn open(root: &Path, layout: &Layout, modalities: &[DataModality]) -> Result<Self> {
        check(modalities)?;
        let samples = pairing::pair(root, layout, modalities)?;
        Ok(Self { modalities: modalities.to_vec(), samples })
    }

    /// Samples of known files, in their order.
    ///
    /// # Errors
    /// [`Error::Config`] if the modalities make no sense, there is no sample, or one has not a file
    /// per modality.
    pub fn of_entries(modalities: &[DataModality], samples: Vec<SampleEntry>) -> Result<Self> {
        check(modalities)?;
        if samples.is_empty() {
            return Err(Error::Config("a data set needs at least one sample".to_owned()));
        }
        if let Some(entry) = samples.iter().find(|entry| entry.paths.len() != modalities.len()) {
            return Err(Error::Config(format!(
                "sample `{}` has {} files for {} modalities",
                entry.id,
                entry.paths.len(),
                modalities.len()
            )));
        }
        Ok(Self { modalities: modalities.to_vec(), samples })
    }

    /// The number of samples; never 0.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Never: a data set without samples is an error.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The modalities that every sample has.
    #[must_use]
    pub fn modalities(&self) -> &[DataModality] {
        &self.modalities
    }

    /// The samples.
    #[must_use]
    pub fn samples(&self) -> &[SampleEntry] {
        &self.samples
    }

    /// At most `max_images` of the samples, chosen at random by the seed, in their old order.
    #[must_use]
    pub fn limit(mut self, max_images: Option<usize>, seed: u64) -> Self {
        let Some(max) = max_images.filter(|&max| max < self.samples.len()) else { return self };
        let mut rng = stream(seed, "max_images", 0, 0);
        let mut chosen: Vec<usize> = (0..self.samples.len()).collect();
        for i in 0..max {
            let j = rng.random_range(i..chosen.len());
            chosen.swap(i, j);
        }
        let mut keep = vec![false; self.samples.len()];
        chosen[..max].iter().for_each(|&index| keep[index] = true);
        let mut keep = keep.into_iter();
        self.samples.retain(|_| keep.next().unwrap_or(false));
        self
    }

    /// Reads the files of a sample.
    ///
    /// # Errors
    /// [`Error::Sample`] if a file is damaged, of the wrong kind or of another size than the
    /// others; [`Error::Index`] if there is no such sample.
    pub fn decode(&self, index: usize) -> Result<RawSample> {
        let len = self.samples.len();
        let entry = self.samples.get(index).ok_or(Error::Index { index, len })?;
        let mut maps = IndexMap::with_capacity(self.modalities.len());
        let mut size = None;
        for (modality, path) in self.modalities.iter().zip(&entry.paths) {
            let bad = |problem| Error::Sample {
                sample: entry.id.clone(),
                modality: modality.name.clone(),
                path: path.clone(),
                problem,
            };
            let decoded = decode::decode(path, &modality.encoding).map_err(bad)?;
            let found = (decoded.height, decoded.width);
            let expected = *size.get_or_insert(found);
            if found != expected {
                return Err(bad(self.size_problem(found, expected)));
            }
            maps.insert(modality.name.clone(), decoded.map);
        }
        let (height, width) = size.unwrap_or_default();
        Ok(RawSample { id: entry.id.clone(), index, height, width, maps })
    }

    fn size_problem(&self, found: (usize, usize), expected: (usize, usize)) -> String {
        format!(
            "it has {} x {} pixels, and `{}` of this sample has {} x {} (height x width); all \
             modalities of a sample need the same size, also those with a stride",
            found.0, found.1, self.modalities[0].name, expected.0, expected.1
        )
    }
}

fn check(modalities: &[DataModality]) -> Result<()> {
    if modalities.is_empty() {
        return Err(Error::Config("a data set needs at least one modality".to_owned()));
    }
    for (index, modality) in modalities.iter().enumerate() {
        modality.check()?;
        if modalities[..index].iter().any(|other| other.name == modality.name) {
            return Err(Error::Config(format!("modality `{}` is there twice", modality.name)));
        }
    }
    Ok(())
}
