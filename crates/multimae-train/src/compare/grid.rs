//! `grid.yaml`: the recipe of every cell of the comparison, and what is changed in it.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::search::{SEARCH, SearchRules, SearchSpace, read_space};
use crate::{Error, Result};
use multimae_config::{FinetuneRecipe, Override, check_key, read_map, unknown_of};

const KEYS: [&str; 7] = ["base", "set", "seeds", "reference", "scores", SEARCH, "cells"];
const SEEDS: &str = "seeds";
const LABEL: &str = "label";
const RECIPE: &str = "recipe";

/// Keys of the recipe that the comparison sets itself, and what to do instead.
const OWN: [(&str, &str); 3] = [
    ("seed", "give `seeds: [...]`"),
    ("output_dir", "every run has its own folder in --out"),
    ("auto_resume", "unfinished runs are always resumed"),
];

/// The grid of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// The file.
    pub path: PathBuf,
    /// The recipe of the cells that name none.
    pub base: Option<PathBuf>,
    /// The changes of all cells.
    pub set: Vec<Override>,
    /// The cell that others are compared with.
    pub reference: String,
    /// The score that stands for a task, where it is not the usual one.
    pub scores: IndexMap<String, String>,
    /// The rules of the search in cells, if there is one.
    pub search: Option<SearchRules>,
    /// The cells by name, in order.
    pub cells: IndexMap<String, GridCell>,
}

/// A cell of the grid.
#[derive(Debug, Clone, PartialEq)]
pub struct GridCell {
    /// Its name for people.
    pub label: String,
    /// The recipe that it begins with.
    pub recipe: PathBuf,
    /// It is trained once with each.
    pub seeds: Vec<u64>,
    /// The changes of the recipe.
    pub set: Vec<Override>,
    /// The values that are tried before.
    pub search: Option<SearchSpace>,
}

impl Grid {
    /// Reads a grid.
    ///
    /// # Errors
    /// If the file cannot be read, a key is unknown, or a value does not fit its key.
    pub fn read(path: &Path) -> Result<Self> {
        let map = read_map(path)?;
        Self::from_map(&map, path).map_err(|problem| Error::Grid { path: path.to_owned(), problem })
    }

    fn from_map(map: &Map<String, Value>, path: &Path) -> Result<Self, String> {
        if let Some(key) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(unknown_of("key", key, &KEYS));
        }
        let base = map.get("base").map(|base| recipe("base", base, path)).transpose()?;
        let set = match map.get("set") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(set)) => {
                overrides(set).map_err(|problem| format!("`set`: {problem}"))?
            }
            Some(_) => return Err("`set`: expected keys of the recipe".to_owned()),
        };
        let seeds = map.get(SEEDS).map_or(Ok(vec![0]), seeds)?;
        let cells = match map.get("cells") {
            Some(Value::Object(cells)) if !cells.is_empty() => cells
                .iter()
                .map(|(name, cell)| {
                    let cell = GridCell::of(name, cell, &seeds, (base.as_deref(), path))
                        .map_err(|problem| format!("cell `{name}`: {problem}"))?;
                    Ok((name.clone(), cell))
                })
                .collect::<Result<IndexMap<_, _>, String>>()?,
            _ => return Err("`cells`: name at least one, as in `full: {tuning: full}`".to_owned()),
        };
        let names: Vec<&str> = cells.keys().map(String::as_str).collect();
        let reference = match map.get("reference").and_then(Value::as_str) {
            Some(name) if cells.contains_key(name) => name.to_owned(),
            Some(name) => {
                return Err(format!("`reference`: {}", unknown_of("cell", name, &names)));
            }
            None => {
                return Err(format!(
                    "`reference`: name the cell that others are compared with, one of {}",
                    names.join(", ")
                ));
            }
        };
        let scores = map.get("scores").map_or(Ok(IndexMap::new()), scores)?;
        let search = map.get(SEARCH).map(SearchRules::read).transpose()?;
        Ok(Self { path: path.to_owned(), base, set, reference, scores, search, cells })
    }

    /// The cells that are chosen by name; all if none is.
    ///
    /// # Errors
    /// If there is no such cell.
    pub fn chosen(&self, only: &[String]) -> Result<Vec<&str>> {
        let names: Vec<&str> = self.cells.keys().map(String::as_str).collect();
        if let Some(name) = only.iter().find(|name| !self.cells.contains_key(*name)) {
            let problem = format!("--only: {}", unknown_of("cell", name, &names));
            return Err(Error::Grid { path: self.path.clone(), problem });
        }
        let chosen = |name: &&str| only.is_empty() || only.iter().any(|other| other == name);
        Ok(names.into_iter().filter(chosen).collect())
    }
}

