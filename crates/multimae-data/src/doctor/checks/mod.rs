//! Checks of files that were read.

mod color;
mod depth;
mod duplicates;
mod labels;
mod mask;
mod orientation;
mod sizes;

use super::facts::{File, FileFacts};
use super::hints::Hints;
use super::lists::Lists;
use super::part::ReadFolder;
use super::report::{Finding, Severity, Values};
use super::{Kind, Options};

/// Checks of one folder, and what its values look like.
pub(super) fn folder(
    folder: &ReadFolder,
    options: &Options,
    hints: &Hints,
) -> (Values, Vec<Finding>) {
    let mut found = common(folder);
    if folder.good().next().is_none() {
        return (Values::Other { min: 0.0, max: 0.0 }, found);
    }
    let (values, more) = match folder.kind {
        Kind::Color => color::check(folder),
        Kind::Depth => depth::check(folder, options, hints),
        Kind::Labels => labels::check(folder, options, hints),
        Kind::Mask => mask::check(folder),
        Kind::Other => (range(folder), Vec::new()),
    };
    found.extend(more);
    (values, found)
}

/// Checks of all folders together.
pub(super) fn samples(folders: &[ReadFolder], lists: &Lists, options: &Options) -> Vec<Finding> {
    let mut found = sizes::check(folders);
    found.extend(orientation::check(folders, options));
    found.extend(duplicates::check(folders, lists));
    found
}

fn range(folder: &ReadFolder) -> Values {
    let fold = |of: fn(&FileFacts) -> f32, pick: fn(f64, f64) -> f64| {
        folder.good().map(|(_, facts)| f64::from(of(facts))).reduce(pick).unwrap_or_default()
    };
    Values::Other { min: fold(|f| f.values.min, f64::min), max: fold(|f| f.values.max, f64::max) }
}

/// The checks of any file.
fn common(folder: &ReadFolder) -> Vec<Finding> {
    let broken = folder.files.iter().filter_map(|file| {
        file.facts.as_ref().err().map(|problem| format!("{} ({problem})", file.path.display()))
    });
    let broken: Vec<String> = broken.collect();
    let about = |severity, code, things: &[String], message: &str| {
        Finding::about(severity, code, &folder.name, things, message)
    };
    [
        about(Severity::Error, "unreadable", &broken, "files cannot be read; copy them again"),
        not_finite(folder),
        about(
            Severity::Warning,
            "misnamed",
            &those(folder, |facts| facts.misnamed),
            "files have an extension that is not their format; rename them",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Values that are not finite: invalid pixels where values are real, and no label.
fn not_finite(folder: &ReadFolder) -> Option<Finding> {
    let files = those(folder, |facts| facts.values.not_finite > 0);
    let (severity, message) = match folder.kind {
        Kind::Depth | Kind::Other => {
            (Severity::Note, "files hold NaN or infinite values, which are read as invalid pixels")
        }
        _ => (Severity::Error, "files hold NaN or infinite values; replace them"),
    };
    Finding::about(severity, "not_finite", &folder.name, &files, message)
}

/// The ids of the files that are like this.
fn those(folder: &ReadFolder, is: impl Fn(&FileFacts) -> bool) -> Vec<String> {
    folder.good().filter(|(_, facts)| is(facts)).map(|(file, _)| file.id.clone()).collect()
}

/// The ids of the files that are like this, with something about each.
fn those_with(
    folder: &ReadFolder,
    describe: impl Fn(&File, &FileFacts) -> Option<String>,
) -> Vec<String> {
    let described = folder.good().filter_map(|(file, facts)| {
        describe(file, facts).map(|text| format!("{} ({text})", file.id))
    });
    described.collect()
}
