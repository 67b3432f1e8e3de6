//! Class indices.

use std::collections::BTreeMap;

use super::super::Options;
use super::super::facts::FileFacts;
use super::super::hints::Hints;
use super::super::part::ReadFolder;
use super::super::report::{Finding, LabelShare, Severity, Values};
use super::{those, those_with};
use crate::decode::FileFormat;
use crate::labels::{
    FEW, LabelCounts, LabelFinding, LabelKeys, LabelRule, label_findings, usual_void,
};

/// The usual label of pixels to ignore.
const IGNORED: i64 = 255;
/// Beyond any number of classes in use, the greatest label is only a limit.
const MOST_CLASSES: i64 = 1024;

pub(super) fn check(
    folder: &ReadFolder,
    options: &Options,
    hints: &Hints,
) -> (Values, Vec<Finding>) {
    let names = hints.names(&folder.name);
    let most = options
        .max_label
        .or_else(|| names.and_then(|names| names.keys().next_back().copied()))
        .or_else(|| number_in(&folder.name));
    let shares = shares(folder, names);
    let conventions = Conventions::of(&shares, options.ignore, most);
    let greatest = most.or(conventions.greatest);
    let mut found = stored_badly(folder);
    found.extend(greatest.and_then(|greatest| outside(folder, greatest, conventions.void)));
    if most.is_none() {
        found.extend(unknown_count(folder, &conventions));
    }
    found.extend(judged(folder, options, most, &shares, &conventions));
    found.extend(most.and_then(|most| absent(folder, &shares, most, names)));
    (Values::Labels(shares), found)
}

/// The findings by the values that occur: the keys to set, and what training would object to.
fn judged(
    folder: &ReadFolder,
    options: &Options,
    most: Option<i64>,
    shares: &[LabelShare],
    conventions: &Conventions,
) -> Vec<Finding> {
    let void = conventions.void;
    let greatest = most.or(conventions.greatest).unwrap_or_default();
    let mut found = by_rule(folder, most, greatest, void);
    if options.ignore.is_some() {
        found.retain(|found| found.code != "class_255");
    }
    let is_bad = found.iter().any(|found| found.severity == Severity::Error);
    // Not what may be a class.
    if !conventions.values.contains(&void) && found.iter().all(|f| f.code != "mask_of_255") {
        found.extend(void_value(folder, shares, void, options.ignore.is_some()));
    }
    if is_bad {
        return found;
    }
    if let Some(listed) = listed(folder, &conventions.values) {
        found.retain(|found| found.code == "largest_void" || found.code == "negative_void");
        found.push(listed);
    } else {
        found.extend(void_only(folder, void));
        found.extend(void_twice(folder, shares, most));
    }
    found
}

/// The conventions that the labels seem to follow.
struct Conventions {
    /// The greatest class.
    greatest: Option<i64>,
    /// The value of pixels without a label.
    void: i64,
    /// The classes, if they are few and far apart.
    values: Vec<i64>,
}

impl Conventions {
    fn of(shares: &[LabelShare], ignore: Option<i64>, most: Option<i64>) -> Self {
        let labels = || shares.iter().map(|share| share.label).filter(|&l| ignore != Some(l));
        let keys = LabelKeys::of(&labels().collect(), most);
        let is_class = |label: &i64| *label != IGNORED && Some(*label) != keys.ignore;
        let greatest = labels().filter(is_class).max();
        let void = ignore.or(keys.ignore).unwrap_or_else(|| {
            let most =
                most.or(greatest).and_then(|most| usize::try_from(most.saturating_add(1)).ok());
            usual_void(most, 0, &[])
        });
        Self { greatest, void, values: keys.values }
    }
}

