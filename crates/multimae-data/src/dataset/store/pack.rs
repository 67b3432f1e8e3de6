//! A pack as the store of a data set.

use std::path::Path;

use super::Store;
use crate::assemble::Opened;
use crate::decode::Problem;
use crate::files::Files;
use crate::packed::Pack;
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

    fn open(&self, id: &str, modality: &DataModality) -> Result<Opened<'_>, Problem> {
        self.frame(id, &modality.source()).map(Opened::Packed)
    }

    fn size(&self, id: &str, modality: &DataModality) -> (u64, u32) {
        self.frame_size(id, &modality.source()).unwrap_or_default()
    }

    fn keeps_files(&self) -> bool {
        false
    }
}
