//! Masks: [`valid_label`] where something holds, 0 elsewhere.

use super::super::facts::FileFacts;
use super::super::part::ReadFolder;
use super::super::report::{Finding, Severity, Values};
use super::{those, those_with};
use crate::mask::valid_label;

pub(super) fn check(folder: &ReadFolder) -> (Values, Vec<Finding>) {
    let valid = |facts: &FileFacts| valid_label(facts.values.histogram.keys().copied());
    let pixels =
        |facts: &FileFacts| facts.values.histogram.get(&valid(facts)).copied().unwrap_or_default();
    let others = those_with(folder, |_, facts| {
        let mut others = facts.values.histogram.keys().filter(|&&v| v != 0 && v != valid(facts));
        others.next().map(|value| format!("{value} for one"))
    });
    let invalid = those(folder, |facts| pixels(facts) == 0);
    let (valid, count) = folder.good().fold((0, 0), |(valid, count), (_, facts)| {
        (valid + pixels(facts), count + facts.values.count)
    });
    let found = [
        Finding::about(
            Severity::Error,
            "mask_values",
            &folder.name,
            &others,
            "masks hold values other than 0 and 255, or 0 and 1; only 255 counts as valid, or 1 \
             where no value is greater",
        ),
        Finding::about(
            Severity::Warning,
            "nothing_valid",
            &folder.name,
            &invalid,
            "masks have no valid pixel",
        ),
    ];
    let valid = valid as f64 / count.max(1) as f64;
    (Values::Mask { valid }, found.into_iter().flatten().collect())
}