/// A value that seems to mark pixels without a label. Fine-tuning ignores 255 anyway, and who gives
/// it by hand knows it.
fn void_value(
    folder: &ReadFolder,
    shares: &[LabelShare],
    void: i64,
    by_hand: bool,
) -> Option<Finding> {
    let share = shares.iter().find(|share| share.label == void && !(0..IGNORED).contains(&void))?;
    let what = match void {
        ..0 => format!("{void} marks"),
        _ => format!("{void}, the largest value of a type, seems to mark"),
    };
    let message = format!(
        "{what} pixels without a label in {} files, {:.1} % of all pixels; set \
         `modalities.{}.ignore={void}` in the recipe",
        share.files,
        100.0 * share.pixels,
        folder.name
    );
    let severity = if by_hand || void == IGNORED { Severity::Note } else { Severity::Warning };
    let code = if void < 0 { "negative_void" } else { "largest_void" };
    Some(Finding::whole(severity, code, &folder.name, message))
}

/// Few values that are far apart, as the classes of a mask are.
fn listed(folder: &ReadFolder, values: &[i64]) -> Option<Finding> {
    let last = values.last()?;
    let message = format!(
        "{} values occur, far apart; set `modalities.{}.values={values:?}` and {0} classes if they \
         are the classes, or `ignore={last}` if {last} marks pixels without a label",
        values.len(),
        folder.name
    );
    Some(Finding::whole(Severity::Warning, "values_apart", &folder.name, message))
}

/// The findings of the rule by which training checks its labels. Where the number of classes is
/// only inferred from the greatest label, missing classes are no error.
fn by_rule(folder: &ReadFolder, most: Option<i64>, greatest: i64, void: i64) -> Vec<Finding> {
    let pixels = || {
        let indices = folder.good().filter(|(_, facts)| is_index(facts));
        indices.flat_map(|(_, facts)| facts.values.histogram.iter())
    };
    let Ok(classes) = usize::try_from(greatest.clamp(0, MOST_CLASSES) + 1) else {
        return Vec::new();
    };
    // 0 may mean void: if it never occurs, nothing is missing.
    let rule = if greatest > 0 && pixels().all(|(&label, _)| label != 0) {
        LabelRule::new(classes - 1, Some(void), -1)
    } else {
        LabelRule::new(classes, Some(void), 0)
    };
    let mut counts = LabelCounts::default();
    for (&stored, &pixels) in pixels() {
        if let Some(label) = rule.label(stored) {
            counts.add(label, pixels);
        }
    }
    if counts.total() == 0 || greatest > MOST_CLASSES {
        return Vec::new();
    }
    let key = format!("modalities.{}", folder.name);
    let severity = |found: &LabelFinding| match found.code {
        // The notes of doctor say it with the names of the classes.
        "missing_classes" if found.severity < Severity::Error && classes > FEW => Severity::Note,
        "missing_classes" | "one_class" | "no_labels" if most.is_none() => {
            found.severity.min(Severity::Warning)
        }
        _ => found.severity,
    };
    label_findings(&rule, &counts, &key)
        .into_iter()
        .map(|found| (severity(&found), found))
        .filter(|(severity, _)| *severity > Severity::Note)
        .map(|(severity, found)| Finding::whole(severity, found.code, &folder.name, found.message))
        .collect()
}

/// The number of classes in a name like `label40`.
fn number_in(name: &str) -> Option<i64> {
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().ok().filter(|&number| number > 0)
}

fn is_index(facts: &FileFacts) -> bool {
    facts.channels == 1 && facts.format != FileFormat::Jpeg
}

fn shares(folder: &ReadFolder, names: Option<&BTreeMap<i64, String>>) -> Vec<LabelShare> {
    let mut counts = BTreeMap::<i64, (u64, usize)>::new();
    for (_, facts) in folder.good().filter(|(_, facts)| is_index(facts)) {
        for (&label, &pixels) in &facts.values.histogram {
            let count = counts.entry(label).or_default();
            *count = (count.0 + pixels, count.1 + 1);
        }
    }
    let total = counts.values().map(|(pixels, _)| pixels).sum::<u64>().max(1) as f64;
    let share = |(label, (pixels, files)): (i64, (u64, usize))| LabelShare {
        label,
        name: names.and_then(|names| names.get(&label)).cloned(),
        pixels: pixels as f64 / total,
        files,
    };
    counts.into_iter().map(share).collect()
}

