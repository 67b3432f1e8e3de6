//! Depth and its scale.

mod unit;

use self::unit::{Proposal, SURE, StoredDepth, alike, close, is_plausible_beside};
use super::super::facts::{DepthFacts, FileFacts};
use super::super::hints::Hints;
use super::super::part::ReadFolder;
use super::super::report::{Finding, Severity, Values};
use super::super::{Options, facts::File};
use super::{those, those_with};

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
    let by_hand = options.per_metre.is_some();
    let said = options.per_metre.or(hints.per_metre());
    let per_metre = said.unwrap_or_else(|| usual(folder, &stored));
    let seen = summary(folder, &stored, per_metre);
    found.extend(saturated(folder, &stored));
    let wrong = wrong_scale(folder, &stored, per_metre, by_hand);
    if wrong.is_none() {
        found.extend(doubtful_scale(folder, &stored, per_metre, said.is_some()));
        found.extend(other_than_training(folder, &stored, per_metre, by_hand));
    }
    found.extend(wrong);
    found.extend(unusual_files(folder, stored.typical[1], per_metre));
    (seen, found)
}

/// The files that may be depth.
fn maps(folder: &ReadFolder) -> impl Iterator<Item = (&File, &FileFacts)> {
    folder.good().filter(|(_, facts)| is_map(facts))
}

fn is_map(facts: &FileFacts) -> bool {
    facts.channels == 1 && !facts.palette && facts.bits >= 8
}

/// The figures of the files with valid pixels.
fn depths(folder: &ReadFolder) -> impl Iterator<Item = DepthFacts> {
    maps(folder).filter_map(|(_, facts)| facts.values.depth)
}

/// The share of the pixels of all files that `count` counts.
fn share(folder: &ReadFolder, count: impl Fn(&FileFacts) -> usize) -> f64 {
    let (counted, all) = maps(folder).fold((0, 0), |(counted, all), (_, facts)| {
        (counted + count(facts), all + facts.values.count)
    });
    counted as f64 / all.max(1) as f64
}

/// The default unit: millimetres for whole numbers; for reals metres, unless millimetres fit better.
fn usual(folder: &ReadFolder, stored: &StoredDepth) -> f64 {
    let reals = depths(folder).filter(|depth| !depth.whole).count();
    let metres = stored.score(1.0, false) >= stored.score(MILLIMETRES, false);
    if 2 * reals > folder.files.len() && metres { 1.0 } else { MILLIMETRES }
}

/// Figures over all files; none if no pixel is valid.
fn stored_depth(folder: &ReadFolder) -> Option<StoredDepth> {
    let all: Vec<DepthFacts> = depths(folder).collect();
    let middle = |quantile: usize| {
        let mut values: Vec<f32> = all.iter().map(|depth| depth.quantiles[quantile]).collect();
        values.sort_unstable_by(f32::total_cmp);
        values.get(values.len() / 2).copied().map(f64::from)
    };
    let typical = [middle(0)?, middle(1)?, middle(2)?];
    let far = all.iter().map(|depth| f64::from(depth.quantiles[2])).reduce(f64::max)?;
    let end = all.iter().map(|depth| f64::from(depth.end)).reduce(f64::max)?;
    let apart = far < (1.0 - GAP) * end;
    let saturated = share(folder, |facts| facts.values.depth.map_or(0, |depth| depth.saturated));
    Some(StoredDepth {
        typical,
        whole: all.iter().all(|depth| depth.whole),
        multiples_of_8: all.iter().all(|depth| depth.multiples_of_8),
        saturated: if apart { saturated } else { 0.0 },
        full_range: end > 0.0 && !apart && far <= end,
    })
}

fn summary(folder: &ReadFolder, stored: &StoredDepth, per_metre: f64) -> Values {
    let least = depths(folder).map(|depth| f64::from(depth.min)).reduce(f64::min);
    let most = depths(folder).map(|depth| f64::from(depth.max)).reduce(f64::max);
    Values::Depth {
        per_metre,
        min: least.unwrap_or_default() / per_metre,
        median: stored.typical[1] / per_metre,
        max: most.unwrap_or_default() / per_metre,
        holes: share(folder, |facts| facts.values.invalid),
    }
}

/// The largest value of the type, which training takes for unknown depth.
fn saturated(folder: &ReadFolder, stored: &StoredDepth) -> Option<Finding> {
    let end = depths(folder).map(|depth| depth.end).reduce(f32::max).filter(|end| *end > 0.0)?;
    let next = depths(folder).map(|depth| depth.max).reduce(f32::max)?;
    let pixels = share(folder, |facts| facts.values.depth.map_or(0, |depth| depth.saturated));
    let meaning = if stored.saturated > 0.0 {
        format!("far above all others (up to {next}): it is taken for unknown depth")
    } else {
        format!(
            "close to the others (up to {next}): training takes it for unknown depth; set \
             `modalities.{}.valid={{except: [0]}}` if it is a measurement",
            folder.name
        )
    };
    let message = format!(
        "{end}, the greatest value of the format, stands in {:.1} % of the pixels, {meaning}",
        100.0 * pixels
    );
    Some(Finding::whole(Severity::Note, "saturated_depth", &folder.name, message))
}

