//! The classes of a modality: their number, or a map from what is stored.

use std::collections::BTreeMap;
use std::path::Path;

use multimae_data::labels::ClassMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The key of a map.
const MAP: &str = "map";
/// The key of the number of classes beside a map.
const COUNT: &str = "count";

/// The classes of a modality.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Classes {
    /// Their number; ids are stored as they are, but for an offset.
    Count(usize),
    /// A map from stored ids or colours.
    Map {
        /// The map. A recipe may name a file, whose content then is the map, so that a run has it
        /// in its own recipe and in its fingerprint.
        map: ClassMap,
        /// The number of classes, where it is more than the map names.
        count: Option<usize>,
    },
}

/// The form of [`Classes`] in recipes.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "read by schemars alone")]
pub(crate) enum ClassesForm {
    /// Their number.
    Count(usize),
    /// A map from what is stored.
    Map {
        /// The file of the map, or the map.
        map: MapForm,
        /// The number of classes, where it is more than the map names.
        count: Option<usize>,
    },
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "read by schemars alone")]
pub(crate) enum MapForm {
    /// A file, relative to the recipe.
    File(String),
    /// Classes, or `ignore`, by stored id (`5`), range (`5-9`), colour (`255,0,128`) or `other`.
    Entries(BTreeMap<String, TargetForm>),
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "read by schemars alone")]
pub(crate) enum TargetForm {
    Class(usize),
    Word(String),
}

impl Classes {
    /// The number of classes.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Count(count) => *count,
            Self::Map { map, count } => count.unwrap_or(map.classes()),
        }
    }

    /// The map, if there is one.
    #[must_use]
    pub fn map(&self) -> Option<&ClassMap> {
        match self {
            Self::Count(_) => None,
            Self::Map { map, .. } => Some(map),
        }
    }
}

impl From<usize> for Classes {
    fn from(count: usize) -> Self {
        Self::Count(count)
    }
}

impl TryFrom<Value> for Classes {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let count = |value: &Value| {
            let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
            count.ok_or_else(|| format!("`classes`: {value} is not a count of classes"))
        };
        let Value::Object(keys) = &value else { return count(&value).map(Self::Count) };
        if let Some(key) = keys.keys().find(|key| ![MAP, COUNT].contains(&key.as_str())) {
            return Err(format!(
                "`classes` has no key `{key}`; expected a number, or `{{map: FILE}}`"
            ));
        }
        let map = match keys.get(MAP) {
            // Paths of recipes were made relative to the recipe before.
            Some(Value::String(path)) => {
                ClassMap::read(Path::new(path)).map_err(|error| error.to_string())?
            }
            Some(map @ Value::Object(_)) => {
                ClassMap::deserialize(map).map_err(|error| format!("`classes`: {error}"))?
            }
            _ => return Err("`classes`: expected a number, or `{map: FILE}`".to_owned()),
        };
        let count = keys.get(COUNT).filter(|count| !count.is_null()).map(count).transpose()?;
        Ok(Self::Map { map, count })
    }
}

impl From<Classes> for Value {
    fn from(classes: Classes) -> Self {
        match classes {
            Classes::Count(count) => count.into(),
            Classes::Map { map, count: None } => json!({ MAP: map }),
            Classes::Map { map, count } => json!({ MAP: map, COUNT: count }),
        }
    }
}

/// Makes the files of class maps in the keys of a recipe, also those of its data sets, relative to
/// the folder of the recipe rather than to it.
pub(crate) fn locate_maps(keys: &mut Map<String, Value>, folder: &Path) {
    locate(keys.get_mut("modalities"), folder);
    let sets = keys.get_mut("data_sets").and_then(Value::as_array_mut);
    for set in sets.into_iter().flatten() {
        locate(set.get_mut("modalities"), folder);
    }
}

