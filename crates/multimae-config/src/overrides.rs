//! Keys that are set outside the recipe's file.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::Result;

/// One `--set key=value`; dots go into maps, as in `modalities.depth.divisor=1000`.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    path: Vec<String>,
    value: Value,
}

impl Override {
    /// Sets a key that is in no map.
    #[must_use]
    pub fn new(key: &str, value: Value) -> Self {
        Self { path: vec![key.to_owned()], value }
    }

    /// Sets a key; dots go into maps.
    ///
    /// # Errors
    /// If a part of the key is empty.
    pub fn at(key: &str, value: Value) -> Result<Self, String> {
        let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(format!("`{key}` is no key"));
        }
        Ok(Self { path, value })
    }

    /// The recipe's key; where dots go into it, what is before the first.
    #[must_use]
    pub fn key(&self) -> &str {
        self.path.first().map_or("", String::as_str)
    }

    /// The key with its dots.
    #[must_use]
    pub fn full_key(&self) -> String {
        self.path.join(".")
    }

    /// Sets its key in a map.
    ///
    /// # Errors
    /// If the path goes into what is no map.
    pub(super) fn apply(&self, map: &mut Map<String, Value>) -> Result<(), String> {
        insert(map, &self.path, self.value.clone())
    }

    /// The value it is set to.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }
}

impl fmt::Display for Override {
    /// As it is read: JSON is YAML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.full_key(), self.value)
    }
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("expected key=value")?;
        let value = if value.trim().is_empty() {
            Value::Null
        } else {
            serde_saphyr::from_str(value).unwrap_or_else(|_| value.into())
        };
        Self::at(key, value)
    }
}

/// Puts a value under a path of keys.
fn insert(map: &mut Map<String, Value>, path: &[String], value: Value) -> Result<(), String> {
    let Some((key, rest)) = path.split_first() else {
        return Ok(());
    };
    if rest.is_empty() {
        map.insert(key.clone(), value);
        return Ok(());
    }
    let inner = map.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
    if inner.is_null() {
        *inner = Value::Object(Map::new());
    }
    match inner {
        Value::Object(inner) => insert(inner, rest, value),
        other => Err(format!("`{key}` is {other}, which has no `{}`", rest.join("."))),
    }
}
