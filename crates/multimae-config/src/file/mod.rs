//! From files and overrides to a recipe.

mod batch;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::{Map, Value};

use super::classes::locate_maps;
use super::known::unknown;
use super::overrides::Override;
use super::recipe::Recipe;
use crate::{Error, Result};

/// A recipe and what is to be said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved<R> {
    /// Defaults, file and overrides together.
    pub recipe: R,
    /// Keys that change nothing here, and why; a batch that is smaller than the recipe's.
    pub notices: Vec<String>,
}

impl<R: Recipe> Resolved<R> {
    /// Reads a file, if there is one, with those it builds on, and applies overrides.
    ///
    /// # Errors
    /// If a file cannot be read or is no map, files build on each other, a key is unknown, a value
    /// does not fit its key, or keys do not fit together.
    pub fn load(file: Option<&Path>, overrides: &[Override]) -> Result<Self> {
        let (map, source) = keys_of::<R>(file)?;
        Self::with_overrides(map, &source, overrides)
    }

    /// As [`Self::load`], to resume a run whose own recipe is the file `run`: keys that are newer
    /// than the run have the values that stand for the behaviour before them, unless they are set.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_for_run(file: Option<&Path>, run: &Path, overrides: &[Override]) -> Result<Self> {
        let (mut map, source) = keys_of::<R>(file)?;
        add_former::<R>(&mut map, &read_map(run)?);
        Self::with_overrides(map, &source, overrides)
    }

    /// The recipe that a run, or its model, was written with.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn of_run(map: &Map<String, Value>, source: &str) -> Result<Self> {
        let mut whole = map.clone();
        add_former::<R>(&mut whole, map);
        Self::from_map(&whole, source)
    }

    fn with_overrides(
        mut map: Map<String, Value>,
        source: &str,
        overrides: &[Override],
    ) -> Result<Self> {
        let own = map.clone();
        for change in overrides {
            change.apply(&mut map).map_err(|problem| Error::Recipe(format!("--set: {problem}")))?;
        }
        let mut resolved = Self::from_map(&map, source)?;
        resolved.notices.extend(batch::notice(&own, &map, &resolved.recipe));
        Ok(resolved)
    }

    /// From keys and values; `source` is named in errors.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_map(map: &Map<String, Value>, source: &str) -> Result<Self> {
        let mut problems = Vec::new();
        let map = plain::<R>(map, &mut problems);
        let (recipe, notices) = R::start(&map).map_err(|error| named(error, source))?;
        let mut resolved = Self { recipe, notices };
        for (key, value) in &map {
            match resolved.recipe.set(key, value) {
                Some(Ok(())) => {}
                Some(Err(problem)) => problems.push(format!("`{key}`: {problem}")),
                None => match R::without_meaning().find(|(known, _)| known == key) {
                    Some((_, why)) if says_something(value) => {
                        resolved.notices.push(format!("`{key}` changes nothing: {why}"));
                    }
                    Some(_) => {}
                    None => problems.push(unknown::<R>(key)),
                },
            }
        }
        if !problems.is_empty() {
            return Err(Error::Recipe(format!("{source}: {}", problems.join("; "))));
        }
        resolved.recipe.check().map_err(|error| named(error, source))?;
        Ok(resolved)
    }
}

/// The keys of a file, if there is one, and its name in errors.
fn keys_of<R: Recipe>(file: Option<&Path>) -> Result<(Map<String, Value>, String)> {
    Ok(match file {
        Some(path) => (read_with_bases::<R>(path)?, path.display().to_string()),
        None => (Map::new(), "--set".to_owned()),
    })
}

/// Sets the keys that neither `map` nor the recipe of a run sets to their former values.
fn add_former<R: Recipe>(map: &mut Map<String, Value>, run: &Map<String, Value>) {
    for key in R::keys() {
        if let Some(value) = R::former(key.name)
            && !run.contains_key(key.name)
            && !map.contains_key(key.name)
        {
            map.insert(key.name.to_owned(), value);
        }
    }
}

/// A problem of a recipe with the file that it comes from.
fn named(error: Error, source: &str) -> Error {
    match error {
        Error::Recipe(problem) => Error::Recipe(format!("{source}: {problem}")),
        other => other,
    }
}

/// Whether a key without meaning was set to something that one would miss.
fn says_something(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && value.as_str() != Some("")
}

/// The key that names the file that a recipe builds on, relative to the recipe's own folder.
pub(crate) const BASE: &str = "base";

/// The keys and values of a recipe over those of the recipe that it names as its base, which may
/// have one itself. A key replaces that of the base as a whole, also where it is a map.
fn read_with_bases<R: Recipe>(path: &Path) -> Result<Map<String, Value>> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut maps: Vec<Map<String, Value>> = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let problem = |problem: &str| Error::Recipe(format!("{}: {problem}", path.display()));
        let file = fs::canonicalize(&path)?;
        if files.contains(&file) {
            return Err(problem("builds on itself; `base` names another recipe"));
        }
        files.push(file);
        let mut map = read_map(&path)?;
        locate_maps(&mut map, path.parent().unwrap_or(Path::new("")));
        next = match map.shift_remove(BASE) {
            None | Some(Value::Null) => None,
            Some(Value::String(base)) => Some(path.parent().unwrap_or(Path::new("")).join(base)),
            Some(_) => return Err(problem("`base`: expected the path of a recipe")),
        };
        // Here, since a file and its base may call a key by different names.
        let mut problems = Vec::new();
        maps.push(plain::<R>(&map, &mut problems));
        if let Some(first) = problems.first() {
            return Err(problem(first));
        }
    }
    Ok(maps.into_iter().rev().flatten().collect())
}

/// The keys and values of a YAML file.
///
/// # Errors
/// If it cannot be read or is no map.
pub fn read_map(path: &Path) -> Result<Map<String, Value>> {
    let text = fs::read_to_string(path)?;
    let problem = |problem: String| Error::Recipe(format!("{}: {problem}", path.display()));
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Map::new());
    }
    match serde_saphyr::from_str::<Value>(&text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(problem("expected `key: value` lines".to_owned())),
        Err(error) => Err(problem(format!("not YAML: {error}"))),
    }
}

/// The keys under the names used here, in their plain forms.
fn plain<R: Recipe>(map: &Map<String, Value>, problems: &mut Vec<String>) -> Map<String, Value> {
    let mut renamed = Map::new();
    for (key, value) in map {
        let alias = R::ALIASES.iter().find(|(alias, _)| alias == key);
        let name = alias.map_or(key.as_str(), |(_, name)| name);
        if alias.is_some() && map.contains_key(name) {
            problems.push(format!("`{key}` and `{name}` are the same key; set one"));
        }
        renamed.insert(name.to_owned(), value.clone());
    }
    problems.extend(R::expand(&mut renamed).err());
    renamed
}
