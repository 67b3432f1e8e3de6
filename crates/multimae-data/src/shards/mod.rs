//! Tar shards: data sets in the archives that WebDataset and 4M read, used in place.
//!
//! [`Dataset::open`](crate::Dataset::open) takes shards wherever it takes a folder. One pass over
//! the headers makes an index with the place of every member; a sample is then read at its place, in
//! any order, so that shuffles and resumed runs are those of a folder: ids, their order, crops and
//! flips depend on the names alone.
//!
//! # Names
//!
//! | place of data | shards |
//! |---|---|
//! | a folder with `*.tar` | WebDataset's: members `<key>.<field>`, all files of a sample adjacent |
//! | a folder with folders of `*.tar` | 4M's: a folder per modality, the same names of shards in each, members `<key>.<extension>`; the folder may also be named `<modality>_tar` |
//! | `x.tar` | one shard |
//! | `train-{000..146}.tar`, `a.tar::b.tar` | these shards |
//! | `root/[rgb,depth]/shard-{00000..00009}.tar` | these shards of these folders |
//! | `index.json` | the shards that an index of the `wids` library lists |
//!
//! A key is the path of a member up to the first dot of its last component, a field the rest in lower
//! case. A modality's folder is the name of its field, with or without the extension. Colours without
//! such a field have the one without a name (`jpg`). Shards without a number, at least two, hold a class each:
//! ids are then `<shard>/<key>`.
//!
//! A [split](crate::Layout::List) is a list `<split>.txt` beside the shards, else a split of timm's
//! `_info.json`, else the shards with the split between `-`, `_` or `.` in their names.
//!
//! # Index
//!
//! [`INDEX_FILE`] lies in the folder of the shards, with the size and the time of each: shards that
//! have changed are scanned again, others are not. It is only a copy of the headers, so it may be
//! deleted. It is mapped and used as it is: 8 bytes per member, 4 per key and the keys.

mod as_files;
mod columns;
mod files;
mod find;
mod index;
mod info;
mod locate;
mod naming;
mod notation;
mod observer;
mod plan;
mod reader;
mod refresh;
mod rows;
mod scan;
mod select;
mod survey;
mod write;

use std::path::Path;

pub(crate) use as_files::{ShardFiles, folders};
pub(crate) use find::data_sets;
#[cfg(fuzzing)]
pub use index::read_all as read_shard_index;
pub(crate) use locate::is_shards;
use notation::is_expression;
pub use observer::{Indexing, observe_indexing};
pub(crate) use reader::Shards;
pub use refresh::INDEX_FILE;
pub(crate) use survey::{Survey, SurveyedMember};
pub(crate) use write::write_from;
pub use write::{ShardLayout, ShardOptions, ShardSize, ShardSummary, write_shards};

/// Whether data at `root` is in shards, as far as that is certain without the folders of the
/// modalities.
#[must_use]
pub(crate) fn may_be_shards(root: &Path) -> bool {
    let folders = crate::files::subfolders(root).unwrap_or_default();
    let folders: Vec<&str> = folders.iter().map(|(name, _)| name.as_str()).collect();
    is_shards(root, &folders) || folders.is_empty() && is_shards(root, &[])
}

/// Whether there are shards, or a field in shards, of a modality's folder. Unreadable ones have none.
#[must_use]
pub(crate) fn has_folder(root: &Path, folder: &str) -> bool {
    reader::has_folder(root, folder).unwrap_or(false)
}
