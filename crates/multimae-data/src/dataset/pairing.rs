//! Pairing of files to samples, by their names, never by their position.

use std::collections::BTreeSet;
use std::path::Path;

use super::{FileEntries, Layout, Store};
use crate::file_source::FileSource;
use crate::files::Files;
use crate::list_columns::{self, Columns};
use crate::lists;
use crate::pairing_problems::PairingProblems;
use crate::{DataModality, Error, Result};

/// The samples of a data set in folders, and the number of stray files in these.
pub(super) fn pair(
    root: &Path,
    layout: &Layout,
    modalities: &[DataModality],
) -> Result<(FileEntries, usize)> {
    let list = match layout {
        Layout::List { split } => {
            let path = lists::path_of(root, split);
            Some((lists::read(&path)?, path))
        }
        Layout::Folders => None,
    };
    if let Some((text, path)) = list.as_ref().filter(|_| list_columns::are_used(modalities)) {
        let columns = list_columns::read(root, text, path, modalities)?;
        return pair_columns(root, columns, modalities);
    }
    let files = modalities.iter().map(|m| Files::find(root, m)).collect::<Result<Vec<Files>>>()?;
    let listed = list.map(|(text, path)| listed(&text, &path, &files, modalities)).transpose()?;
    let stray = files.iter().map(|files| files.stray).sum();
    let ids = pair_files(root, listed, &files, modalities)?;
    Ok((entries(root, &ids, &files), stray))
}

/// The samples of a list whose columns name files. Modalities in no column are paired by names.
fn pair_columns(
    root: &Path,
    columns: Columns,
    modalities: &[DataModality],
) -> Result<(FileEntries, usize)> {
    let Columns { ids, files } = columns;
    let files = files.into_iter().zip(modalities).map(|(found, modality)| match found {
        Some(files) => Ok(files),
        None => Files::find(root, modality),
    });
    let files = files.collect::<Result<Vec<Files>>>()?;
    let stray = files.iter().map(|files| files.stray).sum();
    let ids = pair_files(root, Some(ids), &files, modalities)?;
    Ok((entries(root, &ids, &files), stray))
}

/// The samples that a list names.
fn listed(
    text: &str,
    path: &Path,
    files: &[Files],
    modalities: &[DataModality],
) -> Result<Vec<String>> {
    let known = |id: &str| files.iter().any(|files| files.usable.contains_key(id));
    let sources = modalities.iter().map(FileSource::of).collect();
    lists::parse(text, path, &lists::Names { known: &known, sources })
}

/// The ids of the samples of a store, by the same rules.
pub(super) fn pair_stored(
    store: &(impl Store + ?Sized),
    layout: &Layout,
    modalities: &[DataModality],
) -> Result<Vec<String>> {
    let files = modalities.iter().map(|m| store.files(m)).collect::<Result<Vec<Files>>>()?;
    let listed = match layout {
        Layout::List { split } => {
            let path = store.path().join(format!("{split}.txt"));
            Some(listed(&store.list(split)?, &path, &files, modalities)?)
        }
        Layout::Folders => None,
    };
    pair_files(store.path(), listed, &files, modalities)
}

/// The ids of the samples, each of which has one file per modality.
fn pair_files(
    root: &Path,
    listed: Option<Vec<String>>,
    files: &[Files],
    modalities: &[DataModality],
) -> Result<Vec<String>> {
    let is_listed = listed.is_some();
    let ids = listed.unwrap_or_else(|| all_ids(files));
    let mut problems = PairingProblems { empty: ids.is_empty(), ..Default::default() };
    let names: Vec<&str> = modalities.iter().map(|modality| modality.name.as_str()).collect();
    for id in &ids {
        let present: Vec<bool> = files.iter().map(|f| f.usable.contains_key(id)).collect();
        problems.check_presence(id, &present, &names, is_listed);
    }
    for (files, modality) in files.iter().zip(modalities) {
        problems.check_names(&ids, files, modality, is_listed);
    }
    if !problems.is_empty() {
        return Err(Error::Pairing { root: root.to_owned(), problems: Box::new(problems) });
    }
    Ok(ids)
}

/// The ids that any modality has, sorted.
fn all_ids(files: &[Files]) -> Vec<String> {
    let ids: BTreeSet<&String> = files.iter().flat_map(|files| files.usable.keys()).collect();
    ids.into_iter().cloned().collect()
}

impl PairingProblems {
    /// With a list, only the files of listed samples matter.
    fn check_names(
        &mut self,
        ids: &[String],
        files: &Files,
        modality: &DataModality,
        listed: bool,
    ) {
        for id in ids {
            if let Some(several) = files.usable.get(id).filter(|paths| paths.len() > 1) {
                let list = self.ambiguous.entry(modality.name.clone()).or_default();
                list.extend(several.iter().cloned());
                list.sort();
            }
        }
        let ids: BTreeSet<&String> = ids.iter().collect();
        for (id, paths) in &files.unsupported {
            if !listed || ids.contains(id) && !files.usable.contains_key(id) {
                let list = self.unsupported.entry(modality.name.clone()).or_default();
                list.extend(paths.iter().cloned());
            }
        }
    }
}

fn entries(root: &Path, ids: &[String], files: &[Files]) -> FileEntries {
    let mut entries = FileEntries::new(root, files.len());
    for id in ids {
        entries.push(id, files.iter().filter_map(|files| files.usable.get(id)?.first()));
    }
    entries.shrink_to_fit();
    entries
}
