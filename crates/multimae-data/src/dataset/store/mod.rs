//! Samples that are not in files of their own. A further kind of store is a module here that implements
//! [`Store`] for its reader, and its lines in [`open`] and [`is_stored`].

mod pack;
mod table;
mod table_files;
mod tars;

use std::borrow::Cow;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use table::Tables;
pub(crate) use table_files::{TableFiles, columns as table_columns};

use super::Layout;
use super::pairing::pair_stored;
use crate::assemble::Opened;
use crate::decode::Problem;
use crate::file_source::FileSource;
use crate::files::Files;
use crate::packed::{Pack, is_pack};
use crate::parquet::is_parquet;
use crate::shards::{self, Shards, is_shards};
use crate::{DataModality, Error, Result};

/// A file, or a set of files, that holds the samples of a data set: a row is a sample.
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

    /// The id of a row; empty if there is no such row.
    fn id(&self, row: usize) -> Cow<'_, str>;

    /// The row of an id.
    fn row(&self, id: &str) -> Option<usize>;

    /// The rows of a layout, in its order.
    ///
    /// # Errors
    /// Those of [`Self::files`] and [`Self::list`]; [`Error::Pairing`](crate::Error::Pairing).
    fn rows(&self, layout: &Layout, modalities: &[DataModality]) -> Result<Vec<u32>> {
        let ids = pair_stored(self, layout, modalities)?;
        let row = |id: &String| self.row(id).and_then(|row| u32::try_from(row).ok());
        ids.iter().map(|id| row(id).ok_or_else(|| too_many(self.path()))).collect()
    }

    /// The file that holds a modality of a sample, for messages.
    fn file(&self, _row: usize, _modality: &DataModality) -> &Path {
        self.path()
    }

    /// The stored frame of a modality of a sample.
    ///
    /// # Errors
    /// If it is not there, cannot be read or is damaged.
    fn open(&self, row: usize, modality: &DataModality) -> Result<Opened<'_>, Problem>;

    /// Bytes and checksum of what is stored of a modality of a sample; a checksum of 0 is none.
    fn size(&self, row: usize, modality: &DataModality) -> (u64, u32);

    /// The number of the file that holds a sample, and the place of the sample in it; `None` if one
    /// file holds all.
    fn block(&self, _row: usize) -> Option<(usize, usize)> {
        None
    }

    /// The files of a number that [`Self::block`] gives, as far as modalities need them.
    fn block_files(&self, _block: usize) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Notices for the user before samples are used.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether these bytes are those of the files that went in, so that sizes compare with those of a
    /// folder.
    fn keeps_files(&self) -> bool;
}

fn too_many(path: &Path) -> Error {
    Error::Config(format!("{} has more than 2^32 samples; split it", path.display()))
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
        return Ok(Some(Arc::new(Shards::open(root, layout.split(), modalities)?)));
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
