//! Names of modalities and tasks, and values by name.

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::json_schema::{all_of, any_of, map_of};
use super::scalars::{expected, number};
use crate::keys::RecipeValue;

/// Names joined by `-`, as in `rgb-depth-semseg`, or a list of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl Names {
    /// From names joined by `-`.
    #[must_use]
    pub fn joined(text: &str) -> Self {
        Self(text.split('-').filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }
}

impl RecipeValue for Names {
    fn read(value: &Value) -> Result<Self, String> {
        let names = match value {
            Value::String(text) => Self::joined(text),
            Value::Array(list) => {
                let names: Option<Vec<_>> =
                    list.iter().map(|name| name.as_str().map(str::to_owned)).collect();
                Self(names.ok_or_else(|| expected::<Self>(value))?)
            }
            Value::Null => Self(Vec::new()),
            _ => return Err(expected::<Self>(value)),
        };
        for (index, name) in names.0.iter().enumerate() {
            if names.0[..index].contains(name) {
                return Err(format!("`{name}` is listed twice"));
            }
        }
        Ok(names)
    }

    fn write(&self) -> Value {
        json!(self.0)
    }

    fn kind() -> String {
        "names, joined by `-` or in a list".to_owned()
    }

    fn schema() -> Value {
        let list = json!({ "type": "array", "items": { "type": "string" }, "uniqueItems": true });
        any_of([json!({ "type": ["string", "null"] }), list])
    }
}

/// One number for all modalities, or one each.
#[derive(Debug, Clone, PartialEq)]
pub struct Alphas(pub Vec<f64>);

impl Alphas {
    /// One number per modality.
    ///
    /// # Errors
    /// If there are several numbers, but not one per modality.
    pub fn for_modalities(&self, count: usize) -> Result<Vec<f64>, String> {
        match self.0.as_slice() {
            [one] => Ok(vec![*one; count]),
            many if many.len() == count => Ok(many.to_vec()),
            many => Err(format!("`alphas` has {} numbers for {count} modalities", many.len())),
        }
    }
}

impl RecipeValue for Alphas {
    fn read(value: &Value) -> Result<Self, String> {
        let numbers = match value {
            Value::Array(list) => list.iter().map(number).collect::<Option<Vec<_>>>(),
            single => number(single).map(|number| vec![number]),
        };
        match numbers {
            Some(numbers) if !numbers.is_empty() && numbers.iter().all(|&n| n > 0.0) => {
                Ok(Self(numbers))
            }
            _ => Err(expected::<Self>(value)),
        }
    }

    fn write(&self) -> Value {
        match self.0.as_slice() {
            [one] => json!(one),
            many => json!(many),
        }
    }

    fn kind() -> String {
        "a positive number, or a list with one per input modality".to_owned()
    }

    fn schema() -> Value {
        let positive = json!({ "exclusiveMinimum": 0 });
        let list = json!({ "type": "array", "items": all_of([f64::schema(), positive.clone()]), "minItems": 1 });
        any_of([all_of([f64::schema(), positive]), list])
    }
}

/// Reads the entries of a map, each by `read`; null is a map of none. `None` if the value is no
/// map.
pub(crate) fn by_name<T>(
    value: &Value,
    read: impl Fn((&String, &Value)) -> Result<(String, T), String>,
) -> Result<Option<IndexMap<String, T>>, String> {
    match value {
        Value::Null => Ok(Some(IndexMap::new())),
        Value::Object(entries) => entries.iter().map(read).collect::<Result<_, _>>().map(Some),
        _ => Ok(None),
    }
}

/// Numbers by task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskWeights(pub IndexMap<String, f64>);

impl RecipeValue for TaskWeights {
    fn read(value: &Value) -> Result<Self, String> {
        let entry = |(name, value): (&String, &Value)| match number(value) {
            Some(weight) if weight >= 0.0 => Ok((name.clone(), weight)),
            _ => Err(format!("`{name}`: {value} is no weight of at least 0")),
        };
        by_name(value, entry)?.ok_or_else(|| expected::<Self>(value)).map(Self)
    }

    fn write(&self) -> Value {
        json!(self.0)
    }

    fn kind() -> String {
        "a map from tasks to numbers".to_owned()
    }

    fn schema() -> Value {
        map_of(all_of([f64::schema(), json!({ "minimum": 0 })]))
    }
}
