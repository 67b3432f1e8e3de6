//! Writing packs, frame by frame.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use indexmap::IndexSet;
use multimae_io::atomic::AtomicFile;

use super::format::{HEADER_LEN, Header, align};
use super::index::{FrameRecord, Index, Shape};
use super::storage;
use super::storage::ValueType;
use crate::decode::Frame;
use crate::{Error, Result};

/// A pack that is being written; it appears when it is finished.
pub(super) struct PackWriter {
    file: AtomicFile,
    position: u64,
    /// By their numbers.
    shapes: IndexSet<Shape>,
}

/// A frame as bytes.
pub(super) struct Encoded {
    shape: Shape,
    bytes: Vec<u8>,
    crc: u32,
}

impl Encoded {
    pub(super) fn new(frame: Frame) -> Self {
        let shape = Shape { info: frame.info, values: ValueType::of(&frame.pixels) };
        let bytes = storage::bytes(frame.pixels);
        let crc = crc32fast::hash(&bytes);
        Self { shape, bytes, crc }
    }
}

impl PackWriter {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let mut file = AtomicFile::create(path)?;
        file.write_all(&[0; HEADER_LEN])?;
        Ok(Self { file, position: HEADER_LEN as u64, shapes: IndexSet::new() })
    }

    /// Appends a frame.
    pub(super) fn frame(&mut self, frame: &Encoded) -> Result<FrameRecord> {
        let offset = self.skip_to_alignment()?;
        self.file.write_all(&frame.bytes)?;
        self.position += frame.bytes.len() as u64;
        let (shape, _) = self.shapes.insert_full(frame.shape);
        Ok(FrameRecord { offset, shape: shape as u32, crc: frame.crc })
    }

    /// Writes the index, whose shapes are filled in, and puts the file into its place. Gives its
    /// length.
    pub(super) fn finish(mut self, mut index: Index, path: &Path) -> Result<u64> {
        index.shapes = self.shapes.iter().copied().collect();
        let bytes =
            index.to_bytes().map_err(|problem| Error::Pack { path: path.to_owned(), problem })?;
        let index_offset = self.skip_to_alignment()?;
        self.file.write_all(&bytes)?;
        let index_len = bytes.len() as u64;
        let header = Header { index_offset, index_len, index_crc: crc32fast::hash(&bytes) };
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header.to_bytes())?;
        self.file.commit()?;
        Ok(index_offset + index_len)
    }

    fn skip_to_alignment(&mut self) -> Result<u64> {
        let next = align(self.position);
        let gap = [0; 64];
        self.file.write_all(&gap[..(next - self.position) as usize])?;
        self.position = next;
        Ok(next)
    }
}
