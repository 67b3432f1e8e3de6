//! The meaning of stored values: which of them are measurements, which of them is zero, what
//! mirroring does to them, and which channels and numbers a modality takes of its files.

mod flip;
mod part;
mod stored;
mod valid;

use serde::{Deserialize, Serialize};

use super::{DataModality, Encoding, Quantity};

pub use flip::{Flip, FlipRule};
pub(crate) use part::selected;
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
    /// The channels that are taken, in this order, of files that have more channels than the modality:
    /// `[0, 1]` for two values that are stored in a picture of three channels. Empty where files have
    /// the channels of the modality.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub select: Vec<usize>,
    /// The least and the greatest value, after the division; values beyond become these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clamp: Option<[f32; 2]>,
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
        let part = || part::problem(self, encoding);
        valid.or_else(stored).or_else(|| self.flip.problem(encoding)).or_else(part)
    }
}
