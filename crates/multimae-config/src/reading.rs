//! Keys of modalities that describe how files are read, given for a finished model.

use std::collections::BTreeSet;

use multimae_data::{DataModality, Encoding};
use serde_json::Map;

use super::keys::RecipeValue as _;
use super::known::unknown_of;
use super::modalities::Modalities;
use super::modality_entry::ModalityRecipe;
use super::overrides::Override;
use crate::{Error, Result};

/// The keys of an entry that say how files are read, and not what the model is.
const READING: [&str; 16] = [
    "folder",
    "strip_prefix",
    "strip_suffix",
    "column",
    "divisor",
    "mean",
    "std",
    "ignore",
    "offset",
    "values",
    "orientation",
    "valid",
    "stored",
    "zero",
    "select",
    "clamp",
];
/// The key of recipes under which modalities are described.
const MODALITIES: &str = "modalities";

/// Another storage of the files that a finished model reads: `modalities.NAME.KEY=VALUE`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadingKeys(Modalities);

impl ReadingKeys {
    /// Reads `--set` arguments.
    ///
    /// # Errors
    /// If one is no key of a modality that says how its files are read.
    pub fn of(overrides: &[Override]) -> Result<Self> {
        let mut map = Map::new();
        for set in overrides {
            let key = set.full_key();
            let parts: Vec<&str> = key.split('.').collect();
            match parts[..] {
                [MODALITIES, _, key] if READING.contains(&key) => {}
                [MODALITIES, _, "classes", "map"] => {}
                _ => return Err(Error::Recipe(not_reading(&key, parts.last().unwrap_or(&"")))),
            }
            set.apply(&mut map).map_err(Error::Recipe)?;
        }
        let entries = map.remove(MODALITIES).unwrap_or_default();
        Modalities::read(&entries).map(Self).map_err(Error::Recipe)
    }

    /// The names of the modalities that are described.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.0.keys().map(String::as_str)
    }

    /// Changes the storage of a modality, if it is described. Whether it is.
    ///
    /// # Errors
    /// If a key does not belong to its kind, or the result makes no sense.
    pub fn apply(&self, data: &mut DataModality) -> Result<bool> {
        let Some(entry) = self.0.0.get(&data.name) else { return Ok(false) };
        entry.read_files_as(data).map_err(|key| {
            Error::Recipe(format!(
                "`{MODALITIES}.{}.{key}`: the files of this modality have no `{key}`",
                data.name
            ))
        })?;
        data.check()?;
        Ok(true)
    }

    /// Changes the storage of the modalities of a model.
    ///
    /// # Errors
    /// If a key names none of them, or does not fit the one that it names.
    pub fn apply_to_all<'a>(
        &self,
        modalities: impl IntoIterator<Item = &'a mut DataModality>,
    ) -> Result<()> {
        let mut known = BTreeSet::new();
        for data in modalities {
            self.apply(data)?;
            known.insert(data.name.clone());
        }
        match self.names().find(|name| !known.contains(*name)) {
            None => Ok(()),
            Some(name) => Err(Error::Recipe(format!(
                "the model reads no modality `{name}`; it has {}",
                known.into_iter().collect::<Vec<_>>().join(", ")
            ))),
        }
    }
}

fn not_reading(key: &str, last: &str) -> String {
    let known = READING.map(|key| format!("{MODALITIES}.NAME.{key}")).join(", ");
    let nearest = unknown_of("key", last, &READING);
    format!(
        "`{key}` is not known here ({nearest}): a finished model takes {known}, which say how \
         files are read"
    )
}