impl GridCell {
    /// `base` is the recipe of cells without one, `grid` the grid's file.
    fn of(
        name: &str,
        value: &Value,
        seeds_of_all: &[u64],
        (base, grid): (Option<&Path>, &Path),
    ) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err("names are for folders too: letters, digits, - _ + and . only".to_owned());
        }
        let mut map = match value {
            Value::Object(map) => map.clone(),
            Value::Null => Map::new(),
            _ => return Err("expected keys of the recipe, as in {tuning: head}".to_owned()),
        };
        let seeds = map.shift_remove(SEEDS).map_or(Ok(seeds_of_all.to_vec()), |s| seeds(&s))?;
        let label = match map.shift_remove(LABEL) {
            None => name.to_owned(),
            Some(Value::String(label)) => label,
            Some(other) => return Err(format!("`{LABEL}`: {other} is no text")),
        };
        let search = map.shift_remove(SEARCH).map(|space| read_space(&space)).transpose()?;
        let recipe = match (map.shift_remove(RECIPE), base) {
            (Some(own), _) => recipe(RECIPE, &own, grid)?,
            (None, Some(base)) => base.to_owned(),
            (None, None) => {
                return Err(format!("`{RECIPE}`: name a recipe of fine-tuning, or `base` for all"));
            }
        };
        // A misspelt `seed` or `lable` must not be taken for a key of the recipe.
        for (key, own) in map.keys().map(|key| (key, [SEEDS, LABEL, RECIPE, SEARCH])) {
            if check_key::<FinetuneRecipe>(first(key)).is_err() {
                let nearest = unknown_of("key", key, &own);
                if nearest.contains("did you mean") {
                    return Err(nearest);
                }
            }
        }
        Ok(Self { label, recipe, seeds, set: overrides(&map)?, search })
    }
}

/// A recipe's path, which is relative to the folder of the grid.
fn recipe(key: &str, value: &Value, grid: &Path) -> Result<PathBuf, String> {
    match value {
        Value::String(path) => Ok(grid.parent().unwrap_or(Path::new("")).join(path)),
        other => Err(format!("`{key}`: {other} is no path of a recipe of fine-tuning")),
    }
}

fn first(key: &str) -> &str {
    key.split('.').next().unwrap_or(key)
}

/// Checks that a comparison may set a key of the recipe.
///
/// # Errors
/// Says what to do instead.
pub(super) fn check_override(change: &Override) -> Result<(), String> {
    check_key::<FinetuneRecipe>(change.key())?;
    match OWN.iter().find(|(own, _)| *own == change.key()) {
        Some((own, instead)) => Err(format!("`{own}` is set by the comparison; {instead}")),
        None => Ok(()),
    }
}

fn overrides(map: &Map<String, Value>) -> Result<Vec<Override>, String> {
    map.iter()
        .map(|(key, value)| {
            let change = Override::at(key, value.clone())?;
            check_override(&change)?;
            Ok(change)
        })
        .collect()
}

