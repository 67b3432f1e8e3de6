//! The content of a pack, and its places.

use serde::{Deserialize, Serialize};

use super::source::SourceFacts;
use super::storage::ValueType;
use super::{Content, Shrink};
use crate::Orientation;
use crate::decode::FrameInfo;

/// The end of a pack: all that is known of it besides the values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) folders: Vec<FolderEntry>,
    /// The kinds of frames that occur.
    pub(super) shapes: Vec<Shape>,
    /// Sorted by their ids.
    pub(super) samples: Vec<SampleRecord>,
    /// Name without `.txt`, and text.
    pub(super) lists: Vec<(String, String)>,
    pub(super) source: SourceFacts,
    pub(super) shrink: Option<Shrink>,
    /// Samples whose frames were larger.
    pub(super) shrunk: u64,
    /// Samples that were left out as bad.
    pub(super) left_out: u64,
    /// By folder. Behind the rest of the index, and only if a file carries an orientation: older
    /// packs do without.
    #[serde(skip)]
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
    /// Of labels, the stored values that occur, sorted, unless there are too many: what is checked
    /// here need not be checked in every frame.
    pub(super) labels: Option<Vec<i64>>,
}

/// The kind of a frame: everything but its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) info: FrameInfo,
    pub(super) values: ValueType,
}

/// One sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SampleRecord {
    pub(super) id: String,
    /// In the order of the folders; a sample need not be in all of them.
    pub(super) frames: Vec<Option<FrameRecord>>,
}

/// The place of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct FrameRecord {
    pub(super) offset: u64,
    /// Its place in [`Index::shapes`].
    pub(super) shape: u32,
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
    /// # Errors
    /// If it cannot be written as bytes.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let write = || {
            let bytes = postcard::to_allocvec(self)?;
            if self.oriented.iter().all(|oriented| oriented.files == 0) {
                return Ok(bytes);
            }
            postcard::to_extend(&self.oriented, bytes)
        };
        write().map_err(|error: postcard::Error| format!("its index: {error}"))
    }

    /// Reads an index, and checks that every frame lies between the header and `end`.
    ///
    /// # Errors
    /// The problem.
    pub(super) fn parse(bytes: &[u8], end: u64) -> Result<Self, String> {
        let damaged = |what: &str| format!("its index is damaged ({what}); pack again");
        let (mut index, rest): (Self, _) =
            postcard::take_from_bytes(bytes).map_err(|e| damaged(&e.to_string()))?;
        if !rest.is_empty() {
            index.oriented = postcard::from_bytes(rest).map_err(|e| damaged(&e.to_string()))?;
        }
        for sample in &index.samples {
            if sample.frames.len() != index.folders.len() {
                return Err(damaged(&format!("sample `{}`", sample.id)));
            }
            for frame in sample.frames.iter().flatten() {
                let shape = index.shapes.get(frame.shape as usize);
                let len = shape.and_then(Shape::len).filter(|&len| len > 0);
                let inside = len.and_then(|len| frame.offset.checked_add(len));
                if inside.is_none_or(|last| last > end) {
                    return Err(damaged(&format!("a frame of sample `{}`", sample.id)));
                }
            }
        }
        if !index.samples.is_sorted_by(|a, b| a.id < b.id) {
            return Err(damaged("its samples are not in order"));
        }
        Ok(index)
    }
}
