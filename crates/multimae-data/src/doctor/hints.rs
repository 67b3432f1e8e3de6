//! Hints of a manifest beside the data.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

/// The parts of `manifest.json` that matter here, of any program that wrote it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Hints {
    state: Option<String>,
    depth_unit: Option<String>,
    depth_per_metre: Option<f64>,
    label_folder: Option<String>,
    label_names: BTreeMap<i64, String>,
}

impl Hints {
    /// Nothing if there is no manifest, or none that can be read.
    pub(super) fn read(folder: &Path) -> Self {
        let text = fs_err::read_to_string(folder.join("manifest.json"));
        text.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// Whether the program that wrote the folder says that it did not finish.
    pub(super) fn is_unfinished(&self) -> bool {
        self.state.as_deref().is_some_and(|state| state != "complete")
    }

    pub(super) fn per_metre(&self) -> Option<f64> {
        let unit = match self.depth_unit.as_deref() {
            Some("millimetre") => Some(1000.0),
            Some("metre") => Some(1.0),
            _ => None,
        };
        self.depth_per_metre.or(unit).filter(|unit| unit.is_finite() && *unit > 0.0)
    }

    /// The names of the labels in a folder.
    pub(super) fn names(&self, folder: &str) -> Option<&BTreeMap<i64, String>> {
        let fits = self.label_folder.as_ref().is_none_or(|name| name == folder);
        (fits && !self.label_names.is_empty()).then_some(&self.label_names)
    }
}
