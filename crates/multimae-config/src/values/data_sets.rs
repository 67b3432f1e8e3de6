//! Several data sets of one run.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::json_schema as schema;
use super::scalars::expected;
use crate::keys::RecipeValue;
use crate::modality_entry::ModalityRecipe;

/// The data sets of a run, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataSets(pub Vec<DataSetRecipe>);

/// One entry under `data_sets:`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSetRecipe {
    /// Name in logs and in the ids of samples; the last part of `path` unless said otherwise.
    #[serde(default)]
    pub name: String,
    /// Folder or file of the data, as `data_path`.
    pub path: String,
    /// Name of the list of samples, as `split`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Times that an epoch shows each sample, on average: 0.5 is every second epoch.
    #[serde(default = "once")]
    pub weight: f64,
    /// The modalities that the set has: a list of names, or a map from names to properties that
    /// differ from those under `modalities:`. All of the recipe's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modalities: Option<SetModalities>,
}

/// The modalities of a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SetModalities {
    /// As the recipe describes them.
    Names(Vec<String>),
    /// With properties of this set.
    Entries(indexmap::IndexMap<String, ModalityRecipe>),
}

fn once() -> f64 {
    1.0
}

impl DataSetRecipe {
    /// The names of its modalities, if it says them.
    #[must_use]
    pub fn names(&self) -> Option<Vec<&str>> {
        Some(match self.modalities.as_ref()? {
            SetModalities::Names(names) => names.iter().map(String::as_str).collect(),
            SetModalities::Entries(entries) => entries.keys().map(String::as_str).collect(),
        })
    }

    /// The properties of a modality that are this set's own.
    #[must_use]
    pub fn entry(&self, modality: &str) -> Option<&ModalityRecipe> {
        match self.modalities.as_ref()? {
            SetModalities::Names(_) => None,
            SetModalities::Entries(entries) => entries.get(modality),
        }
    }

    fn checked(mut self) -> Result<Self, String> {
        if self.name.is_empty() {
            let last = Path::new(&self.path).file_name().unwrap_or_default();
            self.name = last.to_string_lossy().into_owned();
        }
        if self.name.is_empty() || self.name.contains('/') {
            return Err(format!("data set `{}`: give it a `name`, without `/`", self.path));
        }
        if !(self.weight.is_finite() && self.weight > 0.0) {
            return Err(format!(
                "data set `{}`: `weight: {}` must be above 0",
                self.name, self.weight
            ));
        }
        if self.names().is_some_and(|names| names.is_empty()) {
            return Err(format!("data set `{}`: `modalities` names none", self.name));
        }
        Ok(self)
    }
}

impl RecipeValue for DataSets {
    fn read(value: &Value) -> Result<Self, String> {
        let list = value.as_array().ok_or_else(|| expected::<Self>(value))?;
        let mut sets: Vec<DataSetRecipe> = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            let set = DataSetRecipe::deserialize(value)
                .map_err(|problem| format!("data set {}: {problem}", index + 1))?
                .checked()?;
            if sets.iter().any(|other| other.name == set.name) {
                return Err(format!(
                    "two data sets are named `{}`; give each a `name` of its own",
                    set.name
                ));
            }
            sets.push(set);
        }
        Ok(Self(sets))
    }

    fn write(&self) -> Value {
        serde_json::to_value(&self.0).unwrap_or_default()
    }

    /// Without the places: data may be moved while a run is stopped.
    fn fixed(&self) -> Value {
        let mut value = self.write();
        for set in value.as_array_mut().into_iter().flatten() {
            set.as_object_mut().map(|set| set.shift_remove("path"));
        }
        value
    }

    fn kind() -> String {
        "a list of data sets".to_owned()
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": schema::of::<DataSetRecipe>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_paths_and_places_may_change() {
        let read = |path: &str| DataSets::read(&json!([{ "path": path, "weight": 2 }])).unwrap();
        let sets = read("/data/rooms/");
        assert_eq!((sets.0[0].name.as_str(), sets.0[0].weight), ("rooms", 2.0));
        assert_eq!(DataSets::read(&sets.write()).unwrap(), sets);
        assert_eq!(sets.fixed(), read("elsewhere/rooms").fixed());
        assert_ne!(sets.fixed(), read("elsewhere/nyu").fixed());
    }

    #[test]
    fn modalities_are_names_or_entries() {
        let sets = json!([
            { "path": "a", "modalities": ["rgb"] },
            { "path": "b", "modalities": { "rgb": {}, "depth": { "divisor": 1000 } } },
            { "path": "c" },
        ]);
        let sets = DataSets::read(&sets).unwrap().0;
        assert_eq!(sets[0].names(), Some(vec!["rgb"]));
        assert_eq!(sets[1].names(), Some(vec!["rgb", "depth"]));
        assert_eq!(sets[1].entry("depth").and_then(|entry| entry.divisor), Some(1000.0));
        assert_eq!((sets[2].names(), sets[2].entry("rgb")), (None, None));
    }

    #[test]
    fn impossible_entries_are_explained() {
        for (sets, part) in [
            (json!([{ "name": "a" }]), "path"),
            (json!([{ "path": "a", "wieght": 1 }]), "wieght"),
            (json!([{ "path": "a", "weight": 0 }]), "`weight: 0` must be above 0"),
            (json!([{ "path": "x/a" }, { "path": "y/a" }]), "named `a`"),
            (json!([{ "path": "a", "modalities": [] }]), "names none"),
            (json!([{ "path": "/" }]), "`name`"),
            (json!("rooms"), "a list of data sets"),
        ] {
            let problem = DataSets::read(&sets).unwrap_err();
            assert!(problem.contains(part), "{sets}: {problem}");
        }
    }
}
