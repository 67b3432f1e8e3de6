//! The content of a pack, and its places.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::source::SourceFacts;
use super::storage::ValueType;
use super::{Content, Shrink};
use crate::Orientation;
use crate::arena::StringArena;
use crate::decode::FrameInfo;

/// The end of a pack: all that is known of it besides the values. As it is, the index of
/// [format 2](super::format); format 1 has [a form of its own](super::index_v1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) folders: Vec<FolderEntry>,
    /// The forms that occur.
    pub(super) forms: Vec<Form>,
    /// The ids of the samples, sorted.
    pub(super) ids: StringArena,
    /// By sample, then by folder; a sample need not be in all of them.
    pub(super) records: Vec<Option<Record>>,
    /// Name without `.txt`, and text.
    pub(super) lists: Vec<(String, String)>,
    pub(super) source: SourceFacts,
    pub(super) shrink: Option<Shrink>,
    /// Samples whose frames were larger.
    pub(super) shrunk: u64,
    /// Samples that were left out as bad.
    pub(super) left_out: u64,
    /// By folder; fewer where no file carries an orientation.
    pub(super) oriented: Vec<Oriented>,
}

/// The EXIF orientations of a folder's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Oriented {
    /// The rule by which the files were read.
    pub(super) rule: Orientation,
    /// Files that carry an orientation other than upright.
    pub(super) files: u64,
}

/// One folder of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FolderEntry {
    pub(super) name: String,
    pub(super) content: Content,
    /// Of decoded labels, the stored values that occur, sorted, unless there are too many: what is
    /// checked here need not be checked in every frame.
    pub(super) labels: Option<Vec<i64>>,
    /// Whether its files are kept as they are, to be decoded by the modality that reads them.
    pub(super) encoded: bool,
}

/// The form of what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Form {
    /// Decoded values of this shape.
    Values(Shape),
    /// The bytes of a file with this extension.
    File(String),
}

/// The shape of a decoded frame: everything but its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) info: FrameInfo,
    pub(super) values: ValueType,
}

/// The place of a frame or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Never 0, where the header is.
    pub(super) offset: NonZeroU64,
    /// Bytes.
    pub(super) len: u64,
    /// Its place in [`Index::forms`].
    pub(super) form: u32,
    /// Checksum of its bytes.
    pub(super) crc: u32,
}

impl Shape {
    /// Bytes of a frame; `None` if there is no such number.
    pub(super) fn len(&self) -> Option<u64> {
        let FrameInfo { height, width, channels, .. } = self.info;
        let values = height.checked_mul(width)?.checked_mul(channels)?;
        u64::try_from(values.checked_mul(self.values.size())?).ok()
    }
}

impl Index {
    /// The record of a sample in a folder, both by their places.
    pub(super) fn record(&self, sample: usize, folder: usize) -> Option<Record> {
        *self.records.get(sample * self.folders.len() + folder)?
    }

    /// The number of samples that are in a folder.
    pub(super) fn count(&self, folder: usize) -> usize {
        let own = self.records.iter().skip(folder).step_by(self.folders.len().max(1));
        own.filter(|record| record.is_some()).count()
    }

    /// Whether any folder keeps its files as they are.
    pub(super) fn has_files(&self) -> bool {
        self.folders.iter().any(|folder| folder.encoded)
    }

    /// # Errors
    /// If it cannot be written as bytes.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        postcard::to_allocvec(self).map_err(|error| format!("its index: {error}"))
    }

    /// Reads an index of format 2.
    ///
    /// # Errors
    /// The problem.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        postcard::from_bytes(bytes).map_err(|error| damaged(&error.to_string()))
    }

    /// Checks that every frame and file lies between the header and `end`, and that samples are in
    /// order.
    ///
    /// # Errors
    /// The problem.
    pub(super) fn check(&self, end: u64) -> Result<(), String> {
        let all = self.ids.len().checked_mul(self.folders.len());
        if !self.ids.is_sound() || all != Some(self.records.len()) {
            return Err(damaged("its samples"));
        }
        for sample in 0..self.ids.len() {
            for (folder, entry) in self.folders.iter().enumerate() {
                let record = self.record(sample, folder);
                if record.is_some_and(|record| !self.is_whole(&record, entry, end)) {
                    return Err(damaged(&format!("a frame of sample `{}`", self.ids.get(sample))));
                }
            }
        }
        let next = self.ids.iter().skip(1);
        if self.ids.iter().zip(next).any(|(id, next)| id >= next) {
            return Err(damaged("its samples are not in order"));
        }
        Ok(())
    }

    fn is_whole(&self, record: &Record, folder: &FolderEntry, end: u64) -> bool {
        let len = match self.forms.get(record.form as usize) {
            Some(Form::Values(shape)) if !folder.encoded => shape.len(),
            Some(Form::File(_)) if folder.encoded => Some(record.len),
            _ => None,
        };
        let last = record.offset.get().checked_add(record.len);
        record.len > 0 && len == Some(record.len) && last.is_some_and(|last| last <= end)
    }
}

/// The problem of an index with a checksum that is right and something that is not.
pub(super) fn damaged(what: &str) -> String {
    format!("its index is damaged ({what}); pack again")
}
