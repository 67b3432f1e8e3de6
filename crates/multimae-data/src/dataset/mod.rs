//! Data sets of files.

mod entries;
mod facts;
mod layout;
mod pairing;
mod store;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rand::RngExt;

use entries::{Entries, FileEntries};
pub use entries::{SampleEntry, Samples, SamplesIter};
pub(crate) use facts::hex;
pub use facts::{DataDifference, DataFacts, FileSizes};
pub use layout::Layout;
pub(crate) use store::{Store, TableFiles, Tables, table_columns};
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
    entries: Entries,
    stray: usize,
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
            let rows = store.rows(layout, &modalities)?;
            return Ok(Self { modalities, entries: Entries::Stored { store, rows }, stray: 0 });
        }
        let (files, stray) = pairing::pair(root, layout, &modalities)?;
        Ok(Self { modalities, entries: Entries::Files(files), stray })
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
        let mut files = FileEntries::new(Path::new(""), modalities.len());
        samples.iter().for_each(|entry| files.push(&entry.id, &entry.paths));
        files.shrink_to_fit();
        Ok(Self { modalities: modalities.to_vec(), entries: Entries::Files(files), stray: 0 })
    }

    /// The number of samples; never 0.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Never: a data set without samples is an error.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// The modalities that every sample has.
    #[must_use]
    pub fn modalities(&self) -> &[DataModality] {
        &self.modalities
    }

    /// The samples.
    #[must_use]
    pub fn samples(&self) -> Samples<'_> {
        Samples { entries: &self.entries }
    }

    /// The id of a sample.
    #[must_use]
    pub fn id(&self, index: usize) -> Option<Cow<'_, str>> {
        self.entries.id(index)
    }

    /// The ids of the samples in their order.
    pub fn ids(&self) -> impl Iterator<Item = Cow<'_, str>> {
        (0..self.len()).map_while(|index| self.id(index))
    }

    /// The number of [stray](crate::is_stray) files and folders that were left out.
    #[must_use]
    pub fn stray(&self) -> usize {
        self.stray
    }

    /// Notices about the files, for the user before they are used.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let mut notices = self.entries.store().map(Store::notices).unwrap_or_default();
        notices.extend(stray_notice(self.stray));
        notices
    }

    /// At most `max_images` of the samples, chosen at random by the seed, in their old order.
    #[must_use]
    pub fn limit(mut self, max_images: Option<usize>, seed: u64) -> Self {
        let Some(max) = max_images.filter(|&max| max < self.len()) else { return self };
        let mut rng = stream(seed, "max_images", 0, 0);
        let mut chosen: Vec<usize> = (0..self.len()).collect();
        for i in 0..max {
            let j = rng.random_range(i..chosen.len());
            chosen.swap(i, j);
        }
        chosen.truncate(max);
        chosen.sort_unstable();
        self.entries = self.entries.keep(&chosen);
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
        let len = self.len();
        let id = self.id(index).ok_or(Error::Index { index, len })?;
        let parts = self.modalities.iter().enumerate().map(|(place, modality)| {
            let path = self.path(index, place, modality);
            let opened = self.open_one(index, modality, &path);
            Part { modality, path, opened }
        });
        assemble((&id, index), parts, window)
    }

    /// The samples by the files that hold many of them, in the order of these; `None` if each has
    /// files of its own, or one file holds all.
    #[must_use]
    pub fn blocks(&self) -> Option<Vec<Vec<usize>>> {
        let mut blocks: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for index in 0..self.len() {
            let (store, row) = self.entries.stored(index)?;
            let (file, place) = store.block(row)?;
            blocks.entry(file).or_default().push((place, index));
        }
        let in_order = |mut block: Vec<(usize, usize)>| {
            block.sort_unstable();
            block.into_iter().map(|(_, index)| index).collect()
        };
        Some(blocks.into_values().map(in_order).collect())
    }

    /// The files of each of [`Self::blocks`]; empty if there are none.
    #[must_use]
    pub fn block_files(&self) -> Vec<Vec<PathBuf>> {
        let Some(store) = self.entries.store() else { return Vec::new() };
        let rows = (0..self.len()).filter_map(|index| self.entries.stored(index));
        let blocks: BTreeSet<usize> =
            rows.filter_map(|(_, row)| Some(store.block(row)?.0)).collect();
        blocks.into_iter().map(|block| store.block_files(block)).collect()
    }

    /// The file that has a modality of a sample.
    fn path(&self, index: usize, place: usize, modality: &DataModality) -> Cow<'_, Path> {
        match self.entries.stored(index) {
            Some((store, row)) => Cow::Borrowed(store.file(row, modality)),
            None => Cow::Owned(self.entries.path(index, place).unwrap_or_default()),
        }
    }

    fn open_one(
        &self,
        index: usize,
        modality: &DataModality,
        path: &Path,
    ) -> Result<Opened<'_>, Problem> {
        match self.entries.stored(index) {
            Some((store, row)) => store.open(row, modality),
            None => Opened::decode(&decode::contents(path)?, modality),
        }
    }
}
