//! Samples that were left out.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A bad sample that was left out of its batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The id of the sample.
    pub id: String,
    /// The text of its error.
    pub problem: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text of the error names the sample.
        f.write_str(&self.problem)
    }
}
