//! A task inside a saved model.

use std::sync::Arc;

use multimae_data::DataModality;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::{Task, from_json, to_json};

/// A task of a saved model, and how its annotations are stored.
///
/// As JSON: `{"kind": {"kind": "depth", ...}, "target": ...}`.
#[derive(Debug, Clone)]
pub struct TaskCard {
    /// The task.
    pub task: Arc<dyn Task>,
    /// The storage of its annotations; none for classes, which are folders.
    pub target: Option<DataModality>,
}

impl TaskCard {
    /// A task whose annotations are stored in a known way, or not stored.
    pub fn new(task: impl Task + 'static, target: Option<DataModality>) -> Self {
        Self { task: Arc::new(task), target }
    }
}

impl PartialEq for TaskCard {
    fn eq(&self, other: &Self) -> bool {
        to_json(&*self.task) == to_json(&*other.task) && self.target == other.target
    }
}

impl Serialize for TaskCard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let target = serde_json::to_value(&self.target).map_err(S::Error::custom)?;
        json!({"kind": to_json(&*self.task), "target": target}).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TaskCard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            kind: Value,
            target: Option<DataModality>,
        }
        let Fields { kind, target } = Fields::deserialize(deserializer)?;
        let task = from_json(kind).map_err(D::Error::custom)?;
        Ok(Self { task, target })
    }
}
