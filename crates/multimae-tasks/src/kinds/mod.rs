//! The kinds of tasks, a module each, and their registry.

pub mod classes;
mod common;
pub mod depth;
pub mod labels;
pub mod normals;
pub mod values;

use std::sync::Arc;

use multimae_config::{TaskModality, unknown_of};
use multimae_data::Encoding;
use serde_json::{Map, Value};

use crate::{Error, Protocol, Result, Task, TaskKind};

/// All kinds. A further one is a module here and a line in this list.
static KINDS: [TaskKind; 5] =
    [depth::KIND, labels::KIND, values::KIND, normals::KIND, classes::KIND];

/// All kinds.
#[must_use]
pub fn kinds() -> &'static [TaskKind] {
    &KINDS
}

/// A kind by name.
///
/// # Errors
/// If there is none; the nearest name is suggested.
pub fn kind(name: &str) -> Result<&'static TaskKind, String> {
    KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        format!("{}; there are {}", unknown_of("kind of task", name, &names), names.join(", "))
    })
}

/// The kind of task that predicts a modality: the one that its entry names, else labels for class
/// ids and values for numbers. Without a modality, classes of images.
///
/// # Errors
/// If the entry names no kind, or nothing predicts such a modality.
pub fn kind_of(task: &str, modality: Option<&TaskModality>) -> Result<&'static TaskKind> {
    let Some(modality) = modality else { return Ok(&classes::KIND) };
    match (&modality.task, &modality.data.encoding) {
        (Some(name), _) => kind(name).map_err(|problem| Error::task(task, problem)),
        (None, Encoding::Labels { .. }) => Ok(&labels::KIND),
        (None, Encoding::Continuous { .. }) => Ok(&values::KIND),
        (None, Encoding::Color { .. }) => {
            Err(Error::task(task, "colours are no task of fine-tuning"))
        }
    }
}

/// A task as JSON, tagged with its kind.
#[must_use]
pub fn to_json(task: &dyn Task) -> Value {
    let mut tagged = Map::new();
    tagged.insert("kind".to_owned(), task.kind().into());
    if let Value::Object(fields) = task.fields() {
        tagged.extend(fields);
    }
    Value::Object(tagged)
}

/// Reads a task from JSON that is tagged with its kind.
///
/// # Errors
/// If the kind is not known or the fields are not those of the kind.
pub fn from_json(mut tagged: Value) -> Result<Arc<dyn Task>, String> {
    let name = tagged.as_object_mut().and_then(|fields| fields.shift_remove("kind"));
    let name = name.as_ref().and_then(Value::as_str).ok_or("a task without its `kind`")?;
    let kind = kind(name)?;
    (kind.read)(tagged).map_err(|problem| format!("task of kind `{name}`: {problem}"))
}

/// The name of all published protocols together.
const PUBLISHED: &str = "reference-compatible";
/// The prefix of the names of published protocols.
const REFERENCE: &str = "reference-";

impl Protocol {
    /// The names that [`Self::named`] knows, each with a line on it.
    #[must_use]
    pub fn names() -> Vec<(String, String)> {
        let own = kinds().iter().flat_map(|kind| (kind.protocols)());
        let mut names: Vec<(String, String)> =
            own.map(|(protocol, about)| (protocol.name, about.to_owned())).collect();
        names.push((PUBLISHED.to_owned(), format!("the `{REFERENCE}` protocols together")));
        names
    }

    /// The protocols of a name.
    ///
    /// # Errors
    /// If the name is not known; the message lists those that are.
    pub fn named(name: &str) -> Result<Vec<Self>> {
        let wanted = |protocol: &Self| match name {
            PUBLISHED => protocol.name.starts_with(REFERENCE),
            _ => protocol.name == name,
        };
        let all = kinds().iter().flat_map(|kind| (kind.protocols)());
        let found: Vec<Self> = all.map(|(protocol, _)| protocol).filter(wanted).collect();
        if found.is_empty() {
            let line = |(name, about): &(String, String)| format!("  {name}: {about}");
            let lines: Vec<String> = Self::names().iter().map(line).collect();
            return Err(Error::Evaluation(format!(
                "no protocol `{name}`; there are\n{}",
                lines.join("\n")
            )));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_protocols() {
        for (name, _) in Protocol::names() {
            let protocols = Protocol::named(&name).unwrap();
            assert_eq!(protocols.len(), if name == PUBLISHED { 2 } else { 1 }, "{name}");
            if name != PUBLISHED {
                assert_eq!(protocols[0].name, name);
            }
        }
        let error = Protocol::named("nyu").unwrap_err().to_string();
        assert!(error.contains("`nyu`") && error.contains("nyuv2-depth"), "{error}");
    }
}
