//! Data sets of files.

mod facts;
mod layout;
mod pairing;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::RngExt;

pub(crate) use facts::hex;
pub use facts::{DataDifference, DataFacts, FileSizes};
pub use layout::Layout;
pub(crate) use store::{Store, Tables};
pub use store::{has_folder, is_stored};

use crate::assemble::{Opened, Part, assemble};
use crate::decode::{self, Problem};
use crate::modality::check_modalities;
use crate::names::stray_notice;
use crate::resize::CropBox;
use crate::{DataModality, Error, RawSample, Result, stream};

/// Samples in files, in a [pack](crate::packed) or in [shards](crate::shards): every sample has one
/// file or frame per modality.
#[derive(Debug, Clone)]
pub struct Dataset {
    modalities: Vec<DataModality>,
    samples: Vec<SampleEntry>,
    /// The place of the samples, if they are not in files of their own.
    store: Option<Arc<dyn Store>>,
    stray: usize,
}

/// The files of one sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleEntry {
    /// The name of the sample: the path of its files below the modality's folder, without the
    /// extension.
    pub id: String,
    /// One file per modality, in the order of [`Dataset::modalities`]; none in a pack or in shards.
    pub paths: Vec<PathBuf>,
}

impl Dataset {
    /// Finds the samples below the folder `root`, in the [pack](crate::packed) `root`, or in the
    /// [shards](crate::shards) that `root` names. Files are not read yet, apart from the headers of
    /// shards that have no index. Samples are in the order of their ids, or of the list.
    ///
    /// # Errors
    /// [`Error::Config`] if the modalities make no sense, [`Error::MissingFolder`],
    /// [`Error::List`], [`Error::Pairing`] with all missing and extra files, [`Error::Pack`] if a
    /// file is no pack or lacks a modality, [`Error::Shards`] and [`Error::Shard`], [`Error::Io`].
    pub fn open(root: &Path, layout: &Layout, modalities: &[DataModality]) -> Result<Self> {
        check_modalities(modalities)?;
        let modalities = modalities.to_vec();
        if let Some(store) = store::open(root, layout, &modalities)? {
            let samples = store.samples(layout, &modalities)?;
            return Ok(Self { modalities, samples, store: Some(store), stray: 0 });
        }
        let (samples, stray) = pairing::pair(root, layout, &modalities)?;
        Ok(Self { modalities, samples, store: None, stray })
    }

    /// Samples of known files, in their order.
    ///
    /// # Errors
    /// [`Error::Config`] if the modalities make no sense, there is no sample, or one has not a file
    /// per modality.
    pub fn of_entries(modalities: &[DataModality], samples: Vec<SampleEntry>) -> Result<Self> {
        check_modalities(modalities)?;
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
        Ok(Self { modalities: modalities.to_vec(), samples, store: None, stray: 0 })
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

    /// The number of [stray](crate::is_stray) files and folders that were left out.
    #[must_use]
    pub fn stray(&self) -> usize {
        self.stray
    }

    /// Notices about the files, for the user before they are used.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let mut notices = self.store.as_ref().map(|store| store.notices()).unwrap_or_default();
        notices.extend(stray_notice(self.stray));
        notices
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
        self.decode_window(index, |height, width| CropBox::whole((height, width)))
    }

    /// Reads the part of a sample that `window` chooses when it knows the height and the width: the
    /// result is as if the files had only that. The files are checked as a whole all the same.
    ///
    /// # Errors
    /// As [`Self::decode`]; also if the window is not inside the image.
    pub fn decode_window(
        &self,
        index: usize,
        window: impl FnOnce(usize, usize) -> CropBox,
    ) -> Result<RawSample> {
        let len = self.samples.len();
        let entry = self.samples.get(index).ok_or(Error::Index { index, len })?;
        let parts = self.modalities.iter().enumerate().map(|(place, modality)| {
            let path = self.path(entry, place, modality);
            Part { modality, path, opened: self.open_one(entry, modality, path) }
        });
        assemble((&entry.id, index), parts, window)
    }

    /// The samples by the files that hold many of them, in the order of these; `None` if each has
    /// files of its own, or one file holds all.
    #[must_use]
    pub fn blocks(&self) -> Option<Vec<Vec<usize>>> {
        let store = self.store.as_ref()?;
        let mut blocks: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for (index, sample) in self.samples.iter().enumerate() {
            let (file, place) = store.block(&sample.id)?;
            blocks.entry(file).or_default().push((place, index));
        }
        let in_order = |mut block: Vec<(usize, usize)>| {
            block.sort_unstable();
            block.into_iter().map(|(_, index)| index).collect()
        };
        Some(blocks.into_values().map(in_order).collect())
    }

    /// The file that has a modality of a sample.
    fn path<'a>(
        &'a self,
        entry: &'a SampleEntry,
        place: usize,
        modality: &DataModality,
    ) -> &'a Path {
        match &self.store {
            Some(store) => store.file(&entry.id, modality),
            None => entry.paths.get(place).map_or(Path::new(""), PathBuf::as_path),
        }
    }

    fn open_one(
        &self,
        entry: &SampleEntry,
        modality: &DataModality,
        path: &Path,
    ) -> Result<Opened<'_>, Problem> {
        match &self.store {
            Some(store) => store.open(&entry.id, modality),
            None => Opened::decode(&decode::contents(path)?, modality),
        }
    }
}
