//! The comparison of a recipe with the one that a run was begun with.

use std::fmt;

use serde_json::{Map, Value};

use super::keys::KeyInfo;
use super::recipe::Recipe;
use crate::{Error, Result};

/// A key whose value is not the one that a run was begun with.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The key.
    pub key: String,
    /// The value that the run was begun with.
    pub was: Value,
    /// The value now.
    pub now: Value,
}

/// The most leaves of one key, and the most keys, that a message names.
const NAMED: usize = 4;

/// The longest value in a message, in characters.
const LONGEST: usize = 60;

impl fmt::Display for Difference {
    /// Names the leaves that differ, with both values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut leaves = Vec::new();
        collect_leaves(&self.key, Some(&self.was), Some(&self.now), &mut leaves);
        write!(f, "{}", capped(&leaves, ", ", "values"))
    }
}

/// Adds a text for every leaf of two values that differs. `None` stands for a key that is absent.
fn collect_leaves(path: &str, was: Option<&Value>, now: Option<&Value>, leaves: &mut Vec<String>) {
    match (was, now) {
        (Some(Value::Object(was)), Some(Value::Object(now))) => {
            let further = was.keys().filter(|key| !now.contains_key(*key));
            for key in now.keys().chain(further) {
                collect_leaves(&format!("{path}.{key}"), was.get(key), now.get(key), leaves);
            }
        }
        (Some(was), Some(now)) if same(was, now) => {}
        (was, now) => leaves.push(format!("`{path}` was {}, now {}", short(was), short(now))),
    }
}

/// A value in a few characters.
fn short(value: Option<&Value>) -> String {
    let Some(value) = value else { return "absent".to_owned() };
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    format!("{}...", text.chars().take(LONGEST).collect::<String>())
}

/// The first texts, and the number of the others.
fn capped(texts: &[String], separator: &str, what: &str) -> String {
    let named = texts[..texts.len().min(NAMED)].join(separator);
    match texts.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}{separator}{more} more {what}"),
    }
}

/// The keys whose values differ, in the order of `now`. A key that is newer than the run counts as
/// its [former](Recipe::former) value, else as its default for these tasks, so that recipes can
/// gain keys.
#[must_use]
pub fn differing<R: Recipe>(
    begun: &Map<String, Value>,
    now: &Map<String, Value>,
) -> Vec<Difference> {
    let defaults = R::start(now).map(|(recipe, _)| recipe).unwrap_or_default().values();
    let default = |key: &str| {
        defaults.iter().find(|(name, _)| *name == key).map_or(Value::Null, |(_, v)| v.clone())
    };
    now.iter()
        .map(|(key, now)| Difference {
            key: key.clone(),
            was: begun.get(key).cloned().or_else(|| R::former(key)).unwrap_or_else(|| default(key)),
            now: now.clone(),
        })
        .filter(|Difference { was, now, .. }| !same(was, now))
        .collect()
}

/// Whether two values are the same, whether a number was written as whole or not.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let matches = |(key, a): (&String, &Value)| b.get(key).is_some_and(|b| same(a, b));
            a.len() == b.len() && a.iter().all(matches)
        }
        _ => a == b,
    }
}

