//! Class indices: the rule from stored values to labels, and the check of the labels that occur.
//!
//! Training, packs, evaluation and `doctor` all read and judge labels through this module.

mod findings;

pub(crate) use crate::modality::LabelKeys;
pub use crate::modality::{ClassMap, LabelRule, usual_void};
pub use findings::{FEW, LabelCounts, LabelFinding, label_findings};
