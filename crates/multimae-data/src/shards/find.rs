//! The shards of a place, whatever modalities a recipe will ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::locate::{Group, Located, holds_tars, locate, mark_classes, stem, tars};
use super::{is_expression, may_be_shards};
use crate::Result;
use crate::files::subfolders;

/// The end of the names of folders with ImageNet's pseudo labels.
const TAR_FOLDER: &str = "_tar";
/// Folders of these names hold splits, not modalities.
const SPLITS: [&str; 5] = ["train", "val", "validation", "test", "dev"];

/// All shards of a place.
pub(super) struct Found {
    /// The place of lists and other files about the shards.
    pub(super) beside: PathBuf,
    pub(super) shards: Vec<FoundShard>,
    /// Folders of modalities and the names of the shards that they alone lack.
    pub(super) missing: Vec<(String, String)>,
}

pub(super) struct FoundShard {
    pub(super) path: PathBuf,
    /// Its folder, without `_tar`; `None` where members name their modality.
    pub(super) folder: Option<String>,
    /// The number of the shards with the same samples.
    pub(super) group: usize,
    /// Its name, if shards hold a class each.
    pub(super) class: Option<String>,
}

/// The data sets in shards below a root, with their folders: the root itself, or `train/` and so on. None
/// if these are folders of files.
pub(crate) fn data_sets(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let below = if root.is_dir() { subfolders(root)? } else { Vec::new() };
    if may_be_shards(root) {
        let holding: Vec<(String, PathBuf)> =
            below.into_iter().filter(|(_, folder)| holds_tars(folder)).collect();
        let of_splits = !holding.is_empty()
            && !holds_tars(root)
            && holding.iter().all(|(name, _)| SPLITS.contains(&name.as_str()));
        return Ok(if of_splits { holding } else { vec![(String::new(), root.to_owned())] });
    }
    Ok(below.into_iter().filter(|(_, folder)| may_be_shards(folder)).collect())
}

/// Finds the shards of a place.
///
/// # Errors
/// [`Error::Shards`](crate::Error::Shards) if an expression is wrong or names shards that are not
/// there; [`Error::Io`](crate::Error::Io).
pub(super) fn find(root: &Path) -> Result<Found> {
    if is_expression(root) || root.is_file() || holds_tars(root) {
        return Ok(of_located(locate(root, &[])?));
    }
    let holding = subfolders(root)?.into_iter().filter(|(_, folder)| holds_tars(folder));
    let mut folders = Vec::new();
    for (name, folder) in holding {
        folders.push((name.strip_suffix(TAR_FOLDER).unwrap_or(&name).to_owned(), tars(&folder)?));
    }
    Ok(of_folders(root, folders))
}

fn of_located(located: Located) -> Found {
    let Located { folders, groups, beside } = located;
    let mut shards = Vec::new();
    for (number, Group { stem, files, is_class }) in groups.into_iter().enumerate() {
        for (path, folder) in files.into_iter().zip(&folders) {
            let class = is_class.then(|| stem.clone());
            shards.push(FoundShard { path, folder: folder.clone(), group: number, class });
        }
    }
    Found { beside, shards, missing: Vec::new() }
}

/// A folder per modality, with the same names of shards in each.
fn of_folders(root: &Path, folders: Vec<(String, Vec<PathBuf>)>) -> Found {
    let stems: BTreeSet<String> =
        folders.iter().flat_map(|(_, paths)| paths).map(|path| stem(path)).collect();
    let group = |stem| Group { stem, files: Vec::new(), is_class: false };
    let groups = mark_classes(stems.into_iter().map(group).collect());
    let numbers: BTreeMap<&str, (usize, bool)> = groups
        .iter()
        .enumerate()
        .map(|(number, group)| (group.stem.as_str(), (number, group.is_class)))
        .collect();
    let (mut shards, mut missing) = (Vec::new(), Vec::new());
    for (folder, paths) in folders {
        let mut lacking: BTreeSet<&str> = numbers.keys().copied().collect();
        for path in paths {
            let stem = stem(&path);
            let Some(&(group, is_class)) = numbers.get(stem.as_str()) else { continue };
            lacking.remove(stem.as_str());
            let class = is_class.then_some(stem);
            shards.push(FoundShard { path, folder: Some(folder.clone()), group, class });
        }
        missing.extend(lacking.into_iter().map(|stem| (folder.clone(), stem.to_owned())));
    }
    Found { beside: root.to_owned(), shards, missing }
}
