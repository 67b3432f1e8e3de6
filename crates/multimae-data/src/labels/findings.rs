//! The check of the labels that occur in a set.

use std::collections::BTreeMap;

use crate::modality::LabelRule;
use crate::severity::Severity;

/// The most classes of which two or more that never occur are an error.
pub const FEW: usize = 10;
/// A larger share of ignored pixels is a warning.
const MOSTLY_IGNORED: f64 = 0.9;
/// The classes that a message lists.
const LISTED: usize = 12;
/// The values of a mask of 8 bits.
const MASK: [i64; 2] = [0, 255];

/// The number of pixels of every label.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelCounts(BTreeMap<i64, u64>);

impl LabelCounts {
    /// Counts the pixels of a map.
    pub fn add_map(&mut self, labels: &[i64]) {
        for run in labels.chunk_by(|a, b| a == b) {
            self.add(run[0], run.len() as u64);
        }
    }

    /// Counts pixels of one label.
    pub fn add(&mut self, label: i64, pixels: u64) {
        *self.0.entry(label).or_default() += pixels;
    }

    /// Returns the number of pixels of a label.
    #[must_use]
    pub fn pixels(&self, label: i64) -> u64 {
        self.0.get(&label).copied().unwrap_or_default()
    }

    /// Returns the number of pixels of all labels.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The labels that occur, in rising order.
    fn labels(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.iter().filter(|(_, pixels)| **pixels > 0).map(|(label, _)| *label)
    }
}

/// One fact about the labels of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelFinding {
    /// The severity.
    pub severity: Severity,
    /// A name for programs, for example `missing_classes`.
    pub code: &'static str,
    /// The fact, and the key to set.
    pub message: String,
}

/// Judges the labels of a set, counted after the rule. `key` is where recipes describe the
/// modality, for example `modalities.semseg`. The share of ignored pixels comes first.
#[must_use]
pub fn label_findings(rule: &LabelRule, counts: &LabelCounts, key: &str) -> Vec<LabelFinding> {
    let mut found = vec![ignored_share(rule, counts, key)];
    found.extend(class_255(rule, counts, key));
    found.extend(mask_of_255(rule, counts, key).or_else(|| missing(rule, counts, key)));
    found
}

fn finding(severity: Severity, code: &'static str, message: String) -> LabelFinding {
    LabelFinding { severity, code, message }
}

fn ignored_share(rule: &LabelRule, counts: &LabelCounts, key: &str) -> LabelFinding {
    let ignored = rule.void().map_or(0, |void| counts.pixels(void));
    let share = ignored as f64 / counts.total().max(1) as f64;
    let which = match rule.ignored_value() {
        _ if rule.is_mapped() => format!("by the map in `{key}.classes`"),
        Some(value) => format!("`{key}.ignore` is {value}"),
        None => format!("`{key}.ignore` is not set"),
    };
    let severity = if share > MOSTLY_IGNORED { Severity::Warning } else { Severity::Note };
    let message = format!("{:.1} % of the pixels are ignored ({which})", 100.0 * share);
    finding(severity, "ignored_pixels", message)
}

/// 255 as one class of more than 255.
fn class_255(rule: &LabelRule, counts: &LabelCounts, key: &str) -> Option<LabelFinding> {
    let label = rule.label(MASK[1]).filter(|_| !rule.is_mapped())?;
    // Few classes have it only if their `values` list it.
    let few = rule.classes().nth(MASK[1] as usize - 1).is_none();
    if Some(label) == rule.void() || few || counts.pixels(label) == 0 {
        return None;
    }
    let message = format!(
        "255 occurs and is one of the classes; set `{key}.ignore=255` if it marks pixels without a \
         label"
    );
    Some(finding(Severity::Warning, "class_255", message))
}

/// Two classes stored as 0 and 255, of which the second is ignored.
fn mask_of_255(rule: &LabelRule, counts: &LabelCounts, key: &str) -> Option<LabelFinding> {
    let stored: Vec<i64> = counts.labels().map(|label| rule.stored(label)).collect();
    if stored != MASK || rule.ignored_value() != Some(MASK[1]) {
        return None;
    }
    let message = format!(
        "0 and 255 are the only values, as in a mask of two classes, but 255 is ignored, so that \
         one class is left; set `{key}.values=[0, 255]` and two classes if 255 is a class, or \
         correct the files"
    );
    Some(finding(Severity::Error, "mask_of_255", message))
}