fn stored_badly(folder: &ReadFolder) -> Vec<Finding> {
    let jpeg = those(folder, |facts| facts.format == FileFormat::Jpeg);
    let colour = those(folder, |facts| facts.channels != 1 && facts.format != FileFormat::Jpeg);
    let about = |code, things: &[String], message: &str| {
        Finding::about(Severity::Error, code, &folder.name, things, message)
    };
    [
        about("labels_as_jpeg", &jpeg, "jpeg does not keep labels exactly; find the originals"),
        about(
            "not_labels",
            &colour,
            "files have several channels; if their colours stand for classes, give training a map, \
             `classes: {map: FILE}`, otherwise convert them",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn outside(folder: &ReadFolder, most: i64, void: i64) -> Option<Finding> {
    let bad = |label: i64| !(0..=most).contains(&label) && label != void;
    let files = those_with(folder, |_, facts| {
        let histogram = facts.values.histogram.iter().filter(|_| is_index(facts));
        let outside = histogram.filter(|(label, _)| bad(**label));
        let outside: Vec<String> =
            outside.take(4).map(|(label, pixels)| format!("{label}: {pixels} pixels")).collect();
        (!outside.is_empty()).then(|| outside.join(", "))
    });
    Finding::about(
        Severity::Error,
        "label_out_of_range",
        &folder.name,
        &files,
        format!("files hold labels beyond 0 to {most} (and {void}, to ignore)"),
    )
}

fn unknown_count(folder: &ReadFolder, conventions: &Conventions) -> Option<Finding> {
    let greatest = conventions.greatest?;
    let (severity, further) = match greatest > MOST_CLASSES && conventions.values.is_empty() {
        true => (
            Severity::Warning,
            "; a class of that number is unusual: if it is none, correct the files or set \
             `classes`, `ignore` or `values` of the modality",
        ),
        false => (Severity::Note, ""),
    };
    let message = format!(
        "the number of classes is not known, so their range was not checked; the greatest label is \
         {greatest}{further}"
    );
    Some(Finding::whole(severity, "classes_unknown", &folder.name, message))
}

fn void_only(folder: &ReadFolder, void: i64) -> Option<Finding> {
    let only = |facts: &FileFacts| facts.values.histogram.keys().all(|&l| l == 0 || l == void);
    Finding::about(
        Severity::Warning,
        "void_only",
        &folder.name,
        &those(folder, |facts| is_index(facts) && only(facts)),
        format!("files have no label but 0 or {void}, which usually mean void"),
    )
}

/// Two ways to mark void at once, or labels that seem to count from 0.
fn void_twice(folder: &ReadFolder, shares: &[LabelShare], most: Option<i64>) -> Vec<Finding> {
    let has = |label| shares.iter().any(|share| share.label == label);
    let mut found = Vec::new();
    if has(0) && has(IGNORED) {
        let shifted = most.is_some_and(|most| most != IGNORED && !has(most));
        let message = if shifted {
            "255 marks void, and the greatest class never occurs: the labels seem to be shifted by \
             one, with 0 for the first class"
        } else {
            "both 0 and 255 occur; check which of them is void"
        };
        let severity = if shifted { Severity::Warning } else { Severity::Note };
        found.push(Finding::whole(severity, "void_label", &folder.name, message));
    }
    found
}

fn absent(
    folder: &ReadFolder,
    shares: &[LabelShare],
    most: i64,
    names: Option<&BTreeMap<i64, String>>,
) -> Option<Finding> {
    let has = |label: &i64| shares.iter().any(|share| share.label == *label);
    let named = |label: i64| match names.and_then(|names| names.get(&label)) {
        Some(name) => format!("{label} {name}"),
        None => label.to_string(),
    };
    let absent = (1..=most.min(MOST_CLASSES)).filter(|label| !has(label)).map(named);
    Finding::about(
        Severity::Note,
        "absent_labels",
        &folder.name,
        &absent.collect::<Vec<String>>(),
        "labels never occur",
    )
}
