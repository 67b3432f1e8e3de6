//! Depth and its scale.

use super::super::facts::FileFacts;
use super::super::hints::Hints;
use super::super::part::ReadFolder;
use super::super::report::{Finding, Severity, Values};
use super::super::{Options, facts::File};
use super::{those, those_with};
use crate::decode::FileFormat;

/// Units in use, per metre, and who uses them.
const UNITS: [(f64, &str); 6] = [
    (1000.0, "millimetres"),
    (6553.6, "1/6553.6 m, as MultiMAE's preparation of NYUv2 writes"),
    (5000.0, "1/5000 m, as TUM RGB-D has"),
    (512.0, "1/512 m, as Omnidata's pseudo labels have"),
    (256.0, "1/256 m, as KITTI has"),
    (1.0, "metres"),
];

/// Median depths between which a room, or a street, may be: metres.
const PLAUSIBLE: (f64, f64) = (0.3, 12.0);
/// The plausible range of a proposed unit: median and greatest depth of a room, metres.
const TYPICAL: (f64, f64, f64) = (0.8, 6.0, 16.0);
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
    let mut medians: Vec<f64> = folder.good().filter_map(|(_, facts)| median(facts)).collect();
    medians.sort_unstable_by(f64::total_cmp);
    let Some(&typical) = medians.get(medians.len() / 2) else {
        return (super::range(folder), found);
    };
    let per_metre = options.per_metre.or(hints.per_metre()).unwrap_or_else(|| usual(folder));
    let seen = summary(folder, typical, per_metre);
    found.extend(scale(folder, &seen, typical, options.per_metre.is_some()));
    found.extend(unusual_files(folder, typical, per_metre));
    (seen, found)
}

/// The default unit: metres in arrays of reals, millimetres otherwise.
fn usual(folder: &ReadFolder) -> f64 {
    let arrays = folder.good().filter(|(_, facts)| facts.format == FileFormat::Npy).count();
    if 2 * arrays > folder.files.len() { 1.0 } else { 1000.0 }
}

fn median(facts: &FileFacts) -> Option<f64> {
    facts.values.depth.map(|(_, median)| f64::from(median))
}

fn summary(folder: &ReadFolder, typical: f64, per_metre: f64) -> Values {
    let least = folder.good().filter_map(|(_, facts)| facts.values.depth);
    let least = least.map(|(min, _)| f64::from(min)).reduce(f64::min).unwrap_or_default();
    let most = folder.good().map(|(_, facts)| f64::from(facts.values.max)).reduce(f64::max);
    let (zeros, count) = folder.good().fold((0, 0), |(zeros, count), (_, facts)| {
        (zeros + facts.values.zeros, count + facts.values.count)
    });
    Values::Depth {
        per_metre,
        min: least / per_metre,
        median: typical / per_metre,
        max: most.unwrap_or_default() / per_metre,
        holes: zeros as f64 / count.max(1) as f64,
    }
}

/// Depth that no room has, in this unit. A unit that was given by hand may be right anyway.
fn scale(folder: &ReadFolder, seen: &Values, typical: f64, by_hand: bool) -> Option<Finding> {
    let Values::Depth { per_metre, median, max, .. } = *seen else { return None };
    if (PLAUSIBLE.0..=PLAUSIBLE.1).contains(&median) {
        return None;
    }
    let greatest = max * per_metre;
    let fits = UNITS.iter().filter(|(unit, _)| {
        (TYPICAL.0..=TYPICAL.1).contains(&(typical / unit)) && greatest / unit <= TYPICAL.2
    });
    let fits: Vec<String> =
        fits.map(|(unit, name)| format!("{name} (a median of {:.1} m)", typical / unit)).collect();
    let proposal = if fits.is_empty() {
        "no common unit fits a room".to_owned()
    } else {
        format!("of the common units, these fit a room: {}", fits.join("; "))
    };
    let severity = if by_hand { Severity::Warning } else { Severity::Error };
    let message = format!(
        "half of the depth lies beyond {median:.2} m if {per_metre} units are a metre, which no \
         room has; {proposal}; convert the files, or say the unit where they are read"
    );
    Some(Finding::whole(severity, "depth_scale", &folder.name, message))
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