/// Compares the fingerprint that a run was begun with to that of the recipe that resumes it.
/// Returns a notice for each key that recipes no longer have; such keys are ignored.
///
/// # Errors
/// Names the keys that differ, with both values, in one line.
pub fn check_same<R: Recipe>(
    old: &Map<String, Value>,
    new: &Map<String, Value>,
) -> Result<Vec<String>> {
    let differing: Vec<String> = differing::<R>(old, new).iter().map(ToString::to_string).collect();
    if !differing.is_empty() {
        return Err(Error::Recipe(format!(
            "the run was begun with another recipe: {}. Resume without changing these keys, or \
             start a new run in another folder",
            capped(&differing, "; ", "keys")
        )));
    }
    let keys: Vec<KeyInfo> = R::keys();
    // A key that may differ is in no fingerprint, and may be in an older one.
    let known = |key: &str| new.contains_key(key) || keys.iter().any(|info| info.name == key);
    let removed = old.iter().filter(|(key, _)| !known(key));
    Ok(removed
        .map(|(key, value)| {
            format!("the run was begun with `{key}: {value}`, which recipes no longer have")
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FinetuneRecipe, Override, Resolved};

    fn fingerprint(overrides: &[&str]) -> Map<String, Value> {
        let overrides: Vec<Override> = overrides.iter().map(|o| o.parse().unwrap()).collect();
        let recipe = Resolved::<FinetuneRecipe>::load(None, &overrides).unwrap().recipe;
        serde_json::from_str(&recipe.fingerprint()).unwrap()
    }

    fn check(old: &Map<String, Value>, new: &Map<String, Value>) -> Result<Vec<String>> {
        check_same::<FinetuneRecipe>(old, new)
    }

    #[test]
    fn a_key_that_is_newer_than_the_run_counts_as_its_default() {
        let new = fingerprint(&["out_domains=depth"]);
        let mut old = new.clone();
        // The default of the first is that of all recipes, of the second that of depth.
        assert!(old.shift_remove("hflip").is_some() && old.shift_remove("epochs").is_some());
        assert_eq!(check(&old, &new).unwrap(), [""; 0]);
        let changed = fingerprint(&["out_domains=depth", "hflip=0.25", "epochs=3"]);
        let error = check(&old, &changed).unwrap_err().to_string();
        assert!(error.contains("`hflip` was 0.5, now 0.25"), "{error}");
        assert!(error.contains("`epochs` was 2000, now 3"), "{error}");
    }

    #[test]
    fn nested_differences_are_named_by_their_leaves_in_one_short_line() {
        let mut old = fingerprint(&["out_domains=depth"]);
        let mut new = old.clone();
        let classes: Vec<String> = (0..200).map(|i| format!("class {i}")).collect();
        let tasks = |mean: f64| serde_json::json!({"depth": {"mean": mean, "names": classes}});
        old.insert("tasks of the data".to_owned(), tasks(2.5));
        new.insert("tasks of the data".to_owned(), tasks(3.0));
        let error = check(&old, &new).unwrap_err().to_string();
        assert!(error.contains("`tasks of the data.depth.mean` was 2.5, now 3.0."), "{error}");
        assert!(!error.contains("class") && error.len() < 250, "{error}");
        // Long values are cut, and many of them counted.
        new["tasks of the data"] = serde_json::json!({"depth": {"names": [classes]}, "b": {}});
        for key in ["hflip", "epochs", "seed", "batch_size", "opt_eps"] {
            new[key] = 77.into();
        }
        let error = check(&old, &new).unwrap_err().to_string();
        assert!(error.contains("; 2 more keys.") && error.len() < 600, "{error}");
        let difference = Difference {
            key: "tasks of the data".to_owned(),
            was: old["tasks of the data"].clone(),
            now: new["tasks of the data"].clone(),
        };
        let text = difference.to_string();
        assert!(text.contains("`tasks of the data.depth.mean` was 2.5, now absent"), "{text}");
        assert!(text.contains("class 0") && text.contains("...") && text.len() < 400, "{text}");
    }

    #[test]
    fn a_key_that_changed_the_behaviour_counts_as_before() {
        let new = fingerprint(&["out_domains=depth", "valid_values=all"]);
        let mut old = new.clone();
        assert!(old.shift_remove("valid_values").is_some());
        assert_eq!(check(&old, &new).unwrap(), [""; 0]);
        let error = check(&old, &fingerprint(&["out_domains=depth"])).unwrap_err().to_string();
        assert!(error.contains(r#"`valid_values` was "all", now "quantity""#), "{error}");
    }

    #[test]
    fn a_run_keeps_the_storage_of_its_moments() {
        let new = fingerprint(&["out_domains=depth"]);
        let mut old = new.clone();
        assert!(old.shift_remove("optimizer_state").is_some());
        assert_eq!(check(&old, &new).unwrap(), [""; 0], "runs of before had fp32");
        let changed = fingerprint(&["out_domains=depth", "optimizer_state=8bit"]);
        let error = check(&old, &changed).unwrap_err().to_string();
        assert!(error.contains(r#"`optimizer_state` was "fp32", now "8bit""#), "{error}");
        assert!(error.contains("Resume without changing these keys"), "{error}");
    }

    #[test]
    fn a_key_that_was_removed_is_ignored_and_named() {
        let new = fingerprint(&["out_domains=depth"]);
        let mut old = new.clone();
        old.insert("gone".to_owned(), 3.into());
        // May differ, and was in fingerprints once.
        old.insert("num_workers".to_owned(), 7.into());
        let notices = check(&old, &new).unwrap();
        assert_eq!(notices, ["the run was begun with `gone: 3`, which recipes no longer have"]);
    }

    #[test]
    fn what_follows_from_the_data_must_be_there() {
        let new = fingerprint(&["out_domains=depth"]);
        let mut with_data = new.clone();
        with_data.insert("weights of the tasks".to_owned(), 2.into());
        assert!(check(&new, &with_data).unwrap_err().to_string().contains("weights of the tasks"));
    }

    #[test]
    fn whole_numbers_are_numbers() {
        let heads = |ratio: &str| {
            let head = format!("heads={{depth: {{kind: segmenter, mlp_ratio: {ratio}}}}}");
            fingerprint(&["out_domains=depth", &head])
        };
        let mut old = heads("4");
        old["heads"]["depth"]["mlp_ratio"] = 4.into();
        assert_eq!(check(&old, &heads("4.0")).unwrap(), [""; 0]);
        assert!(check(&old, &heads("2.0")).is_err());
    }
}
