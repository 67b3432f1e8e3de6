//! The shards of a place of data.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use indexmap::{IndexMap, IndexSet};

use super::info::listed_shards;
use super::naming::is_numbered;
use super::notation::{expand, is_expression};
use crate::extensions::EXTENSIONS;
use crate::names::{is_stray, plain_folder};
use crate::{Error, Result};

/// The shards of a data set.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Located {
    /// The folders of modalities; a single `None` where members name their modality.
    pub(super) folders: Vec<Option<String>>,
    pub(super) groups: Vec<Group>,
    /// The place of lists and other files about the shards.
    pub(super) beside: PathBuf,
}

/// A shard, or the shards of the same samples in all modalities.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// The name of the shard without `.tar`.
    pub(super) stem: String,
    /// The files, in the order of the folders.
    pub(super) files: Vec<PathBuf>,
    /// Whether the name is the first part of the ids: the shards hold a class each.
    pub(super) is_class: bool,
}

/// Whether a place of data holds shards: an expression, a tar, an index of the `wids` library, a
/// folder with tars, or with folders of tars for some of the given modalities.
pub(crate) fn is_shards(root: &Path, folders: &[&str]) -> bool {
    if is_expression(root) {
        return true;
    }
    if root.is_file() {
        return is_tar(root) || listed_shards(root).is_ok_and(|shards| shards.is_some());
    }
    let there: Vec<PathBuf> =
        folders.iter().filter_map(|name| modality_folder(root, name)).collect();
    match there.as_slice() {
        [] => holds_tars(root),
        there => there.iter().any(|folder| holds_tars_alone(folder)),
    }
}

/// Finds the shards of some folders of modalities.
///
/// # Errors
/// [`Error::Shards`] if the expression is wrong, a shard of a modality is missing, or one folder
/// holds shards and another one files; [`Error::Io`].
pub(super) fn locate(root: &Path, folders: &[&str]) -> Result<Located> {
    if is_expression(root) {
        return expression(root);
    }
    if root.is_file() {
        let beside = root.parent().unwrap_or(Path::new("")).to_owned();
        let files = listed_shards(root)?.unwrap_or_else(|| vec![root.to_owned()]);
        check_files(root, &files)?;
        return flat(root, files, beside);
    }
    let mut found = IndexMap::new();
    let mut missing = Vec::new();
    for name in folders {
        match modality_folder(root, name) {
            Some(folder) => drop(found.insert(plain_folder(name), folder)),
            None => missing.push(*name),
        }
    }
    if found.is_empty() {
        return flat(root, tars(root)?, root.to_owned());
    }
    if let Some(name) = missing.first() {
        return Err(fault(
            root,
            format!(
                "there is no folder `{name}` beside `{}`; its shards belong to {}",
                found.keys().map(String::as_str).collect::<Vec<_>>().join("`, `"),
                root.join(name).display()
            ),
        ));
    }
    let mut by_stem: BTreeMap<String, Vec<Option<PathBuf>>> = BTreeMap::new();
    for (place, folder) in found.values().enumerate() {
        if !holds_tars(folder) {
            return Err(fault(
                root,
                format!(
                    "other modalities are in shards, and {} holds none; write its shards, with the \
                     same names, by `multimae shards`",
                    folder.display()
                ),
            ));
        }
        for path in tars(folder)? {
            let files = by_stem.entry(stem(&path)).or_insert_with(|| vec![None; found.len()]);
            files[place] = Some(path);
        }
    }
    let names: Vec<String> = found.keys().cloned().collect();
    grouped(root, names, by_stem.into_iter().collect(), root.to_owned())
}

fn check_files(root: &Path, files: &[PathBuf]) -> Result<()> {
    let Some(path) = files.iter().find(|path| !path.is_file()) else { return Ok(()) };
    Err(fault(root, format!("there is no shard {}; check its name or numbers", path.display())))
}

/// Shards whose members name their modality.
fn flat(root: &Path, files: Vec<PathBuf>, beside: PathBuf) -> Result<Located> {
    let mut names = HashSet::new();
    if let Some(path) = files.iter().find(|path| !names.insert(*path)) {
        let problem = format!("{} is named twice; name each shard once", path.display());
        return Err(fault(root, problem));
    }
    let group = |path: PathBuf| Group { stem: stem(&path), files: vec![path], is_class: false };
    let groups = mark_classes(files.into_iter().map(group).collect());
    Ok(Located { folders: vec![None], groups, beside })
}

