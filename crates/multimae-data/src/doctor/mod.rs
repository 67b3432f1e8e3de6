//! Checks of a folder of data, before a training run.
//!
//! [`examine`] reads every file once, whatever recipe will use it, of folders, of tar shards and of
//! parquet tables: it infers from the names of folders, fields and columns, or from their values, which hold
//! pictures, depth, labels and masks. It looks for files
//! that do not pair up or cannot be read, for sizes, value ranges, labels and depth scales that do
//! not fit, for lists that overlap, and for the same picture under two names.

mod checks;
mod facts;
mod hints;
mod lists;
mod pairing;
mod part;
mod report;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::packed::is_pack;
use crate::{Error, Orientation, Result};

pub use crate::folder_kind::Kind;
pub use report::{DataSetReport, Finding, Folder, LabelShare, Report, Severity, Values};

/// Known facts about the data.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The kinds of these folders, where their names do not tell. If one has the name of a pattern
    /// (`rgb_*`), files share folders, and these are all that is examined.
    pub kinds: BTreeMap<String, Kind>,
    /// Stored units of depth per metre.
    pub per_metre: Option<f64>,
    /// The greatest label.
    pub max_label: Option<i64>,
    /// Folders whose files are read as they are stored, whatever EXIF orientation they carry.
    pub ignore_orientation: BTreeSet<String>,
    /// The label of pixels that do not count.
    pub ignore: Option<i64>,
    /// Files that are read at the same time; 0 means as many as there are processors.
    pub threads: usize,
}

impl Options {
    /// The treatment of files of a folder that carry an EXIF orientation.
    fn orientation(&self, folder: &str) -> Orientation {
        match self.ignore_orientation.contains(folder) {
            true => Orientation::Ignore,
            false => Orientation::Apply,
        }
    }
}

/// Examines a data folder: `<root>/<modality>/...`, or one level lower with `train/`, `val/` and so
/// on between; [tar shards](crate::shards), by any name that training takes, with their fields in the
/// place of folders; or [parquet tables](crate::parquet), with their columns. `progress` gets the files
/// done and the files in all, in rising order, from the threads that read.
///
/// # Errors
/// Only if there is nothing to examine, a folder or list cannot be read, or tables of a split are
/// missing; bad files and shards are findings.
pub fn examine(
    root: &Path,
    options: &Options,
    progress: impl Fn(usize, usize) + Sync,
) -> Result<Report> {
    let parts = part::find(root, options)?;
    if parts.is_empty() {
        let problem = if is_pack(root) {
            "it is neither a tar nor a parquet table; of a pack, `multimae pack --verify` compares the \
             checksums of all frames"
        } else {
            "it has no folder with images or arrays, one per modality, as in rgb/0001.png and \
             depth/0001.png, no tar shards and no parquet tables"
        };
        let problem = problem.to_owned();
        return Err(Error::File { path: root.to_owned(), problem });
    }
    let mut named = options.kinds.keys().chain(&options.ignore_orientation);
    if let Some(name) = named.find(|name| !parts.iter().any(|part| part.has(name))) {
        return Err(Error::Config(format!("there is no folder `{name}` in {}", root.display())));
    }
    let total = parts.iter().map(part::Unread::files).sum();
    let mut done = 0;
    let mut read = Vec::new();
    for part in parts {
        let files = part.files();
        read.push(part.examine(options, |so_far| progress(done + so_far, total))?);
        done += files;
    }
    Ok(Report { root: root.to_owned(), parts: read })
}
