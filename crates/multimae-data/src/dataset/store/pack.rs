//! A pack as the store of a data set.

use std::borrow::Cow;
use std::path::Path;

use super::Store;
use crate::assemble::Opened;
use crate::decode::Problem;
use crate::files::Files;
use crate::packed::{Pack, PackedPart};
use crate::{DataModality, Result};

impl Store for Pack {
    fn path(&self) -> &Path {
        self.path()
    }

    fn files(&self, modality: &DataModality) -> Result<Files> {
        self.files(modality)
    }

    fn list(&self, split: &str) -> Result<String> {
        self.list(split).map(str::to_owned)
    }

    fn id(&self, row: usize) -> Cow<'_, str> {
        Cow::Borrowed(self.id(row))
    }

    fn row(&self, id: &str) -> Option<usize> {
        self.sample(id)
    }

    fn open(&self, row: usize, modality: &DataModality) -> Result<Opened<'_>, Problem> {
        match self.part(row, &modality.source())? {
            PackedPart::Frame(frame) => Ok(Opened::Packed(frame)),
            PackedPart::File(bytes) => Opened::decode(&bytes, modality),
        }
    }

    fn size(&self, row: usize, modality: &DataModality) -> (u64, u32) {
        self.size(row, &modality.source()).unwrap_or_default()
    }

    fn keeps_files(&self) -> bool {
        self.keeps_files()
    }
}
