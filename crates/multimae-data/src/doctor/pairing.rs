//! Samples that lack files, and files that make no sample.

use std::collections::{BTreeMap, BTreeSet};

use super::Kind;
use super::lists::Lists;
use super::report::{Finding, Severity};
use crate::extensions::EXTENSIONS;
use crate::files::Files;
use crate::names::stray_notice;

/// The names that any folder has.
pub(super) fn ids(folders: &BTreeMap<String, Files>) -> BTreeSet<&String> {
    folders.values().flat_map(|files| files.usable.keys()).collect()
}

pub(super) fn findings(folders: &BTreeMap<String, Files>, lists: &Lists) -> Vec<Finding> {
    let mut found = Vec::new();
    let ids = ids(folders);
    for (folder, files) in folders {
        if files.usable.is_empty() {
            let message = "it has no image and no array; fill it or remove it";
            found.push(Finding::whole(Severity::Error, "empty_folder", folder, message));
            continue;
        }
        found.extend(missing(folder, files, &ids, folders, lists));
        found.extend(names(folder, files));
    }
    found
}

/// Samples of a list, or of most folders, that have no file here; and files that are alone.
fn missing(
    folder: &str,
    files: &Files,
    ids: &BTreeSet<&String>,
    folders: &BTreeMap<String, Files>,
    lists: &Lists,
) -> Vec<Finding> {
    let filled: Vec<&Files> = folders.values().filter(|files| !files.usable.is_empty()).collect();
    let have = |id: &String| filled.iter().filter(|files| files.usable.contains_key(id)).count();
    let (mut listed, mut unlisted, mut extra) = (Vec::new(), Vec::new(), Vec::new());
    for &id in ids {
        let (here, most) = (files.usable.contains_key(id), 2 * have(id) > filled.len());
        // Of two folders, the one with pictures tells what is a sample.
        let tie = 2 * have(id) == filled.len();
        let wanted = most || tie && here == (Kind::of_name(folder) == Some(Kind::Color));
        match (here, lists.contain(id), wanted) {
            (false, true, _) => listed.push(id.clone()),
            (false, false, true) => unlisted.push(id.clone()),
            (true, false, false) if have(id) < filled.len() => extra.push(id.clone()),
            _ => {}
        }
    }
    // Without lists every file belongs to a sample.
    let loose = if lists.are_there() { Severity::Warning } else { Severity::Error };
    [
        Finding::about(
            Severity::Error,
            "missing_file",
            folder,
            &listed,
            "samples on a list have no file here; add the files or take the samples off the list",
        ),
        Finding::about(
            loose,
            "missing_file",
            folder,
            &unlisted,
            "samples have no file here; add the files, or remove those of other folders",
        ),
        Finding::about(
            loose,
            "extra_file",
            folder,
            &extra,
            "files here have no counterpart in most other folders; remove them or add the others",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn names(folder: &str, files: &Files) -> Vec<Finding> {
    let several = files.usable.iter().filter(|(_, paths)| paths.len() > 1);
    let several: Vec<String> = several.map(|(id, _)| id.clone()).collect();
    let unsupported = files.unsupported.values().flatten();
    let unsupported: Vec<String> = unsupported.map(|path| path.display().to_string()).collect();
    [
        Finding::about(
            Severity::Error,
            "ambiguous_name",
            folder,
            &several,
            "several files have the same name and different extensions; keep one of each",
        ),
        Finding::about(
            Severity::Warning,
            "unsupported_file",
            folder,
            &unsupported,
            format!(
                "files are none of {} and will not be read; convert or remove them",
                EXTENSIONS.join(", ")
            ),
        ),
        stray_notice(files.stray).map(|message| {
            let finding = Finding::whole(Severity::Note, "stray_file", folder, message);
            Finding { count: files.stray, ..finding }
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}
