//! Samples that are not in files of their own. A further kind of store is a module here that implements
//! [`Store`] for its reader, and its lines in [`open`] and [`is_stored`].

mod pack;
mod table;
mod tars;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

pub(crate) use table::Tables;

use super::pairing::pair_stored;
use super::{Layout, SampleEntry};
use crate::assemble::Opened;
use crate::decode::Problem;
use crate::file_source::FileSource;
use crate::files::Files;
use crate::packed::{Pack, is_pack};
use crate::parquet::is_parquet;
use crate::shards::{self, Shards, is_shards};
use crate::{DataModality, Result};

/// A file, or a set of files, that holds the samples of a data set.
pub(crate) trait Store: Debug + Send + Sync {
    /// The file or folder, for messages.
    fn path(&self) -> &Path;

    /// The ids of the samples that have a modality; paths may be empty.
    ///
    /// # Errors
    /// If there is no such modality, or what is stored cannot serve as one.
    fn files(&self, modality: &DataModality) -> Result<Files>;

    /// The text of a list of samples.
    ///
    /// # Errors
    /// If there is no such list; the message names those that are there.
    fn list(&self, split: &str) -> Result<String>;

    /// The samples of a layout, in its order.
    ///
    /// # Errors
    /// Those of [`Self::files`] and [`Self::list`]; [`Error::Pairing`](crate::Error::Pairing).
    fn samples(&self, layout: &Layout, modalities: &[DataModality]) -> Result<Vec<SampleEntry>> {
        pair_stored(self, layout, modalities)
    }

    /// The file that holds a modality of a sample, for messages.
    fn file(&self, _id: &str, _modality: &DataModality) -> &Path {
        self.path()
    }

    /// The stored frame of a modality of a sample.
    ///
    /// # Errors
    /// If it is not there, cannot be read or is damaged.
    fn open(&self, id: &str, modality: &DataModality) -> Result<Opened<'_>, Problem>;

    /// Bytes and checksum of what is stored of a modality of a sample; a checksum of 0 is none.
    fn size(&self, id: &str, modality: &DataModality) -> (u64, u32);

    /// The number of the file that holds a sample, and the place of the sample in it; `None` if one
    /// file holds all.
    fn block(&self, _id: &str) -> Option<(usize, usize)> {
        None
    }

    /// Notices for the user before samples are used.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether these bytes are those of the files that went in, so that sizes compare with those of a
    /// folder.
    fn keeps_files(&self) -> bool;
}

/// The store at `root` for some modalities; `None` if that is a folder of files.
///
/// # Errors
/// If there is one that cannot be used.
pub(super) fn open(
    root: &Path,
    layout: &Layout,
    modalities: &[DataModality],
) -> Result<Option<Arc<dyn Store>>> {
    if is_parquet(root) {
        return Ok(Some(Arc::new(Tables::open(root)?)));
    }
    let folders: Vec<&str> = modalities.iter().map(|m| m.folder.as_str()).collect();
    if is_shards(root, &folders) {
        return Ok(Some(Arc::new(Shards::open(root, layout.split(), modalities, &|_, _| {})?)));
    }
    if is_pack(root) {
        return Ok(Some(Arc::new(Pack::open(root)?)));
    }
    Ok(None)
}

/// Whether there is the [source](DataModality::source) of a modality below the folder or in the store
/// `root`. An unreadable one has none.
#[must_use]
pub fn has_folder(root: &Path, folder: &str) -> bool {
    if is_parquet(root) {
        return Tables::open(root).is_ok_and(|tables| tables.has_folder(folder));
    }
    if is_shards(root, &[folder]) {
        return shards::has_folder(root, folder);
    }
    if is_pack(root) {
        return Pack::open(root).is_ok_and(|pack| pack.has_folder(folder));
    }
    root.join(FileSource::parse(folder).folder).is_dir()
}

/// Whether data at `root` is in a store rather than in files of folders. Nothing is opened.
#[must_use]
pub fn is_stored(root: &Path) -> bool {
    is_parquet(root) || is_pack(root) || shards::may_be_shards(root)
}
