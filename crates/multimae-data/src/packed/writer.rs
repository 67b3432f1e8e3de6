//! Writing packs, frame by frame.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::num::NonZeroU64;
use std::path::Path;

use indexmap::IndexSet;
use multimae_io::atomic::AtomicFile;

use super::format::{FILES, FRAMES, HEADER_LEN, Header, align};
use super::index::{Form, Index, Record, Shape};
use super::storage::ValueType;
use super::{index_v1, storage};
use crate::decode::Frame;
use crate::{Error, Result};

/// A pack that is being written; it appears when it is finished.
pub(super) struct PackWriter {
    file: AtomicFile,
    position: u64,
    /// By their numbers.
    forms: IndexSet<Form>,
}

/// A frame or file as bytes.
pub(super) struct Payload {
    form: Form,
    bytes: Vec<u8>,
    crc: u32,
}

impl Payload {
    /// The values of a decoded frame.
    pub(super) fn values(frame: Frame) -> Self {
        let shape = Shape { info: frame.info, values: ValueType::of(&frame.pixels) };
        Self::new(Form::Values(shape), storage::bytes(frame.pixels))
    }

    /// A file as it is.
    pub(super) fn file(bytes: Vec<u8>, extension: String) -> Self {
        Self::new(Form::File(extension), bytes)
    }

    fn new(form: Form, bytes: Vec<u8>) -> Self {
        let crc = crc32fast::hash(&bytes);
        Self { form, bytes, crc }
    }
}

impl PackWriter {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let mut file = AtomicFile::create(path)?;
        file.write_all(&[0; HEADER_LEN])?;
        Ok(Self { file, position: HEADER_LEN as u64, forms: IndexSet::new() })
    }

    /// Appends a frame or file. Frames begin at aligned places.
    pub(super) fn append(&mut self, payload: &Payload) -> Result<Record> {
        if matches!(payload.form, Form::Values(_)) {
            self.skip_to_alignment()?;
        }
        // The header is at 0.
        let offset = NonZeroU64::new(self.position).unwrap_or(NonZeroU64::MIN);
        let len = payload.bytes.len() as u64;
        self.file.write_all(&payload.bytes)?;
        self.position += len;
        let form = match self.forms.get_index_of(&payload.form) {
            Some(form) => form,
            None => self.forms.insert_full(payload.form.clone()).0,
        };
        Ok(Record { offset, len, form: form as u32, crc: payload.crc })
    }

    /// Writes the index, whose forms are filled in, and puts the file into its place. Gives its
    /// length. Packs of frames alone have the older format, which older versions read.
    pub(super) fn finish(mut self, mut index: Index, path: &Path) -> Result<u64> {
        index.forms = self.forms.iter().cloned().collect();
        let (version, bytes) = match index.has_files() {
            true => (FILES, index.to_bytes()),
            false => (FRAMES, index_v1::to_bytes(&index)),
        };
        let bytes = bytes.map_err(|problem| Error::Pack { path: path.to_owned(), problem })?;
        let index_offset = self.skip_to_alignment()?;
        self.file.write_all(&bytes)?;
        let index_len = bytes.len() as u64;
        let index_crc = crc32fast::hash(&bytes);
        let header = Header { version, index_offset, index_len, index_crc };
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
