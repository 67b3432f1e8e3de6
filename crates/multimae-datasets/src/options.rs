//! Options of data sets: their declaration, and their values on the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The declaration of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionInfo {
    /// The name on the command line, without `--`.
    pub name: &'static str,
    /// The kind of its value.
    pub kind: OptionKind,
    /// The meaning, in one line.
    pub help: &'static str,
}

/// The kind of the value of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// A file that must be given.
    RequiredFile,
    /// A file that may be given.
    OptionalFile,
    /// A file or a folder that may be given.
    OptionalPath,
    /// A folder that must be given.
    RequiredFolder,
    /// A folder that may be given.
    OptionalFolder,
    /// One of several words; the first is the default.
    Choice(&'static [Choice]),
    /// Present or absent.
    Flag,
}

/// A word that an option accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The word.
    pub word: &'static str,
    /// The meaning, in a few words; may be empty.
    pub help: &'static str,
}

/// The values of options, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OptionValues {
    files: BTreeMap<String, PathBuf>,
    words: BTreeMap<String, String>,
    flags: BTreeSet<String>,
}

impl OptionValues {
    /// Sets the value of an option that is a file or a folder.
    #[must_use]
    pub fn with_file(mut self, name: &str, path: impl Into<PathBuf>) -> Self {
        self.files.insert(name.to_owned(), path.into());
        self
    }

    /// Sets the word of a choice.
    #[must_use]
    pub fn with_choice(mut self, name: &str, word: &str) -> Self {
        self.words.insert(name.to_owned(), word.to_owned());
        self
    }

    /// Sets a flag.
    #[must_use]
    pub fn with_flag(mut self, name: &str) -> Self {
        self.flags.insert(name.to_owned());
        self
    }

    /// The file or folder, if one is given.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&Path> {
        self.files.get(name).map(PathBuf::as_path)
    }

    /// The file.
    ///
    /// # Errors
    /// [`Error::Options`] if none is given.
    pub fn required_file(&self, name: &str) -> Result<&Path> {
        self.file(name).ok_or_else(|| Error::Options(format!("--{name} FILE is missing")))
    }

    /// The folder.
    ///
    /// # Errors
    /// [`Error::Options`] if none is given, or it does not exist.
    pub fn required_folder(&self, name: &str) -> Result<&Path> {
        let folder =
            self.file(name).ok_or_else(|| Error::Options(format!("--{name} DIR is missing")))?;
        if folder.is_dir() {
            return Ok(folder);
        }
        Err(Error::Options(format!("--{name}: {} is no folder", folder.display())))
    }

    /// The meaning of a word; `default` if none is given.
    ///
    /// # Errors
    /// [`Error::Options`] if `parse` does not know the word.
    pub fn choice<T>(
        &self,
        name: &str,
        default: T,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let Some(word) = self.words.get(name) else { return Ok(default) };
        parse(word).ok_or_else(|| Error::Options(format!("--{name} does not accept `{word}`")))
    }

    /// Whether a flag is set.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.flags.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_looked_up_by_name() {
        let values = OptionValues::default()
            .with_file("mat", "a.mat")
            .with_choice("n", "2")
            .with_flag("raw");
        assert_eq!(values.required_file("mat").unwrap(), Path::new("a.mat"));
        assert_eq!(
            (values.file("other"), values.flag("raw"), values.flag("n")),
            (None, true, false)
        );
        assert_eq!(values.choice("n", 1, |word| word.parse().ok()).unwrap(), 2);
        assert_eq!(values.choice("m", 1, |word| word.parse().ok()).unwrap(), 1);
    }

    #[test]
    fn errors_name_the_option() {
        let values = OptionValues::default().with_choice("n", "two");
        let message = values.choice("n", 1, |word| word.parse().ok()).unwrap_err().to_string();
        assert!(message.contains("--n") && message.contains("two"), "{message}");
        let message = values.required_file("mat").unwrap_err().to_string();
        assert!(message.contains("--mat"), "{message}");
        let values = values.with_file("data", "no/such/folder");
        let message = values.required_folder("data").unwrap_err().to_string();
        assert!(message.contains("--data: no/such/folder"), "{message}");
    }
}
