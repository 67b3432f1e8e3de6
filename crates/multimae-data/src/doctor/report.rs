//! The findings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::Kind;
pub use crate::severity::Severity;

/// One thing that is wrong, or worth knowing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The severity.
    pub severity: Severity,
    /// A name for programs, for example `missing_file`.
    pub code: &'static str,
    /// The folder or list it is about.
    pub place: String,
    /// The problem and its remedy.
    pub message: String,
    /// The number of affected files, samples or labels.
    pub count: usize,
    /// Some of them.
    pub examples: Vec<String>,
}

/// The number of examples that a finding keeps.
const EXAMPLES: usize = 5;

impl Finding {
    /// A finding about these; `None` if there are none of them.
    pub(super) fn about(
        severity: Severity,
        code: &'static str,
        place: &str,
        things: &[String],
        message: impl Into<String>,
    ) -> Option<Self> {
        (!things.is_empty()).then(|| Self {
            severity,
            code,
            place: place.to_owned(),
            message: message.into(),
            count: things.len(),
            examples: things.iter().take(EXAMPLES).cloned().collect(),
        })
    }

    /// A finding about the whole of a place.
    pub(super) fn whole(
        severity: Severity,
        code: &'static str,
        place: &str,
        message: impl Into<String>,
    ) -> Self {
        let message = message.into();
        Self { severity, code, place: place.to_owned(), message, count: 1, examples: Vec::new() }
    }
}

/// A data folder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The folder.
    pub root: PathBuf,
    /// Its parts: one, or one per `train/`, `val/`, `test/`.
    pub parts: Vec<DataSetReport>,
}

/// A data set: folders of modalities beside each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataSetReport {
    /// Its folder below the root, empty for the root itself.
    pub name: String,
    /// The arrangement of the files: folders, tar shards or tables, in words.
    pub layout: String,
    /// Samples: names that any modality has.
    pub samples: usize,
    /// Names on every list.
    pub lists: BTreeMap<String, usize>,
    /// The folders.
    pub folders: Vec<Folder>,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
}

/// The folder of a modality.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Folder {
    /// Its name.
    pub name: String,
    /// The kind of its files, given or inferred.
    pub kind: Kind,
    /// Files that are images or arrays by their names.
    pub files: usize,
    /// Files by `height x width`.
    pub sizes: BTreeMap<String, usize>,
    /// Files by how they are stored, for example `16-bit grey png`.
    pub stored: BTreeMap<String, usize>,
    /// The distribution of the values.
    pub values: Values,
}

/// The distribution of a folder's values.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// Pictures.
    Color {
        /// Mean per channel, in `0..=1`.
        mean: [f64; 3],
        /// Standard deviation per channel.
        std: [f64; 3],
    },
    /// Depth, in metres by `per_metre`.
    Depth {
        /// Stored units per metre.
        per_metre: f64,
        /// The least valid value.
        min: f64,
        /// The median of the medians of the files.
        median: f64,
        /// The greatest valid value.
        max: f64,
        /// Share of the pixels that are invalid to training.
        holes: f64,
    },
    /// Class indices.
    Labels(Vec<LabelShare>),
    /// Masks.
    Mask {
        /// Share of the pixels that are 255.
        valid: f64,
    },
    /// Anything else, or nothing that can be read.
    Other {
        /// The least value.
        min: f64,
        /// The greatest value.
        max: f64,
    },
}

/// The frequency of a label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelShare {
    /// The stored value.
    pub label: i64,
    /// Its name, if known.
    pub name: Option<String>,
    /// Share of the pixels of the folder.
    pub pixels: f64,
    /// Files that have it.
    pub files: usize,
}

impl Report {
    /// The number of findings of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings().filter(|finding| finding.severity == severity).count()
    }

    /// All findings.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.parts.iter().flat_map(|part| &part.findings)
    }

    /// Whether the folder should not be trained on as it is.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.count(Severity::Error) > 0
    }
}
