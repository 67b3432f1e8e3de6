//! A kind of recipe: its keys, their text, and the part that may not change when a run is resumed.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::keys::Keys;
use super::shared::{self, OptimisationKeys};
use crate::{Error, Result};

/// A kind of recipe: its keys, and what is said about them.
pub trait Recipe: Keys {
    /// Keys of the published files of this kind that change nothing here, and why.
    const WITHOUT_MEANING: &'static [(&'static str, &'static str)];
    /// Keys of this kind that may differ when a run is resumed.
    const FREE_ON_RESUME: &'static [&'static str];
    /// Other names of keys, with the name used here.
    const ALIASES: &'static [(&'static str, &'static str)] = &[];

    /// All keys that change nothing here, and why: those of both kinds, then those of this one.
    fn without_meaning() -> impl Iterator<Item = (&'static str, &'static str)> {
        shared::WITHOUT_MEANING.iter().chain(Self::WITHOUT_MEANING).copied()
    }

    /// The keys of the optimiser and of the size of a step.
    fn optimisation(&self) -> &OptimisationKeys;

    /// Whether the learning rate is one per 256 samples of a step.
    fn scales_lr(&self) -> bool;

    /// The processes on which the published code is launched for this kind of training, each with
    /// a batch of its own.
    fn published_processes(&self) -> usize;

    /// Whether a key may differ when a run is resumed.
    #[must_use]
    fn is_free_on_resume(key: &str) -> bool {
        shared::FREE_ON_RESUME.iter().chain(Self::FREE_ON_RESUME).any(|free| *free == key)
    }

    /// The value of a key in runs from before the key, where that is not its default.
    #[must_use]
    fn former(key: &str) -> Option<Value> {
        let former = shared::FORMER.iter().find(|(name, _)| *name == key)?;
        Some(former.1.into())
    }

    /// The defaults for someone who sets these keys, and what is to be said about them.
    ///
    /// # Errors
    /// If the keys do not say enough.
    fn start(map: &Map<String, Value>) -> Result<(Self, Vec<String>)> {
        let _ = map;
        Ok((Self::default(), Vec::new()))
    }

    /// Writes forms of keys that stand for several keys as those keys.
    ///
    /// # Errors
    /// If such a form is not as it should be.
    fn expand(map: &mut Map<String, Value>) -> Result<(), String> {
        let _ = map;
        Ok(())
    }

    /// Checks that every number is in the range of its key, and that keys fit together.
    ///
    /// # Errors
    /// Names all keys that are out of range with their ranges, or the keys that do not fit
    /// together.
    fn check(&self) -> Result<()> {
        let keys = Self::keys();
        let ranges = keys.iter().map(|key| key.range).zip(self.values());
        let problems: Vec<String> =
            ranges.filter_map(|(range, (key, value))| range?.problem(key, &value)).collect();
        if !problems.is_empty() {
            return Err(Error::Recipe(problems.join("; ")));
        }
        self.check_rules()
    }

    /// Checks that keys fit together.
    ///
    /// # Errors
    /// If they do not.
    fn check_rules(&self) -> Result<()>;

    /// The recipe as a file that sets every key, with what each means.
    #[must_use]
    fn to_yaml(&self) -> String {
        let mut text =
            String::from("# The resolved recipe of this run: every key, as it was used.\n");
        let mut group = "";
        for (key, (name, value)) in Self::keys().iter().zip(self.values()) {
            if key.group != group {
                group = key.group;
                let _ = write!(text, "\n# ---- {group} ----\n");
            }
            for line in key.doc {
                let _ = writeln!(text, "#{line}");
            }
            // JSON is YAML.
            let _ = writeln!(text, "{name}: {value}");
        }
        text
    }

    /// The part of a recipe that must not change when a run is resumed, as JSON.
    #[must_use]
    fn fingerprint(&self) -> String {
        let fixed: Map<String, Value> = self
            .fixed_values()
            .into_iter()
            .filter(|(key, _)| !Self::is_free_on_resume(key))
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        Value::Object(fixed).to_string()
    }
}
