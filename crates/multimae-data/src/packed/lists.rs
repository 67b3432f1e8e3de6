//! The lists of samples that a pack holds.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::{Rejected, Result};

/// Names and texts of the lists, without the samples that were left out. Text files in another
/// encoding than UTF-8 are no lists.
pub(super) fn lists(paths: &[PathBuf], left_out: &[Rejected]) -> Result<Vec<(String, String)>> {
    let left_out: BTreeSet<&str> = left_out.iter().map(|rejected| rejected.id.as_str()).collect();
    let mut lists = Vec::new();
    for path in paths {
        let Ok(text) = String::from_utf8(fs_err::read(path)?) else { continue };
        let kept = text.lines().filter(|line| !left_out.contains(line.trim()));
        let text = kept.map(|line| format!("{line}\n")).collect();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        lists.push((name, text));
    }
    Ok(lists)
}