fn expression(root: &Path) -> Result<Located> {
    let text = root.to_str().unwrap_or_default();
    let named = expand(text).map_err(|problem| fault(root, problem))?;
    let folders: IndexSet<Option<String>> =
        named.iter().map(|named| named.folder.clone()).collect();
    if folders.iter().all(Option::is_none) {
        let mut files = Vec::new();
        for named in named {
            let path = PathBuf::from(named.path);
            if path.is_dir() { files.extend(tars(&path)?) } else { files.push(path) }
        }
        check_files(root, &files)?;
        let beside = files.first().and_then(|path| path.parent()).unwrap_or(Path::new(""));
        let beside = beside.to_owned();
        return flat(root, files, beside);
    }
    let names: Option<Vec<String>> = folders.into_iter().collect();
    let names = names.ok_or_else(|| {
        fault(root, "square brackets name modalities in one part and not in another".to_owned())
    })?;
    let mut groups: IndexMap<String, Vec<Option<PathBuf>>> = IndexMap::new();
    for named in named {
        let place = names.iter().position(|name| Some(name) == named.folder.as_ref());
        let files = groups.entry(named.group).or_insert_with(|| vec![None; names.len()]);
        if let Some(place) = place {
            let path = PathBuf::from(named.path);
            files[place] = path.is_file().then_some(path);
        }
    }
    let groups: Vec<_> = groups.into_iter().collect();
    // Lists lie beside the folders of the modalities.
    let first = groups.first().and_then(|(_, files)| files.iter().flatten().next());
    let beside = first.and_then(|path| path.parent()?.parent()).unwrap_or(Path::new(""));
    let beside = beside.to_owned();
    let named = groups.into_iter().map(|(group, files)| (stem(Path::new(&group)), files)).collect();
    grouped(root, names, named, beside)
}

/// The shards of several folders; every one must be in all of them.
fn grouped(
    root: &Path,
    names: Vec<String>,
    groups: Vec<(String, Vec<Option<PathBuf>>)>,
    beside: PathBuf,
) -> Result<Located> {
    let mut whole = Vec::with_capacity(groups.len());
    for (stem, files) in groups {
        if let Some(place) = files.iter().position(Option::is_none) {
            let there = files.iter().flatten().next();
            let there = there.map_or_else(String::new, |path| path.display().to_string());
            return Err(fault(
                root,
                format!(
                    "there is no shard {stem}.tar of `{}`, and {there} is there; every modality \
                     needs the same shards",
                    names[place]
                ),
            ));
        }
        whole.push(Group { stem, files: files.into_iter().flatten().collect(), is_class: false });
    }
    let folders = names.into_iter().map(Some).collect();
    Ok(Located { folders, groups: mark_classes(whole), beside })
}

/// Marks shards that have no number, if there are several: they hold a class each.
pub(super) fn mark_classes(mut groups: Vec<Group>) -> Vec<Group> {
    let several = groups.iter().filter(|group| !is_numbered(&group.stem)).count() > 1;
    for group in &mut groups {
        group.is_class = several && !is_numbered(&group.stem);
    }
    groups
}

/// The folder of a modality below a root: of its name, or of its name and `_tar`.
fn modality_folder(root: &Path, name: &str) -> Option<PathBuf> {
    let name = plain_folder(name);
    let tars = root.join(format!("{name}_tar"));
    let folder = root.join(name);
    [folder, tars].into_iter().find(|folder| folder.is_dir())
}

/// The tars right below a folder, by their names. Without any, compressed ones, for the message
/// that refuses them.
pub(super) fn tars(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut plain, mut compressed) = (Vec::new(), Vec::new());
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        match kind(&path) {
            Some(Kind::Plain) => plain.push(path),
            Some(Kind::Compressed) => compressed.push(path),
            None => {}
        }
    }
    let mut found = if plain.is_empty() { compressed } else { plain };
    found.sort();
    Ok(found)
}

pub(super) fn holds_tars(folder: &Path) -> bool {
    let Ok(mut entries) = fs_err::read_dir(folder) else { return false };
    entries.any(|entry| entry.is_ok_and(|entry| is_tar(&entry.path())))
}

/// Whether a folder of a modality holds tars, and neither files of samples nor folders.
fn holds_tars_alone(folder: &Path) -> bool {
    let Ok(entries) = fs_err::read_dir(folder) else { return false };
    let mut found = false;
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_tar(&path) {
            found = true;
        } else if !is_stray(&name) {
            let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
            if EXTENSIONS.contains(&extension.as_str()) || path.is_dir() {
                return false;
            }
        }
    }
    found
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain,
    Compressed,
}

fn kind(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_str()?.to_lowercase();
    if is_stray(&name) {
        return None;
    }
    let compressed = [".tar.gz", ".tgz", ".tar.xz", ".tar.zst", ".tar.bz2"];
    if name.ends_with(".tar") {
        Some(Kind::Plain)
    } else {
        compressed.iter().any(|ending| name.ends_with(ending)).then_some(Kind::Compressed)
    }
}

fn is_tar(path: &Path) -> bool {
    kind(path).is_some()
}

/// The name of a shard up to `.tar`.
pub(super) fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let end = name.to_lowercase().rfind(".tar").unwrap_or(name.len());
    name.get(..end).unwrap_or(&name).to_owned()
}

fn fault(root: &Path, problem: String) -> Error {
    Error::Shards { root: root.to_owned(), problem }
}
