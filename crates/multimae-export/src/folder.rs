//! A folder of an export: files that are written together.

use std::path::Path;

use fs_err as fs;
use indexmap::IndexMap;
use multimae_io::atomic::write_atomically;

use crate::{Error, Result};

/// Files by their path in the folder.
#[derive(Debug, Clone, Default)]
pub struct ExportFolder {
    files: IndexMap<String, Vec<u8>>,
}

impl ExportFolder {
    /// Adds a file; one of the same path is replaced.
    pub fn add(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        self.files.insert(path.to_owned(), content.into());
    }

    /// Adds a file of JSON, indented.
    ///
    /// # Errors
    /// If the value cannot be written as JSON.
    pub fn add_json(&mut self, path: &str, value: &impl serde::Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Error::Request(format!("{path} cannot be written: {error}")))?;
        self.add(path, text + "\n");
        Ok(())
    }

    /// Paths and contents in the order in which they were added.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(path, content)| (path.as_str(), content.as_slice()))
    }

    /// The content of a file.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// Writes all files, each whole or not at all.
    ///
    /// # Errors
    /// If one of them is there and is not to be replaced, or cannot be written.
    pub fn write(&self, dir: &Path, replace: bool) -> Result<()> {
        let there = self.files.keys().map(|path| dir.join(path)).find(|path| path.exists());
        if let Some(path) = there.filter(|_| !replace) {
            return Err(Error::file(&path, "is there already; give --force to replace it"));
        }
        for (path, content) in &self.files {
            let path = dir.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            write_atomically(&path, content)?;
        }
        Ok(())
    }
}
