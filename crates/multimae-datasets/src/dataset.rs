//! The interface of a data set.

use std::fmt::Debug;
use std::path::Path;

use crate::{OptionInfo, OptionValues, PrepareRun, Recognised, Result, Summary};

/// A published data set that becomes a folder of frames.
pub trait PrepareDataset: Debug + Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// The data set in one line: its full name, its size and its form.
    fn title(&self) -> &'static str;

    /// The input files and the options, in the order of their importance.
    fn needs(&self) -> &'static [OptionInfo];

    /// The content of the folder, in sentences.
    fn writes(&self) -> &'static str;

    /// The copies of the data set that a file or folder looks like, by its layout. None if the data
    /// set cannot tell.
    fn recognise(&self, path: &Path) -> Vec<Recognised> {
        let _ = path;
        Vec::new()
    }

    /// Prepares the data set in the folder [`PrepareRun::out`].
    ///
    /// Files appear whole or not at all. When [`PrepareRun::stop`] is set, the frames in progress are
    /// finished and the call returns; the same call resumes later. A complete folder is left alone
    /// unless [`PrepareRun::overwrite`] is set.
    ///
    /// # Errors
    /// If an option is missing or impossible, an input file is damaged or is not that of the data
    /// set, the folder holds something else, or a file cannot be read or written.
    fn prepare(&self, options: &OptionValues, run: &PrepareRun<'_>) -> Result<Summary>;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::{OptionKind, registry};

    /// The options that the command line adds to those of every data set.
    const COMMON: [&str; 3] = ["out", "overwrite", "threads"];

    #[test]
    fn names_are_words_of_the_command_line_and_differ() {
        let is_word = |name: &str| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        let mut names = BTreeSet::new();
        for dataset in registry() {
            assert!(is_word(dataset.name()) && names.insert(dataset.name()), "{}", dataset.name());
            let mut options = BTreeSet::from(COMMON);
            for option in dataset.needs() {
                assert!(is_word(option.name) && options.insert(option.name), "{}", option.name);
                if let OptionKind::Choice(choices) = option.kind {
                    assert!(!choices.is_empty(), "{}", option.name);
                }
            }
        }
    }
}