/// Classes that never occur.
fn missing(rule: &LabelRule, counts: &LabelCounts, key: &str) -> Option<LabelFinding> {
    let classes = rule.classes().count();
    let missing: Vec<i64> = rule.classes().filter(|&class| counts.pixels(class) == 0).collect();
    let stored = |labels: &[i64]| {
        let all = labels.iter().map(|&label| rule.stored(label).to_string());
        let mut listed: Vec<String> = all.take(LISTED).collect();
        if labels.len() > LISTED {
            listed.push(format!("and {} more", labels.len() - LISTED));
        }
        listed.join(", ")
    };
    let remedy = format!("`{key}.classes`, `ignore`, `offset` and `values`");
    match classes - missing.len() {
        _ if missing.is_empty() => None,
        0 => {
            let message = format!("no pixel has a label: all are ignored; look at {remedy}");
            Some(finding(Severity::Error, "no_labels", message))
        }
        1 => {
            let only = rule.classes().find(|class| !missing.contains(class)).unwrap_or_default();
            let message = format!(
                "{} is the only one of {classes} classes that occurs, and a model would know that \
                 one alone; look at {remedy}",
                rule.stored(only)
            );
            Some(finding(Severity::Error, "one_class", message))
        }
        _ => {
            let stop = missing.len() > 1 && classes <= FEW;
            let severity = if stop { Severity::Error } else { Severity::Warning };
            let message = format!(
                "{} of {classes} classes never occur ({}); look at {remedy}",
                missing.len(),
                stored(&missing)
            );
            Some(finding(severity, "missing_classes", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(rule: &LabelRule, labels: &[i64]) -> Vec<(Severity, &'static str)> {
        let mut counts = LabelCounts::default();
        counts.add_map(labels);
        let found = label_findings(rule, &counts, "modalities.semseg");
        found.iter().map(|finding| (finding.severity, finding.code)).collect()
    }

    const SHARE: (Severity, &str) = (Severity::Note, "ignored_pixels");

    #[test]
    fn a_mask_of_0_and_255_is_never_one_class() {
        let mask = (Severity::Error, "mask_of_255");
        for classes in [2, 40] {
            assert_eq!(judged(&LabelRule::new(classes, Some(255), 0), &[0, 255, 0]), [SHARE, mask]);
        }
        // A third value, or another label that is ignored, and it is none.
        assert_eq!(judged(&LabelRule::new(2, Some(255), 0), &[0, 255, 1]), [SHARE]);
        let constant = judged(&LabelRule::new(2, Some(255), 0), &[0, 0]);
        assert_eq!(constant, [SHARE, (Severity::Error, "one_class")]);
    }

    #[test]
    fn classes_that_never_occur_are_reported_by_how_few_there_are() {
        let code = "missing_classes";
        let rule = |classes| LabelRule::new(classes, Some(255), 0);
        assert_eq!(judged(&rule(3), &[0, 1, 2]), [SHARE]);
        assert_eq!(judged(&rule(4), &[0, 1, 2]), [SHARE, (Severity::Warning, code)]);
        assert_eq!(judged(&rule(5), &[0, 1, 2]), [SHARE, (Severity::Error, code)]);
        assert_eq!(judged(&rule(FEW + 1), &[0, 1, 2]), [SHARE, (Severity::Warning, code)]);
        assert_eq!(
            judged(&rule(3), &[255; 9]),
            [(Severity::Warning, SHARE.1), (Severity::Error, "no_labels")]
        );
    }

    #[test]
    fn an_ignored_class_is_not_missing() {
        assert_eq!(judged(&LabelRule::new(3, Some(0), 0), &[1, 2]), [SHARE]);
    }

    #[test]
    fn class_255_of_many_is_mentioned() {
        let rule = |ignore| LabelRule::new(300, ignore, 0);
        let labels: Vec<i64> = (0..300).collect();
        let found = judged(&rule(Some(-1)), &labels);
        assert_eq!(found, [SHARE, (Severity::Warning, "class_255")]);
        let void = judged(&rule(Some(255)), &labels);
        assert_eq!(void, [SHARE]);
    }

    #[test]
    fn the_share_of_ignored_pixels_is_stated() {
        let mut counts = LabelCounts::default();
        counts.add_map(&[-1, 0, 1, 1]);
        let found = label_findings(&LabelRule::new(2, Some(-1), 0), &counts, "modalities.s");
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].message,
            "25.0 % of the pixels are ignored (`modalities.s.ignore` is -1)"
        );
    }
}
