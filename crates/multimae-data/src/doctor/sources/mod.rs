//! The places where samples are: files in folders, members of tar shards, rows of tables. A further one
//! is a module here that implements [`Source`], and its lines in [`super::part::find`].

mod shards;
mod tables;

use std::path::Path;

use crate::Orientation;
use crate::decode::{Problem, Stored};

pub(super) use shards::find as find_shards;
pub(super) use tables::find as find_tables;

/// The files of samples, for checks.
pub(super) trait Source: Sync {
    /// Reads and decodes a file of a sample, by the folder of its modality, the id of the sample and
    /// the path that the file is listed by.
    ///
    /// # Errors
    /// If it cannot be read or decoded.
    fn read(
        &self,
        folder: &str,
        id: &str,
        path: &Path,
        rule: Orientation,
    ) -> Result<Stored, Problem>;

    /// Whether text files beside the files are lists of samples.
    fn has_lists(&self) -> bool {
        true
    }

    /// Whether the extension of a path states the format of the file.
    fn has_extensions(&self) -> bool {
        true
    }
}

/// Files in folders.
pub(super) struct Folders;

impl Source for Folders {
    fn read(&self, _: &str, _: &str, path: &Path, rule: Orientation) -> Result<Stored, Problem> {
        Stored::read(path, rule)
    }
}
