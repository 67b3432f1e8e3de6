//! Tar shards as the store of a data set.

use std::path::Path;

use super::{Layout, SampleEntry, Store};
use crate::assemble::Opened;
use crate::decode::Problem;
use crate::files::Files;
use crate::shards::Shards;
use crate::{DataModality, Result};

impl Store for Shards {
    fn path(&self) -> &Path {
        self.root()
    }

    /// Only [`Self::samples`] of other stores asks for these.
    fn files(&self, _modality: &DataModality) -> Result<Files> {
        Ok(Files::default())
    }

    /// Only [`Self::samples`] of other stores asks for these.
    fn list(&self, _split: &str) -> Result<String> {
        Ok(String::new())
    }

    /// They were paired when the shards were opened.
    fn samples(&self, _layout: &Layout, _modalities: &[DataModality]) -> Result<Vec<SampleEntry>> {
        Ok(self.ids().map(|id| SampleEntry { id, paths: Vec::new() }).collect())
    }

    fn file(&self, id: &str, modality: &DataModality) -> &Path {
        self.member(id, &modality.name).map_or(self.root(), |member| member.path())
    }

    fn open(&self, id: &str, modality: &DataModality) -> Result<Opened<'_>, Problem> {
        let member = self.member(id, &modality.name);
        let member = member.ok_or("the shards have no such sample")?;
        Opened::decode(&member.read()?, modality)
    }

    fn size(&self, id: &str, modality: &DataModality) -> (u64, u32) {
        (self.member(id, &modality.name).map_or(0, |member| member.len()), 0)
    }

    fn block(&self, id: &str) -> Option<(usize, usize)> {
        self.block(id)
    }

    fn notices(&self) -> Vec<String> {
        self.notices().to_vec()
    }

    fn keeps_files(&self) -> bool {
        true
    }
}
