//! Tar shards as the store of a data set.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::{Layout, Store};
use crate::assemble::Opened;
use crate::decode::Problem;
use crate::files::Files;
use crate::shards::Shards;
use crate::{DataModality, Result};

impl Store for Shards {
    fn path(&self) -> &Path {
        self.root()
    }

    /// Only [`Self::rows`] of other stores asks for these.
    fn files(&self, _modality: &DataModality) -> Result<Files> {
        Ok(Files::default())
    }

    /// Only [`Self::rows`] of other stores asks for these.
    fn list(&self, _split: &str) -> Result<String> {
        Ok(String::new())
    }

    /// They were paired when the shards were opened.
    fn rows(&self, _layout: &Layout, _modalities: &[DataModality]) -> Result<Vec<u32>> {
        Ok(self.samples().to_vec())
    }

    fn id(&self, row: usize) -> Cow<'_, str> {
        self.id(row)
    }

    fn row(&self, id: &str) -> Option<usize> {
        self.find(id)
    }

    fn file(&self, row: usize, modality: &DataModality) -> &Path {
        self.member(row, &modality.name).map_or(self.root(), |member| member.path())
    }

    fn open(&self, row: usize, modality: &DataModality) -> Result<Opened<'_>, Problem> {
        let member = self.member(row, &modality.name);
        let member = member.ok_or("the shards have no such sample")?;
        Opened::decode(&member.read()?, modality)
    }

    fn size(&self, row: usize, modality: &DataModality) -> (u64, u32) {
        (self.member(row, &modality.name).map_or(0, |member| member.len()), 0)
    }

    fn block(&self, row: usize) -> Option<(usize, usize)> {
        self.block(row)
    }

    fn block_files(&self, block: usize) -> Vec<PathBuf> {
        self.files_of(block)
    }

    fn notices(&self) -> Vec<String> {
        self.notices().to_vec()
    }

    fn keeps_files(&self) -> bool {
        true
    }
}
