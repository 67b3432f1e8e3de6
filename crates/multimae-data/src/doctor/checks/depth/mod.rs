//! Depth and its scale.

mod unit;

use self::unit::{Proposal, SURE, StoredDepth, alike, close};
use super::super::facts::{DepthFacts, FileFacts};
use super::super::hints::Hints;
use super::super::part::ReadFolder;
use super::super::report::{Finding, Severity, Values};
use super::super::{Options, facts::File};
use super::{those, those_with};

/// Median depths between which a room, or a street, may be: metres.
const PLAUSIBLE: (f64, f64) = (0.3, 12.0);
/// The default of training: millimetres.
const MILLIMETRES: f64 = 1000.0;
/// Saturated values whose distance to the next smaller one is a larger share than this are no end
/// of a range, but stand for unknown depth.
const GAP: f64 = 0.2;
/// The units that are proposed at most.
const PROPOSED: usize = 3;
/// A file whose median differs from that of the folder by more than this factor has another unit,
/// or shows something unusual.
const UNUSUAL: f64 = 5.0;
/// A larger share of invalid pixels is reported.
const MANY_HOLES: f64 = 0.5;

pub(super) fn check(
    folder: &ReadFolder,
    options: &Options,
    hints: &Hints,
) -> (Values, Vec<Finding>) {
    let mut found = stored_badly(folder);
    let Some(stored) = stored_depth(folder) else { return (super::range(folder), found) };
    let said = options.per_metre.or(hints.per_metre());
    let per_metre = said.unwrap_or_else(|| usual(folder));
    let seen = summary(folder, &stored, per_metre);
    found.extend(saturated(folder, &stored));
    let wrong = wrong_scale(folder, &stored, per_metre, options.per_metre.is_some());
    if wrong.is_none() {
        found.extend(doubtful_scale(folder, &stored, per_metre, said.is_some()));
        found.extend(other_than_training(folder, &stored, per_metre));
    }
    found.extend(wrong);
    found.extend(unusual_files(folder, stored.typical[1], per_metre));
    (seen, found)
}

/// The default unit: metres for reals, millimetres for whole numbers.
fn usual(folder: &ReadFolder) -> f64 {
    let reals = |facts: &FileFacts| facts.values.depth.is_some_and(|depth| !depth.whole);
    let reals = folder.good().filter(|(_, facts)| reals(facts));
    if 2 * reals.count() > folder.files.len() { 1.0 } else { MILLIMETRES }
}

fn median(facts: &FileFacts) -> Option<f64> {
    facts.values.depth.map(|depth| f64::from(depth.median))
}

/// Figures over all files; none if no depth is known.
fn stored_depth(folder: &ReadFolder) -> Option<StoredDepth> {
    let all: Vec<DepthFacts> = folder.good().filter_map(|(_, facts)| facts.values.depth).collect();
    let middle = |value: fn(&DepthFacts) -> f32| {
        let mut values: Vec<f32> = all.iter().map(value).collect();
        values.sort_unstable_by(f32::total_cmp);
        values.get(values.len() / 2).copied().map(f64::from)
    };
    let typical =
        [middle(|depth| depth.min)?, middle(|depth| depth.median)?, middle(|depth| depth.max)?];
    let (saturated, count) = folder.good().fold((0, 0), |(saturated, count), (_, facts)| {
        let own = facts.values.depth.map_or(0, |depth| depth.saturated);
        (saturated + own, count + facts.values.count)
    });
    let most = all.iter().map(|depth| f64::from(depth.max)).reduce(f64::max)?;
    let end = all.iter().map(|depth| f64::from(depth.end)).reduce(f64::max)?;
    let apart = most < (1.0 - GAP) * end;
    Some(StoredDepth {
        typical,
        whole: all.iter().all(|depth| depth.whole),
        multiples_of_8: all.iter().all(|depth| depth.multiples_of_8),
        saturated: if apart { saturated as f64 / count.max(1) as f64 } else { 0.0 },
        full_range: end > 0.0 && !apart,
    })
}