/// Depth that no scene has, in this unit, or that another unit fits beyond doubt. A unit that was
/// given by hand may be right anyway.
fn wrong_scale(
    folder: &ReadFolder,
    stored: &StoredDepth,
    per_metre: f64,
    by_hand: bool,
) -> Option<Finding> {
    let plausible = stored.is_plausible(per_metre);
    let fits = match stored.proposals().first() {
        Some(best) => {
            let behind = best.score - stored.score(per_metre, false);
            behind < SURE || close(best.per_metre, per_metre)
        }
        None => plausible,
    };
    if fits {
        return None;
    }
    let severity = if by_hand { Severity::Warning } else { Severity::Error };
    let doubt = if plausible { "another unit fits far better" } else { "which no scene has" };
    let message = format!(
        "half of the depth lies beyond {:.2} m if {per_metre} units are a metre, {doubt}; {}; \
         convert the files, or set `modalities.{}.divisor` to the units per metre",
        stored.typical[1] / per_metre,
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
    let others = if rivals.len() == 1 { "another unit fits" } else { "other units fit" };
    let message = format!(
        "the unit is not certain: at {per_metre} per metre the median is {:.2} m and the 99 % \
         quantile {:.1} m; {others} {}: {}; look it up, and set `modalities.{}.divisor`",
        stored.typical[1] / per_metre,
        stored.typical[2] / per_metre,
        if best.score > own { "better" } else { "nearly as well" },
        named.join("; "),
        folder.name
    );
    Some(Finding::whole(severity, "depth_unit", &folder.name, message))
}

/// A unit that is right, and not the one that training assumes: a note only if it is given by hand.
fn other_than_training(
    folder: &ReadFolder,
    stored: &StoredDepth,
    per_metre: f64,
    by_hand: bool,
) -> Option<Finding> {
    let why = stored.marks_in_words(per_metre).map_or_else(String::new, |why| format!(" ({why})"));
    let message = format!(
        "the unit is taken to be {per_metre} per metre{why}, and fine-tuning divides by \
         {MILLIMETRES} unless a recipe says otherwise: set `modalities.{}.divisor={per_metre}`",
        folder.name
    );
    let severity = if by_hand { Severity::Note } else { Severity::Warning };
    (!alike(per_metre, MILLIMETRES))
        .then(|| Finding::whole(severity, "depth_divisor", &folder.name, message))
}

/// The units that fit, and how sure that is.
fn proposed(stored: &StoredDepth) -> String {
    let proposals = stored.proposals();
    let Some(best) = proposals.first() else { return "no unit in use fits".to_owned() };
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
    let plausible = |median: f64| is_plausible_beside(median / per_metre, typical / per_metre);
    let differs = |facts: &FileFacts| {
        let median = f64::from(facts.values.depth.filter(|_| is_map(facts))?.quantiles[1]);
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
    let empty = |facts: &FileFacts| facts.values.depth.is_none();
    let holes = |facts: &FileFacts| facts.values.invalid as f64 / facts.values.count as f64;
    // Negative numbers are depth to training, or invalid.
    let valid = |facts: &FileFacts| facts.values.depth.is_some_and(|depth| depth.min < 0.0);
    let negative = |facts: &FileFacts| facts.values.min < 0.0;
    let about = |severity, code, things: &[String], message: &str| {
        Finding::about(severity, code, &folder.name, things, message)
    };
    let good = |is: &dyn Fn(&FileFacts) -> bool| those(folder, |facts| is_map(facts) && is(facts));
    [
        about(
            Severity::Error,
            "not_depth",
            &those(folder, |facts| !is_map(facts)),
            "files are not grey images of 8 or 16 bits; a coloured picture of depth is not depth",
        ),
        about(
            Severity::Warning,
            "depth_in_8_bits",
            &good(&|facts| facts.bits == 8),
            "depth in 8 bits has 256 steps at most; look for a copy with 16 bits",
        ),
        about(Severity::Error, "negative_depth", &good(&valid), "files hold negative depth"),
        about(
            Severity::Warning,
            "negative_invalid",
            &good(&|facts| negative(facts) && !valid(facts)),
            "files hold negative numbers, which training takes for invalid pixels; look whether \
             they mark unknown depth",
        ),
        about(
            Severity::Error,
            "no_depth",
            &good(&empty),
            "files have no depth at all, only pixels that are invalid to training (0, the largest \
             value of the type, NaN); remove these samples, or set `valid` of the modality",
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
                let many = is_map(facts) && !empty(facts) && holes(facts) > MANY_HOLES;
                many.then(|| format!("{:.0} % invalid", 100.0 * holes(facts)))
            }),
            "files have more invalid pixels than valid ones",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}