fn locate(entries: Option<&mut Value>, folder: &Path) {
    let entries = entries.and_then(Value::as_object_mut);
    for entry in entries.into_iter().flatten().map(|(_, entry)| entry) {
        let map = entry.get_mut("classes").and_then(|classes| classes.get_mut(MAP));
        if let Some(map @ Value::String(_)) = map
            && let Some(path) = map.as_str()
        {
            *map = folder.join(path).to_string_lossy().into_owned().into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Override, PretrainRecipe, Recipe as _, Resolved};

    fn load(dir: &Path, text: &str) -> crate::Result<PretrainRecipe> {
        fs_err::write(dir.join("recipe.yaml"), text).unwrap();
        let path = dir.join("recipe.yaml");
        Ok(Resolved::<PretrainRecipe>::load(Some(&path), &[])?.recipe)
    }

    #[test]
    fn maps_of_files_are_in_the_recipe_and_in_its_fingerprint() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("maps")).unwrap();
        let write = |text: &str| fs_err::write(dir.path().join("maps/two.txt"), text).unwrap();
        write("1-3 0\n7 1\n0 ignore\n");
        let text = "modalities: {semseg: {classes: {map: maps/two.txt}}}\n";
        let recipe = load(dir.path(), text).unwrap();
        let semseg = recipe.modality("semseg").unwrap();
        let multimae_data::Encoding::Labels { classes: 2, map: Some(map), ignore: None, .. } =
            &semseg.data.encoding
        else {
            panic!("{:?}", semseg.data.encoding)
        };
        assert_eq!(map.label(7), Some(1));
        // The ignored label is an input all the same.
        assert_eq!(
            semseg.model.kind,
            multimae::modality::ModalityKind::Categorical {
                classes: 2,
                dim_class_emb: multimae::modality::DEFAULT_DIM_CLASS_EMB,
                padding: true,
            }
        );
        // The recipe of the run needs no file.
        let written = recipe.to_yaml();
        assert!(!written.contains("two.txt"), "{written}");
        let elsewhere = tempfile::tempdir().unwrap();
        assert_eq!(load(elsewhere.path(), &written).unwrap().fingerprint(), recipe.fingerprint());
        // A map that says the same in other words is the same, another one is not.
        write("2 0\n1 0\n3 0\n7 1\n0 ignore\n");
        assert_eq!(load(dir.path(), text).unwrap().fingerprint(), recipe.fingerprint());
        write("1-2 0\n3 1\n7 1\n0 ignore\n");
        let changed = load(dir.path(), text).unwrap();
        let keys = |recipe: &PretrainRecipe| serde_json::from_str(&recipe.fingerprint()).unwrap();
        let error = crate::check_same::<PretrainRecipe>(&keys(&recipe), &keys(&changed));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("modalities.semseg.classes.map.1-2"), "{error}");
        fs_err::remove_file(dir.path().join("maps/two.txt")).unwrap();
        assert!(load(dir.path(), text).unwrap_err().to_string().contains("two.txt"));
    }

    #[test]
    fn files_of_maps_are_relative_to_the_recipe() {
        let entry = json!({ "semseg": { "classes": { "map": "a.txt" } }, "rgb": null });
        let keys = json!({
            "modalities": entry,
            "data_sets": [{ "path": "x", "modalities": entry }, { "modalities": ["rgb"] }],
        });
        let Value::Object(mut keys) = keys else { panic!() };
        locate_maps(&mut keys, Path::new("recipes"));
        let at = |entries: &Value| entries["semseg"]["classes"]["map"].clone();
        let located = [&keys["modalities"], &keys["data_sets"][0]["modalities"]].map(at);
        assert_eq!(located, [json!("recipes/a.txt"), json!("recipes/a.txt")]);
    }

    #[test]
    fn maps_exclude_the_keys_that_they_replace() {
        let load = |entry: &str| {
            let change =
                format!("modalities={{semseg: {{classes: {{map: {{1: 0, 2: 1}}}}, {entry}}}}}");
            let change: Override = change.parse().unwrap();
            let recipe = Resolved::<PretrainRecipe>::load(None, &[change])?.recipe;
            recipe.modality("semseg").map(|modality| modality.data)
        };
        assert!(load("stride: 2").is_ok());
        for (entry, key) in [
            ("ignore: 255", "`ignore`"),
            ("offset: -1", "`offset`"),
            ("values: [1, 2]", "`values`"),
        ] {
            let error = load(entry).unwrap_err().to_string();
            assert!(error.contains("`semseg`") && error.contains(key), "{error}");
        }
        let of = |text: &str| Classes::try_from(serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(of(r#"{"map": {"1": 0}, "count": 5}"#).unwrap().count(), 5);
        for (text, problem) in [
            (r#"{"map": {"a": 0}}"#, "`a` is no id"),
            (r#"{"mapp": {}}"#, "no key `mapp`"),
            (r#"{"count": 3}"#, "`{map: FILE}`"),
            ("-3", "not a count of classes"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains("`classes`") && error.contains(problem), "{error}");
        }
        let few = r#"modalities={semseg: {classes: {map: {1: 0, 2: 4}, count: 3}}}"#;
        let recipe = Resolved::<PretrainRecipe>::load(None, &[few.parse().unwrap()]);
        let error = recipe.unwrap_err().to_string();
        assert!(error.contains("a class 4, and there are 3 classes"), "{error}");
    }
}
