//! The check of training labels before any training.

use multimae_data::labels::{LabelCounts, LabelRule, label_findings};
use multimae_data::{DataModality, Dataset, RawMap, Severity};

use crate::{Error, Result};

/// Labels are looked at in no more than this many training samples, spread evenly.
pub(crate) const LABELS_OF: usize = 1000;
/// The finding that `allow_missing_classes` makes a warning.
const MISSING: &str = "missing_classes";

/// The training samples whose labels were counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) samples: usize,
    /// There are more, in which a rare class may occur.
    pub(crate) more: bool,
}

/// Checks the labels of a modality, counted over training samples, and returns notices: the share
/// of ignored pixels, classes that never occur.
///
/// # Errors
/// If fewer than two classes are left, or, unless `allow_missing`, two or more of few never occur
/// in all of the samples.
pub(crate) fn check_labels(
    modality: &DataModality,
    counts: &LabelCounts,
    Counted { samples, more }: Counted,
    allow_missing: bool,
) -> Result<Vec<String>> {
    let Some(rule) = LabelRule::of(&modality.encoding) else { return Ok(Vec::new()) };
    let name = &modality.name;
    let mut notices = Vec::new();
    for found in label_findings(&rule, counts, &format!("modalities.{name}")) {
        let missing = found.code == MISSING;
        let text = format!("labels of {name} in {samples} training samples: {}", found.message);
        match found.severity {
            Severity::Error if missing && (allow_missing || more) => {
                notices.push(format!("warning: {text}"))
            }
            Severity::Error if missing => {
                let text =
                    format!("{text}; `--set allow_missing_classes=true` trains all the same");
                return Err(Error::Recipe(text));
            }
            Severity::Error => return Err(Error::Recipe(text)),
            Severity::Warning => notices.push(format!("warning: {text}")),
            Severity::Note => notices.push(text),
        }
    }
    Ok(notices)
}

/// Looks at the labels of training samples and checks them. `data` holds modalities of labels.
///
/// # Errors
/// As [`check_labels`]; if a sample is bad, unless `skips`.
pub(crate) fn label_notices(
    data: &Dataset,
    skips: bool,
    allow_missing: bool,
) -> Result<Vec<String>> {
    let mut counts = vec![LabelCounts::default(); data.modalities().len()];
    let mut samples = 0;
    let stride = data.len().div_ceil(LABELS_OF).max(1);
    for index in (0..data.len()).step_by(stride) {
        let raw = match data.decode(index) {
            Ok(raw) => raw,
            Err(error) if skips && error.is_bad_sample() => continue,
            Err(error) => return Err(error.into()),
        };
        samples += 1;
        for (modality, counts) in data.modalities().iter().zip(&mut counts) {
            if let Some(RawMap::Labels(labels)) = raw.maps.get(&modality.name) {
                counts.add_map(labels);
            }
        }
    }
    let mut notices = Vec::new();
    for (modality, counts) in data.modalities().iter().zip(&counts) {
        let counted = Counted { samples, more: stride > 1 };
        notices.extend(check_labels(modality, counts, counted, allow_missing)?);
    }
    Ok(notices)
}
