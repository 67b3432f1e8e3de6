//! The same picture, or the same depth, under two names.

use std::collections::BTreeMap;

use super::super::lists::Lists;
use super::super::part::ReadFolder;
use super::super::report::{Finding, Severity};
use super::super::{Kind, facts::FileFacts};

pub(super) fn check(folders: &[ReadFolder], lists: &Lists) -> Vec<Finding> {
    // Labels and masks are often equal for good reasons.
    let checked = folders.iter().filter(|folder| matches!(folder.kind, Kind::Color | Kind::Depth));
    checked.flat_map(|folder| of_folder(folder, folders, lists)).collect()
}

fn of_folder(folder: &ReadFolder, folders: &[ReadFolder], lists: &Lists) -> Vec<Finding> {
    let mut groups = BTreeMap::<u64, Vec<&str>>::new();
    for (file, facts) in folder.good().filter(|(_, facts)| !facts.is_constant()) {
        groups.entry(facts.digest).or_default().push(&file.id);
    }
    let (mut mixed, mut leaks, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for ids in groups.values().filter(|ids| ids.len() > 1) {
        let text = ids.join(" = ");
        let pairs =
            || ids.iter().enumerate().flat_map(|(i, a)| ids[..i].iter().map(move |b| (*a, *b)));
        if pairs().any(|(a, b)| elsewhere_different(folder, folders, a, b)) {
            mixed.push(text);
        } else if pairs().any(|(a, b)| lists.separate(a, b)) {
            leaks.push(text);
        } else {
            plain.push(text);
        }
    }
    let about = |severity, code, things: &[String], message: &str| {
        Finding::about(severity, code, &folder.name, things, message)
    };
    [
        about(
            Severity::Error,
            "mixed_up",
            &mixed,
            "the same content has several names, while other folders differ: one of them belongs \
             to another sample",
        ),
        about(
            Severity::Error,
            "leak",
            &leaks,
            "the same content is in the training list and in one for measuring",
        ),
        about(
            Severity::Warning,
            "duplicate",
            &plain,
            "the same content has several names; keep one of each",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether the pictures or depths of two samples differ in another folder.
fn elsewhere_different(this: &ReadFolder, folders: &[ReadFolder], a: &str, b: &str) -> bool {
    let others = folders.iter().filter(|folder| {
        folder.name != this.name && matches!(folder.kind, Kind::Color | Kind::Depth)
    });
    let digest = |folder: &ReadFolder, id: &str| {
        folder.good().find(|(file, _)| file.id == id).map(|(_, FileFacts { digest, .. })| *digest)
    };
    others.into_iter().any(|folder| match (digest(folder, a), digest(folder, b)) {
        (Some(a), Some(b)) => a != b,
        _ => false,
    })
}
