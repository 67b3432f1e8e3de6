//! The place of one modality's files below the root of a data set.

use std::path::Path;

use crate::files::Files;
use crate::{DataModality, Naming, Result};

/// A folder and the rule for the names in it. Its name is the folder, or, where it shares the
/// folder with others, a pattern: `scenes/rgb_*`, `rgb_*` below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSource {
    pub(crate) folder: String,
    pub(crate) naming: Naming,
}

impl FileSource {
    /// The source of a name.
    pub(crate) fn parse(name: &str) -> Self {
        let (folder, last) = name.rsplit_once('/').unwrap_or((".", name));
        match Naming::of_pattern(last) {
            Some(naming) => Self { folder: folder.to_owned(), naming },
            None => Self { folder: name.to_owned(), naming: Naming::default() },
        }
    }

    pub(crate) fn of(modality: &DataModality) -> Self {
        Self { folder: modality.folder.clone(), naming: modality.naming.clone() }
    }

    /// Whether a name is one of a pattern.
    pub(crate) fn is_pattern(name: &str) -> bool {
        Self::parse(name).naming.strips()
    }

    pub(crate) fn name(&self) -> String {
        let pattern = self.naming.pattern();
        match self.folder.trim_end_matches('/') {
            _ if pattern.is_empty() => self.folder.clone(),
            "" | "." => pattern,
            folder => format!("{folder}/{pattern}"),
        }
    }

    /// Its files below the root of a data set.
    pub(crate) fn files(&self, root: &Path) -> Result<Files> {
        Files::named(&root.join(&self.folder), &self.naming)
    }

    /// The name of the sample of a path below the folder, if the file is of this source.
    pub(crate) fn key(&self, path: &str) -> Option<String> {
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
        let key = self.naming.key(file)?;
        Some(if folder.is_empty() { key.to_owned() } else { format!("{folder}/{key}") })
    }
}

impl DataModality {
    /// The name of its files in packs and messages: its folder, and where these share a folder with
    /// others, a pattern: `scenes/rgb_*`.
    #[must_use]
    pub fn source(&self) -> String {
        FileSource::of(self).name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::plain_folder;

    #[test]
    fn names_of_sources_are_folders_and_patterns() {
        for (name, folder, pattern) in [
            ("rgb", "rgb", ""),
            ("a/b", "a/b", ""),
            ("rgb_*", ".", "rgb_*"),
            ("a/b/*_domain_rgb", "a/b", "*_domain_rgb"),
        ] {
            let source = FileSource::parse(name);
            assert_eq!(
                (source.folder.as_str(), source.naming.pattern().as_str()),
                (folder, pattern)
            );
            assert_eq!(source.name(), name);
        }
        let source = FileSource::parse("rgb_*");
        assert_eq!(source.key("kitchen/rgb_1.jpg").as_deref(), Some("kitchen/1"));
        assert_eq!(source.key("kitchen/sync_depth_1.png"), None);
        assert_eq!(FileSource { folder: "/a/".to_owned(), ..source }.name(), "/a/rgb_*");
        // Names of folders stay as they are, also whole paths.
        assert_eq!(FileSource::parse("/data/rgb/").name(), "/data/rgb/");
        assert_eq!((plain_folder("./rgb/").as_str(), plain_folder("./").as_str()), ("rgb", "."));
    }
}
