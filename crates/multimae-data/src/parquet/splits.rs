//! The files of each split, by their names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::names::is_stray;
use crate::{Error, Result};

/// The folder of files in repositories of the hub.
const DATA: &str = "data";
/// Entries of a folder that are looked at to find the first table.
const PROBED: usize = 64;
/// The names of splits that may be folders.
const SPLITS: [&str; 5] = ["train", "test", "val", "validation", "dev"];

/// A part of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Its name: `train` of `train-00000-of-00008.parquet`.
    pub name: String,
    /// Its files, in the order of their names.
    pub paths: Vec<PathBuf>,
}

/// Whether data at a place is in parquet tables: a file of that name, or a folder with such files,
/// in itself, in `data/` or in folders named after splits. Nothing is opened.
#[must_use]
pub fn is_parquet(root: &Path) -> bool {
    if root.is_file() {
        return has_extension(root);
    }
    let holds_one = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().take(PROBED).flatten();
        entries.map(|entry| entry.path()).any(|path| is_table(&path))
    };
    holds_one(root.to_owned()) || places().any(|place| holds_one(root.join(place)))
}

/// An error if data is in parquet tables, for what reads folders of files alone.
///
/// # Errors
/// [`Error::File`], with what takes tables.
pub(crate) fn refuse(root: &Path) -> Result<()> {
    if !is_parquet(root) {
        return Ok(());
    }
    let problem =
        "it holds parquet tables, and this reads folders of files; training, evaluation and \
                   prediction take the tables as they are (`--data`)"
            .to_owned();
    Err(Error::File { path: root.to_owned(), problem })
}

/// The splits of a table or of a folder of tables, by the names of the files:
/// `train-00000-of-00008.parquet`, `train.parquet`, or `train/0000.parquet`.
///
/// # Errors
/// [`Error::File`] if there is no table, or shards of a split are missing; [`Error::Io`].
pub fn splits(root: &Path) -> Result<Vec<Split>> {
    let paths = if root.is_file() { vec![root.to_owned()] } else { tables(root)? };
    let mut splits = BTreeMap::<String, Vec<PathBuf>>::new();
    for path in paths {
        splits.entry(split_of(&path)).or_default().push(path);
    }
    let error = |problem| Error::File { path: root.to_owned(), problem };
    if splits.is_empty() {
        return Err(error("it holds no .parquet file, neither itself nor in data/".to_owned()));
    }
    for (name, paths) in &splits {
        // A single file was asked for.
        let missing = (!root.is_file()).then(|| missing(paths)).flatten();
        if let Some(problem) = missing {
            return Err(error(format!("split `{name}`: {problem}; download the others")));
        }
    }
    Ok(splits.into_iter().map(|(name, paths)| Split { name, paths }).collect())
}

/// The folders below a root that may hold tables.
fn places() -> impl Iterator<Item = &'static str> {
    std::iter::once(DATA).chain(SPLITS)
}

/// All tables of the first place that holds some; folders of splits are one place.
fn tables(root: &Path) -> Result<Vec<PathBuf>> {
    for folders in
        [vec![root.to_owned()], vec![root.join(DATA)], SPLITS.map(|s| root.join(s)).to_vec()]
    {
        let mut found = Vec::new();
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            for entry in fs_err::read_dir(folder)? {
                let path = entry?.path();
                if is_table(&path) {
                    found.push(path);
                }
            }
        }
        if !found.is_empty() {
            found.sort();
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

fn has_extension(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

fn is_table(path: &Path) -> bool {
    let stray = path.file_name().is_none_or(|name| is_stray(&name.to_string_lossy()));
    has_extension(path) && !stray && path.is_file()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The place of a shard and their number, by `<split>-<place>-of-<number>`, perhaps with a hash behind.
fn shard(stem: &str) -> Option<(&str, usize, usize)> {
    let (before, behind) = stem.split_once("-of-")?;
    let (split, place) = before.rsplit_once('-')?;
    let number = behind.split('-').next()?;
    Some((split, place.parse().ok()?, number.parse().ok()?))
}

fn split_of(path: &Path) -> String {
    let stem = stem(path);
    if let Some((split, ..)) = shard(&stem) {
        return split.to_owned();
    }
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let numbered = stem.chars().all(|c| c.is_ascii_digit());
    if numbered && !folder.is_empty() { folder.into_owned() } else { stem }
}

/// The shards of a split that are not there.
fn missing(paths: &[PathBuf]) -> Option<String> {
    let stems: Vec<String> = paths.iter().map(|path| stem(path)).collect();
    let shards: Vec<(usize, usize)> = stems
        .iter()
        .filter_map(|stem| shard(stem))
        .map(|(_, place, number)| (place, number))
        .collect();
    let number = shards.iter().map(|(_, number)| *number).max()?;
    if shards.iter().any(|(_, other)| *other != number) {
        return Some("its shards are of several sets, by the numbers behind `-of-`".to_owned());
    }
    let absent: Vec<String> = (0..number)
        .filter(|place| shards.iter().all(|(there, _)| there != place))
        .map(|place| format!("{place:05}"))
        .collect();
    (!absent.is_empty()).then(|| format!("of {number} shards, {} are missing", absent.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_in_the_names_of_files() {
        for (path, split) in [
            ("a/data/train-00000-of-00008.parquet", "train"),
            ("a/data/val-00001-of-00002-3f9ea2b1.parquet", "val"),
            ("a/default/train/0003.parquet", "train"),
            ("a/nyu-test.parquet", "nyu-test"),
            ("a/x-1-of-y.parquet", "x-1-of-y"),
        ] {
            assert_eq!(split_of(Path::new(path)), split, "{path}");
        }
    }

    #[test]
    fn folders_are_searched_and_shards_counted() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert!(!is_parquet(root));
        assert!(splits(root).unwrap_err().to_string().contains("no .parquet file"));
        fs_err::create_dir(root.join("data")).unwrap();
        let add = |name: &str| fs_err::write(root.join("data").join(name), b"x").unwrap();
        add("train-00002-of-00003.parquet");
        add("train-00000-of-00003.parquet");
        add("val.parquet");
        add(".train-00001-of-00003.parquet");
        assert!(is_parquet(root));
        let error = splits(root).unwrap_err().to_string();
        assert!(error.contains("`train`") && error.contains("of 3 shards, 00001 are"), "{error}");
        add("train-00001-of-00003.parquet");
        let found = splits(root).unwrap();
        let names: Vec<(&str, usize)> =
            found.iter().map(|split| (split.name.as_str(), split.paths.len())).collect();
        assert_eq!(names, [("train", 3), ("val", 1)]);
        let one = root.join("data/train-00000-of-00003.parquet");
        assert!(is_parquet(&one));
        assert_eq!(splits(&one).unwrap()[0].paths, [one]);
        add("train-00000-of-00009.parquet");
        assert!(splits(root).unwrap_err().to_string().contains("several sets"));
    }

    #[test]
    fn frame_folders_are_no_tables() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["rgb", "depth", "train/rgb"] {
            fs_err::create_dir_all(dir.path().join(folder)).unwrap();
        }
        assert!(!is_parquet(dir.path()));
    }
}
