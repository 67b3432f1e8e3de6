//! Sizes of files.

use std::collections::BTreeMap;

use super::super::facts::FileFacts;
use super::super::part::ReadFolder;
use super::super::report::{Finding, Severity};

/// All files of a sample need the same size; samples may differ.
pub(super) fn check(folders: &[ReadFolder]) -> Vec<Finding> {
    let mut samples = BTreeMap::<&str, Vec<(&str, &FileFacts)>>::new();
    for folder in folders {
        for (file, facts) in folder.good() {
            samples.entry(&file.id).or_default().push((&folder.name, facts));
        }
    }
    let differing = samples.iter().filter_map(|(id, files)| {
        let first = files.first()?.1.size;
        files.iter().any(|(_, facts)| facts.size != first).then(|| {
            let sizes = files.iter().map(|(name, facts)| described(name, facts));
            format!("{id} ({})", sizes.collect::<Vec<String>>().join(", "))
        })
    });
    let differing: Vec<String> = differing.collect();
    let message = "files of a sample differ in size (height x width); resize or replace them, or \
                   change `orientation` of the folder if it is an EXIF orientation that does not fit";
    let mut found: Vec<Finding> =
        Finding::about(Severity::Error, "sample_sizes", "", &differing, message)
            .into_iter()
            .collect();
    found.extend(folders.iter().filter_map(several));
    found
}

fn described(name: &str, facts: &FileFacts) -> String {
    let (height, width) = facts.size;
    let tag = match facts.exif.is_upright() {
        true => String::new(),
        false => format!(" with EXIF orientation {}", facts.exif.number()),
    };
    format!("{name} {height} x {width}{tag}")
}

/// Several sizes in a folder are fine for training with crops, and often not meant.
fn several(folder: &ReadFolder) -> Option<Finding> {
    let mut sizes = BTreeMap::<(usize, usize), Vec<String>>::new();
    for (file, facts) in folder.good() {
        sizes.entry(facts.size).or_default().push(file.id.clone());
    }
    let usual = sizes.iter().max_by_key(|(_, files)| files.len()).map(|(&size, _)| size)?;
    let others: Vec<String> = sizes
        .iter()
        .filter(|(size, _)| **size != usual)
        .flat_map(|((h, w), files)| files.iter().map(move |id| format!("{id} ({h} x {w})")))
        .collect();
    let message = format!("files have another size than {} x {}", usual.0, usual.1);
    Finding::about(Severity::Warning, "several_sizes", &folder.name, &others, message)
}
