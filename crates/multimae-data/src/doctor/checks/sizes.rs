//! Sizes of files.

use std::collections::BTreeMap;

use super::super::part::ReadFolder;
use super::super::report::{Finding, Severity};

/// All files of a sample need the same size; samples may differ.
pub(super) fn check(folders: &[ReadFolder]) -> Vec<Finding> {
    let mut samples = BTreeMap::<&str, Vec<(&str, (usize, usize))>>::new();
    for folder in folders {
        for (file, facts) in folder.good() {
            samples.entry(&file.id).or_default().push((&folder.name, facts.size));
        }
    }
    let differing = samples.iter().filter_map(|(id, sizes)| {
        let first = sizes.first()?.1;
        sizes.iter().any(|(_, size)| *size != first).then(|| {
            let sizes = sizes.iter().map(|(name, (h, w))| format!("{name} {h} x {w}"));
            format!("{id} ({})", sizes.collect::<Vec<String>>().join(", "))
        })
    });
    let differing: Vec<String> = differing.collect();
    let message = "files of a sample differ in size (height x width); resize or replace them";
    let mut found: Vec<Finding> =
        Finding::about(Severity::Error, "sample_sizes", "", &differing, message)
            .into_iter()
            .collect();
    found.extend(folders.iter().filter_map(several));
    found
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