fn summary(folder: &ReadFolder, stored: &StoredDepth, per_metre: f64) -> Values {
    let depth = || folder.good().filter_map(|(_, facts)| facts.values.depth);
    let least = depth().map(|depth| f64::from(depth.min)).reduce(f64::min).unwrap_or_default();
    let known = depth().map(|depth| match stored.saturated > 0.0 || depth.saturated == 0 {
        true => f64::from(depth.max),
        false => f64::from(depth.end),
    });
    let most = known.reduce(f64::max).unwrap_or_default();
    let (zeros, count) = folder.good().fold((0, 0), |(zeros, count), (_, facts)| {
        (zeros + facts.values.zeros, count + facts.values.count)
    });
    Values::Depth {
        per_metre,
        min: least / per_metre,
        median: stored.typical[1] / per_metre,
        max: most / per_metre,
        holes: zeros as f64 / count.max(1) as f64 + stored.saturated,
    }
}

/// A value that stands for unknown depth.
fn saturated(folder: &ReadFolder, stored: &StoredDepth) -> Option<Finding> {
    let depth = || folder.good().filter_map(|(_, facts)| facts.values.depth);
    let end = depth().map(|depth| depth.end).reduce(f32::max)?;
    let next = depth().map(|depth| depth.max).reduce(f32::max)?;
    let message = format!(
        "{end}, the greatest value of the format, stands in {:.1} % of the pixels, far above all \
         others (up to {next}): it is taken for unknown depth",
        100.0 * stored.saturated
    );
    (stored.saturated > 0.0)
        .then(|| Finding::whole(Severity::Note, "saturated_depth", &folder.name, message))
}

/// Depth that no room has, in this unit, or that another unit fits beyond doubt. A unit that was
/// given by hand may be right anyway.
fn wrong_scale(
    folder: &ReadFolder,
    stored: &StoredDepth,
    per_metre: f64,
    by_hand: bool,
) -> Option<Finding> {
    let median = stored.typical[1] / per_metre;
    let best = *stored.proposals().first()?;
    let plausible = (PLAUSIBLE.0..=PLAUSIBLE.1).contains(&median);
    let behind = best.score - stored.score(per_metre, false);
    if plausible && (behind < SURE || close(best.per_metre, per_metre)) {
        return None;
    }
    let severity = if by_hand { Severity::Warning } else { Severity::Error };
    let doubt = if plausible { "another unit fits far better" } else { "which no room has" };
    let message = format!(
        "half of the depth lies beyond {median:.2} m if {per_metre} units are a metre, {doubt}; \
         {}; convert the files, or set `modalities.{}.divisor` to the units per metre",
        proposed(stored),
        folder.name
    );
    Some(Finding::whole(severity, "depth_scale", &folder.name, message))
}

/// A unit beside which another one fits as well, or better.
fn doubtful_scale(
    folder: &ReadFolder,
    stored: &StoredDepth,
    per_metre: f64,
    said: bool,
) -> Option<Finding> {
    let own = stored.score(per_metre, said);
    let rivals = stored.rivals(per_metre, said);
    let best = rivals.first()?;
    let severity = if best.score > own { Severity::Warning } else { Severity::Note };
    let named: Vec<String> = rivals.iter().take(PROPOSED).map(ToString::to_string).collect();
    let message = format!(
        "the unit is not certain: at {per_metre} per metre the median is {:.2} m and the maximum \
         {:.1} m; {} would fit a room {}: {}; look it up, and set `modalities.{}.divisor`",
        stored.typical[1] / per_metre,
        stored.typical[2] / per_metre,
        if rivals.len() == 1 { "another unit" } else { "other units" },
        if best.score > own { "better" } else { "too" },
        named.join("; "),
        folder.name
    );
    Some(Finding::whole(severity, "depth_unit", &folder.name, message))
}

/// A unit that is right, and not the one that training assumes.
fn other_than_training(
    folder: &ReadFolder,
    stored: &StoredDepth,
    per_metre: f64,
) -> Option<Finding> {
    let why = stored.marks_in_words(per_metre).map_or_else(String::new, |why| format!(" ({why})"));
    let message = format!(
        "the unit is taken to be {per_metre} per metre{why}; fine-tuning takes {MILLIMETRES} unless \
         `modalities.{}.divisor={per_metre}` is set",
        folder.name
    );
    (!alike(per_metre, MILLIMETRES))
        .then(|| Finding::whole(Severity::Note, "depth_divisor", &folder.name, message))
}

