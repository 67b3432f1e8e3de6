//! The origin of pseudo-labels: `labels.json`.

use std::path::{Path, PathBuf};

use fs_err as fs;
use indexmap::IndexMap;
use multimae_io::atomic::write_atomically;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// The name of the record in a folder of labels.
pub const RECORD_FILE: &str = "labels.json";

/// The origin of a folder of labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelRecord {
    /// The model.
    pub model: LabelModel,
    /// The frames.
    pub frames: LabelledFrames,
    /// The labels by task, each in the folder of its name.
    pub tasks: IndexMap<String, LabelFolder>,
    /// Whether every frame has its labels.
    pub complete: bool,
}

/// The model that made labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelModel {
    /// Its file or folder, and that of its adapter if it has one, as they were given.
    pub name: String,
    /// SHA-256 over name, shape and values of its weights in the order of their names.
    pub sha256: String,
    /// The precision of its GEMMs.
    pub precision: String,
    /// Whether labels are means with those of the mirrored frame.
    pub flip: bool,
}

/// The frames that have labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelledFrames {
    /// Their data, as given.
    pub data: String,
    /// Their number.
    pub samples: u64,
    /// MD5 of their ids in order.
    pub names: String,
}

/// The labels of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelFolder {
    /// The kind of the task.
    pub kind: String,
    /// The extension of its files.
    pub extension: String,
    /// The unit of predictions, if they have one.
    pub unit: Option<String>,
    /// Whether numbers are in that unit (`metric`), or have an unknown scale and shift (`relative`);
    /// `None` of classes.
    pub scale: Option<Scale>,
    /// The entry under `modalities:` by which recipes read the files.
    pub modality: Value,
}

/// The scale of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// In the unit.
    Metric,
    /// Unknown, and so is the shift.
    Relative,
}

impl LabelRecord {
    /// Reads the record of a folder, if it has one.
    ///
    /// # Errors
    /// If it cannot be read or is damaged.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let path = Self::path(dir);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let record = serde_json::from_str(&text);
        record.map(Some).map_err(|error| labels_problem(&path, format!("is damaged ({error})")))
    }

    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let path = Self::path(dir);
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| labels_problem(&path, error.to_string()))?;
        Ok(write_atomically(&path, format!("{text}\n").as_bytes())?)
    }

    /// Checks that labels of `now` may be added to those of this record.
    pub(super) fn check_continues(&self, now: &Self, dir: &Path) -> Result<()> {
        let (a, b) = (&self.model, &now.model);
        let other = if a.sha256 != b.sha256 {
            format!("by another model, {}", a.name)
        } else if (a.precision.as_str(), a.flip) != (b.precision.as_str(), b.flip) {
            format!("with precision {} and flip {}", a.precision, a.flip)
        } else if (self.frames.samples, &self.frames.names)
            != (now.frames.samples, &now.frames.names)
        {
            format!("of {} other frames, {}", self.frames.samples, self.frames.data)
        } else if self.tasks != now.tasks {
            "in other files".to_owned()
        } else {
            return Ok(());
        };
        let text = format!("holds labels that were made {other}; choose another folder");
        Err(labels_problem(dir, text))
    }

    fn path(dir: &Path) -> PathBuf {
        dir.join(RECORD_FILE)
    }
}

pub(super) fn labels_problem(path: &Path, problem: String) -> Error {
    Error::Labels { path: path.to_owned(), problem }
}
