//! Notices about a pack, before its samples are used.

use std::path::Path;

use super::Pack;
use super::source::SourceFacts;
use crate::file_source::FileSource;
use crate::files::{Files, texts};

impl Pack {
    /// In words: whether its source has changed since, whether its frames are smaller than those
    /// of the source, whether samples were left out. A source that is not there any more, or not on
    /// this machine, cannot be compared.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let path = self.path().display();
        let mut notices = Vec::new();
        if let Some(change) = self.change() {
            notices.push(format!(
                "{path} is older than its source: {change}; pack again with --force to use what is \
                 there now"
            ));
        }
        if let Some(shrink) = self.index.shrink.filter(|_| self.index.shrunk > 0) {
            notices.push(format!(
                "{path} holds {} samples reduced to {}; scores are measured at that size",
                self.index.shrunk,
                shrink.words()
            ));
        }
        if self.index.left_out > 0 {
            notices.push(format!(
                "{path} leaves out {} bad samples of its source",
                self.index.left_out
            ));
        }
        notices
    }

    /// Returns the differences between the source and the pack, if the source exists.
    fn change(&self) -> Option<String> {
        let source = &self.index.source;
        let root = Path::new(&source.root);
        if !root.is_dir() {
            return None;
        }
        let files = |name: &str| FileSource::parse(name).files(root).ok();
        let folders: Option<Vec<Files>> =
            self.index.folders.iter().map(|folder| files(&folder.name)).collect();
        let Some(folders) = folders else {
            return Some(format!("a folder in {} is gone", source.root));
        };
        let now = SourceFacts::of(root, &folders, &texts(root).ok()?).ok()?;
        source.difference(&now)
    }
}
