//! The meaning of stored values: which of them are measurements, which of them is zero, and what
//! mirroring does to them.

mod flip;
mod stored;
mod valid;

use serde::{Deserialize, Serialize};

use super::{DataModality, Encoding, Quantity};

pub use flip::{Flip, FlipRule};
pub(crate) use stored::NumberRange;
pub use stored::Stored;
pub(crate) use valid::InvalidNumbers;
pub use valid::{Excepted, Saturated, Valid, ValidRule};

/// The meaning of a modality's stored values, beyond their conversion to numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ValueRules {
    /// The numbers that are measurements.
    #[serde(skip_serializing_if = "Valid::is_all")]
    pub valid: Valid,
    /// The stored number that stands for 0.
    #[serde(skip_serializing_if = "Stored::is_plain")]
    pub stored: Stored,
    /// The change of values where a frame is mirrored.
    #[serde(skip_serializing_if = "Flip::is_default")]
    pub flip: Flip,
}

impl ValueRules {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The problem with the rules for this encoding, if there is one.
    pub(crate) fn problem(&self, encoding: &Encoding) -> Option<String> {
        let valid = self.valid.problem(encoding);
        let stored = || self.stored.problem(encoding);
        valid.or_else(stored).or_else(|| self.flip.problem(encoding))
    }
}