/// The units that fit, and how sure that is.
fn proposed(stored: &StoredDepth) -> String {
    let proposals = stored.proposals();
    let Some(best) = proposals.first() else { return String::new() };
    let rivals: Vec<&Proposal> = proposals
        .iter()
        .skip(1)
        .filter(|other| other.score > best.score - SURE)
        .take(PROPOSED - 1)
        .collect();
    let why = stored.marks_in_words(best.per_metre);
    let why = why.map_or_else(String::new, |why| format!(", as {why}"));
    if rivals.is_empty() {
        return format!("almost certainly {best}{why}");
    }
    let rivals: Vec<String> = rivals.iter().map(ToString::to_string).collect();
    format!("perhaps {best}{why}; or {}", rivals.join("; or "))
}

/// Files with another scale than the rest.
fn unusual_files(folder: &ReadFolder, typical: f64, per_metre: f64) -> Vec<Finding> {
    let plausible = |median: f64| (PLAUSIBLE.0..=PLAUSIBLE.1).contains(&(median / per_metre));
    let differs = |facts: &FileFacts| {
        let median = median(facts)?;
        let ratio = median / typical;
        (!(UNUSUAL.recip()..=UNUSUAL).contains(&ratio)).then_some(median)
    };
    let about = |_: &File, facts: &FileFacts, wanted: bool| {
        let median = differs(facts).filter(|&median| plausible(median) == wanted)?;
        let (usual, this) = (typical / per_metre, median / per_metre);
        Some(format!("a median of {this:.2} m, usually {usual:.2} m"))
    };
    let wrong = those_with(folder, |file, facts| about(file, facts, false));
    let odd = those_with(folder, |file, facts| about(file, facts, true));
    let both = [
        Finding::about(
            Severity::Error,
            "depth_scale_of_file",
            &folder.name,
            &wrong,
            "files have another scale than the rest, in another unit perhaps; convert them",
        ),
        Finding::about(
            Severity::Warning,
            "unusual_depth",
            &folder.name,
            &odd,
            "files are much nearer or farther than the rest; look whether their unit is the same",
        ),
    ];
    both.into_iter().flatten().collect()
}

fn stored_badly(folder: &ReadFolder) -> Vec<Finding> {
    let wrong = |facts: &FileFacts| facts.channels != 1 || facts.palette || facts.bits < 8;
    let empty = |facts: &FileFacts| facts.values.max <= 0.0;
    let holes = |facts: &FileFacts| facts.values.zeros as f64 / facts.values.count as f64;
    let about = |severity, code, things: &[String], message: &str| {
        Finding::about(severity, code, &folder.name, things, message)
    };
    let good = |is: &dyn Fn(&FileFacts) -> bool| those(folder, |facts| !wrong(facts) && is(facts));
    [
        about(
            Severity::Error,
            "not_depth",
            &those(folder, wrong),
            "files are not grey images of 8 or 16 bits; a coloured picture of depth is not depth",
        ),
        about(
            Severity::Warning,
            "depth_in_8_bits",
            &good(&|facts| facts.bits == 8),
            "depth in 8 bits has 256 steps at most; look for a copy with 16 bits",
        ),
        about(
            Severity::Error,
            "negative_depth",
            &good(&|facts| facts.values.min < 0.0),
            "files hold negative depth",
        ),
        about(
            Severity::Error,
            "no_depth",
            &good(&empty),
            "files have no depth at all, only invalid pixels (0); remove these samples",
        ),
        about(
            Severity::Warning,
            "constant",
            &good(&|facts| !empty(facts) && facts.is_constant()),
            "files have the same depth everywhere; look at them",
        ),
        about(
            Severity::Warning,
            "many_holes",
            &those_with(folder, |_, facts| {
                let many = !wrong(facts) && !empty(facts) && holes(facts) > MANY_HOLES;
                many.then(|| format!("{:.0} % invalid", 100.0 * holes(facts)))
            }),
            "more than half of the depth is unknown (0)",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}
