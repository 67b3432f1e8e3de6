//! Published data sets as people have them on disk, recognised by their layout.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::registry;

/// A data set that a file or folder holds in its published layout, not prepared yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recognised {
    /// The name of the data set on the command line.
    pub dataset: &'static str,
    /// The data set and, if there are several, its copy, in words.
    pub copy: String,
    /// The option of `prepare` that takes the path, without `--`.
    pub option: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// Facts about it, a sentence each: its frames, its lists, a problem.
    pub facts: Vec<String>,
}

impl Recognised {
    /// The command that prepares it.
    #[must_use]
    pub fn command(&self) -> String {
        let Self { dataset, option, path, .. } = self;
        format!("multimae prepare {dataset} --{option} {} --out DIR", path.display())
    }
}

impl fmt::Display for Recognised {
    /// The copy, its facts and the command, as a sentence each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} looks like {}", self.path.display(), self.copy)?;
        for fact in &self.facts {
            write!(f, "; {fact}")?;
        }
        write!(f, "; prepare it with `{}`", self.command())
    }
}

/// The data sets that a file or folder holds in their published layout: usually none or one. Names
/// are looked at, and headers of a few files; no picture is decoded.
#[must_use]
pub fn recognise(path: &Path) -> Vec<Recognised> {
    registry().iter().flat_map(|dataset| dataset.recognise(path)).collect()
}