fn seeds(value: &Value) -> Result<Vec<u64>, String> {
    let problem = || format!("`{SEEDS}`: {value} is no list of whole numbers, as in [0, 1, 2]");
    let seeds: Vec<u64> = value
        .as_array()
        .ok_or_else(problem)?
        .iter()
        .map(|seed| seed.as_u64().ok_or_else(problem))
        .collect::<Result<_, _>>()?;
    let twice = seeds.iter().enumerate().find(|(i, seed)| seeds[..*i].contains(seed));
    match twice {
        Some((_, seed)) => Err(format!("`{SEEDS}`: {seed} stands there twice")),
        None if seeds.is_empty() => Err(problem()),
        None => Ok(seeds),
    }
}

fn scores(value: &Value) -> Result<IndexMap<String, String>, String> {
    let problem =
        || format!("`scores`: {value} is no map from tasks to scores, as in {{depth: depth_rmse}}");
    let map = value.as_object().ok_or_else(problem)?;
    map.iter()
        .map(|(task, score)| Ok((task.clone(), score.as_str().ok_or_else(problem)?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(text: &str) -> Result<Grid> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grid.yaml");
        fs_err::write(&path, text).unwrap();
        Grid::read(&path)
    }

    const GOOD: &str = "
base: ../finetune/nyuv2_tiny.yaml
set: {finetune: runs/long, epochs: 10}
seeds: [0]
reference: full
scores: {depth: depth_rmse}
cells:
  full:
  head: {tuning: head, heads.depth.width: 16}
  deep: {recipe: deep.yaml, seeds: [2, 1], label: deep norms}
";

    #[test]
    fn a_grid_is_read() {
        let grid = grid(GOOD).unwrap();
        assert!(grid.cells["full"].recipe.ends_with("../finetune/nyuv2_tiny.yaml"));
        assert!(grid.cells["deep"].recipe.ends_with("deep.yaml"));
        let [full, head, deep] = ["full", "head", "deep"].map(|name| &grid.cells[name]);
        assert!(full.set.is_empty() && full.seeds == [0] && full.label == "full");
        assert_eq!(head.set[1].full_key(), "heads.depth.width");
        assert_eq!((deep.label.as_str(), deep.seeds.as_slice()), ("deep norms", &[2, 1][..]));
        assert_eq!(grid.chosen(&[]).unwrap(), ["full", "head", "deep"]);
        assert_eq!(grid.chosen(&["deep".to_owned()]).unwrap(), ["deep"]);
        let error = grid.chosen(&["heda".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("did you mean `head`"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, words) in [
            ("seeds: [0]", "sedes: [0]", &["`sedes`", "did you mean `seeds`"][..]),
            ("tuning: head", "tunning: head", &["cell `head`", "did you mean `tuning`"]),
            ("seeds: [2, 1]", "seed: 1", &["cell `deep`", "`seed` is set by", "`seeds: [...]`"]),
            ("label: deep norms", "lable: x", &["cell `deep`", "did you mean `label`"]),
            ("epochs: 10", "epohcs: 10", &["`set`", "did you mean `epochs`"]),
            ("epochs: 10", "output_dir: x", &["`output_dir`", "--out"]),
            ("reference: full", "reference: ful", &["`reference`", "did you mean `full`"]),
            ("reference: full", "", &["`reference`", "full, head, deep"]),
            ("seeds: [2, 1]", "seeds: [1, 1]", &["cell `deep`", "twice"]),
            ("seeds: [0]", "seeds: 3", &["`seeds`", "[0, 1, 2]"]),
            ("base: ../finetune/nyuv2_tiny.yaml", "", &["cell `full`", "`recipe`", "`base`"]),
            ("base: ../finetune/nyuv2_tiny.yaml", "base: 3", &["`base`"]),
            ("  head:", "  a/b:", &["cell `a/b`", "folders"]),
            ("{depth: depth_rmse}", "depth_rmse", &["`scores`"]),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD);
            let error = grid(&text).unwrap_err().to_string();
            for word in words.iter().chain(&["grid.yaml"]) {
                assert!(error.contains(word), "`{word}` is not in: {error}");
            }
        }
        assert!(
            grid("base: a\nreference: b\ncells: {}").unwrap_err().to_string().contains("cells")
        );
    }
}
