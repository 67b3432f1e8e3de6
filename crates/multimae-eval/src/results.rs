//! The scores of an evaluation with what they mean.

use indexmap::IndexMap;
use multimae_report::Table;
use multimae_tasks::{Outcome, Protocol};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

/// The scores of one protocol and what they mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The protocol.
    pub protocol: Protocol,
    /// The task that was scored.
    pub task: String,
    /// The protocol on this data with this model, in words.
    pub statement: IndexMap<String, String>,
    /// The scores.
    pub outcome: Outcome,
}

impl Serialize for Evaluation {
    /// `protocol`, `task`, `statement`, `scores`, and all details under the key of the rules.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("protocol", &self.protocol)?;
        map.serialize_entry("task", &self.task)?;
        map.serialize_entry("statement", &self.statement)?;
        map.serialize_entry("scores", &self.outcome.scores)?;
        map.serialize_entry(self.protocol.rules.key(), &self.outcome.details)?;
        map.end()
    }
}

impl Evaluation {
    /// The scores of the set.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.outcome.table
    }

    /// The scores of the classes, a table per label set; none for tasks without classes.
    #[must_use]
    pub fn class_tables(&self) -> &[(String, Table)] {
        &self.outcome.class_tables
    }

    /// Statement and tables as Markdown. The classes' scores too if `classes`.
    #[must_use]
    pub fn markdown(&self, classes: bool) -> String {
        let width = self.statement.keys().map(String::len).max().unwrap_or(0);
        let lines = self.statement.iter().map(|(key, value)| format!("{key:<width$}  {value}\n"));
        let mut text =
            format!("```\n{}```\n\n{}", lines.collect::<String>(), self.table().markdown());
        for (title, table) in self.class_tables().iter().filter(|_| classes) {
            text.push_str(&format!("\n{title}\n\n{}", table.markdown()));
        }
        text
    }
}
