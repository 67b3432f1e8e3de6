//! Masks: 255 where something holds, 0 elsewhere.

use super::super::facts::FileFacts;
use super::super::part::ReadFolder;
use super::super::report::{Finding, Severity, Values};
use super::{those, those_with};

const VALID: i64 = 255;

pub(super) fn check(folder: &ReadFolder) -> (Values, Vec<Finding>) {
    let pixels = |facts: &FileFacts, label: i64| {
        facts.values.histogram.get(&label).copied().unwrap_or_default()
    };
    let others = those_with(folder, |_, facts| {
        let mut others = facts.values.histogram.keys().filter(|&&v| v != 0 && v != VALID);
        others.next().map(|value| format!("{value} for one"))
    });
    let invalid = those(folder, |facts| pixels(facts, VALID) == 0);
    let (valid, count) = folder.good().fold((0, 0), |(valid, count), (_, facts)| {
        (valid + pixels(facts, VALID), count + facts.values.count)
    });
    let found = [
        Finding::about(
            Severity::Error,
            "mask_values",
            &folder.name,
            &others,
            "masks hold values other than 0 and 255; only 255 counts as valid",
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
