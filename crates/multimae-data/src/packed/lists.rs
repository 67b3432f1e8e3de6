//! The lists of samples that a pack holds.

use std::collections::BTreeSet;

use super::create::Source;
use crate::file_source::FileSource;
use crate::lists::{Names, entries, text};
use crate::{Rejected, Result};

/// Names and texts of the lists, with one plain name per line and without the samples that were
/// left out. Text files that cannot be read as text are no lists.
pub(super) fn lists(source: &Source<'_>, left_out: &[Rejected]) -> Result<Vec<(String, String)>> {
    let left_out: BTreeSet<&str> = left_out.iter().map(|rejected| rejected.id.as_str()).collect();
    let known = |id: &str| source.files.ids().find(id).is_some();
    let sources = source.folders.iter().map(|folder| FileSource::parse(&folder.folder)).collect();
    let names = Names { known: &known, sources };
    let mut lists = Vec::new();
    for (name, bytes) in source.files.lists()? {
        let Ok(text) = text(bytes) else { continue };
        let kept = entries(&text).map(|(_, line)| names.id_or_line(line));
        let kept = kept.filter(|id| !left_out.contains(id.as_str()));
        lists.push((name, kept.map(|id| format!("{id}\n")).collect()));
    }
    Ok(lists)
}