impl ModalityRecipe {
    /// Changes how files are read; a key that does not belong to the kind of values is the error.
    fn read_files_as(&self, data: &mut DataModality) -> Result<(), &'static str> {
        if let Some(folder) = &self.folder {
            data.folder.clone_from(folder);
        }
        data.naming = self.naming(&data.naming);
        data.orientation = self.orientation.unwrap_or(data.orientation);
        let numbers = [
            ("divisor", self.divisor.is_some()),
            ("mean", self.mean.is_some()),
            ("std", self.std.is_some()),
            ("valid", self.valid.is_some()),
            ("stored", self.stored.is_some()),
            ("zero", self.zero.is_some()),
            ("select", self.select.is_some()),
            ("clamp", self.clamp.is_some()),
        ];
        let labels = [
            ("ignore", self.ignore.is_some()),
            ("offset", self.offset.is_some()),
            ("values", self.values.is_some()),
        ];
        let given = |keys: &[(&'static str, bool)]| {
            keys.iter().find(|(_, given)| *given).map_or(Ok(()), |(key, _)| Err(*key))
        };
        let map = if self.classes.is_some() { Err("classes.map") } else { Ok(()) };
        match &mut data.encoding {
            // The normalisation of colours belongs to the model.
            Encoding::Color { .. } => given(&numbers).and(given(&labels)).and(map),
            Encoding::Continuous { divisor, mean, std, .. } => {
                given(&labels).and(map)?;
                *divisor = self.divisor.unwrap_or(*divisor);
                *mean = self.mean.clone().unwrap_or_else(|| mean.clone());
                *std = self.std.clone().unwrap_or_else(|| std.clone());
                if let Some(valid) = &self.valid {
                    data.rules.valid.clone_from(valid);
                }
                if let Some(select) = &self.select {
                    data.rules.select.clone_from(select);
                }
                data.rules.clamp = self.clamp.or(data.rules.clamp);
                if self.stored.is_some() || self.zero.is_some() {
                    data.rules.stored = self.stored();
                }
                Ok(())
            }
            Encoding::Labels { ignore, offset, values, map, .. } => {
                given(&numbers)?;
                if let Some(own) = self.class_map() {
                    // It replaces what said the same in another way.
                    (*ignore, *offset, *map) = (None, 0, Some(own.clone()));
                    values.clear();
                }
                *ignore = self.ignore.or(*ignore);
                *offset = self.offset.unwrap_or(*offset);
                *values = self.values.clone().unwrap_or_else(|| values.clone());
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use multimae_data::{Orientation, Stored, Valid};

    use super::*;
    use crate::{ModalityDefaults, Role};

    fn keys(overrides: &[&str]) -> Result<ReadingKeys> {
        let overrides: Vec<Override> = overrides.iter().map(|o| o.parse().unwrap()).collect();
        ReadingKeys::of(&overrides)
    }

    fn data(name: &str) -> DataModality {
        let defaults = ModalityDefaults { imagenet_normalisation: true, standardize_depth: false };
        Modalities::default().resolve(name, Role::Pretraining, defaults).unwrap().data
    }

    #[test]
    fn files_of_a_finished_model_can_be_stored_in_another_way() {
        let set = keys(&["modalities.depth.divisor=5000", "modalities.depth.folder=d"]).unwrap();
        assert_eq!(set.names().collect::<Vec<_>>(), ["depth"]);
        let mut depth = data("depth");
        assert!(set.apply(&mut depth).unwrap());
        assert!(matches!(depth.encoding, Encoding::Continuous { divisor: 5000.0, .. }));
        assert_eq!(depth.folder, "d");
        let set = keys(&["modalities.depth.strip_suffix=_zbuffer", "modalities.depth.column=2"]);
        assert!(set.unwrap().apply(&mut depth).unwrap());
        assert_eq!((depth.source().as_str(), depth.naming.column), ("d/*_zbuffer", Some(2)));
        let set = ["modalities.depth.valid=all", "modalities.depth.zero=3"];
        assert!(keys(&set).unwrap().apply(&mut depth).unwrap());
        assert_eq!(depth.rules.valid, Valid::All);
        assert_eq!(depth.rules.stored, Stored::ZeroAt(3.0));
        let mut rgb = data("rgb");
        assert!(!keys(&set).unwrap().apply(&mut rgb).unwrap());
        let mut semseg = data("semseg");
        assert!(keys(&["modalities.rgb.orientation=ignore"]).unwrap().apply(&mut rgb).unwrap());
        assert_eq!(rgb.orientation, Orientation::Ignore);
        assert!(keys(&["modalities.semseg.ignore=-1"]).unwrap().apply(&mut semseg).unwrap());
        assert!(matches!(semseg.encoding, Encoding::Labels { ignore: Some(-1), .. }));
    }

    #[test]
    fn labels_of_other_ids_are_mapped_to_the_classes_of_the_model() {
        let set = keys(&["modalities.semseg.classes.map={7: 0, 9: 132, other: ignore}"]).unwrap();
        let mut semseg = data("semseg");
        assert!(set.apply(&mut semseg).unwrap());
        let rule = multimae_data::labels::LabelRule::of(&semseg.encoding).unwrap();
        assert_eq!((rule.label(9), rule.label(8)), (Some(132), Some(-1)));
        let set = keys(&["modalities.semseg.classes.map={7: 133}"]).unwrap();
        let error = set.apply(&mut semseg).unwrap_err().to_string();
        assert!(error.contains("a class 133, and there are 133 classes"), "{error}");
        let set = keys(&["modalities.depth.classes.map={7: 1}"]).unwrap();
        let error = set.apply(&mut data("depth")).unwrap_err().to_string();
        assert!(error.contains("`modalities.depth.classes.map`"), "{error}");
    }

    #[test]
    fn keys_of_the_model_are_refused() {
        for key in ["modalities.semseg.classes=3", "batch_size=3", "modalities.depth=3"] {
            let error = keys(&[key]).unwrap_err().to_string();
            assert!(error.contains("modalities.NAME.divisor"), "{error}");
        }
        let error = keys(&["modalities.depth.divider=3"]).unwrap_err().to_string();
        assert!(error.contains("did you mean `divisor`"), "{error}");
        let misfit = keys(&["modalities.rgb.divisor=3"]).unwrap();
        let error = misfit.apply(&mut data("rgb")).unwrap_err().to_string();
        assert!(error.contains("`modalities.rgb.divisor`"), "{error}");
        assert!(keys(&["modalities.depth.divisor=0"]).unwrap().apply(&mut data("depth")).is_err());
    }
}
