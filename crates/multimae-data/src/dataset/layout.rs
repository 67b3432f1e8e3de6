//! The arrangement of a data set's files.

use serde::{Deserialize, Serialize};

/// The arrangement of a data set's files below its root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Layout {
    /// `<root>/<folder>/<anything>/<name>.<extension>`: every file belongs to a sample. Folders
    /// may be nested, links are followed, names that begin with a dot are left alone.
    Folders,
    /// `<root>/<folder>/<name>.<extension>`, and `<root>/<split>.txt` lists the names, one per
    /// line, or the files in [columns](crate::Naming::column); blank lines and lines that begin
    /// with `#` do not count. Other files belong to other splits. `<split>.csv` does where there is
    /// no such text. Of [shards](crate::shards), a split may also be that of timm's `_info.json`, or
    /// part of the shards' names.
    List {
        /// The name of the list, without `.txt` or `.csv`.
        split: String,
    },
}

impl Layout {
    /// A list if there is a split, folders otherwise.
    #[must_use]
    pub fn of(split: Option<&str>) -> Self {
        match split {
            Some(split) => Self::List { split: split.to_owned() },
            None => Self::Folders,
        }
    }

    /// The name of the list, if there is one.
    #[must_use]
    pub fn split(&self) -> Option<&str> {
        match self {
            Self::List { split } => Some(split),
            Self::Folders => None,
        }
    }
}
