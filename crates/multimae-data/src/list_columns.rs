//! Lists whose columns name the files of a sample.

use std::path::{Path, PathBuf};

use crate::capped::Capped;
use crate::extensions::stem_of;
use crate::file_source::FileSource;
use crate::files::Files;
use crate::lists::entries;
use crate::names::{composed, plain_folder};
use crate::{DataModality, Error, Result};

/// The samples of a list, and the files of those modalities that are in its columns.
#[derive(Debug)]
pub(crate) struct Columns {
    /// In the order of the list.
    pub(crate) ids: Vec<String>,
    /// By modality; `None` for one that is in no column.
    pub(crate) files: Vec<Option<Files>>,
}

/// Whether lists name the files of these modalities in columns.
pub(crate) fn are_used(modalities: &[DataModality]) -> bool {
    modalities.iter().any(|modality| modality.naming.column.is_some())
}

/// Reads a list whose columns name files, by paths from the root of the data set or from the
/// modality's folder. A sample has the name of the file in the first of the columns in use. Files
/// that are not there are left to the pairing.
///
/// # Errors
/// [`Error::List`] if a line has too few columns, a sample is there twice or none is, or a path
/// means two files.
pub(crate) fn read(
    root: &Path,
    text: &str,
    path: &Path,
    modalities: &[DataModality],
) -> Result<Columns> {
    let error = |problem| Error::List { path: path.to_owned(), problem };
    let mut used: Vec<(usize, usize)> = modalities
        .iter()
        .enumerate()
        .filter_map(|(place, modality)| Some((modality.naming.column?, place)))
        .collect();
    used.sort_unstable();
    let mut columns = Columns {
        ids: Vec::new(),
        files: modalities.iter().map(|m| m.naming.column.map(|_| Files::default())).collect(),
    };
    let mut lines = std::collections::HashMap::new();
    let (mut short, mut twice) = (Vec::new(), Vec::new());
    for (line, text) in entries(text) {
        let cells = cells(text);
        let Some(found) = files(&used, &cells) else {
            short.push(format!("line {line} has {}: {text}", cells.len()));
            continue;
        };
        let mut id = None;
        for (place, cell) in found {
            let cell = below_root(root, cell);
            let source = FileSource::of(&modalities[place]);
            let id = id.get_or_insert_with(|| id_of(&cell, &source));
            let file = locate(root, &cell, &source)
                .map_err(|problem| error(format!("line {line}: {problem}")))?;
            if let (Some(file), Some(files)) = (file, &mut columns.files[place]) {
                files.add(id, file);
            }
        }
        let id = id.unwrap_or_default();
        match lines.insert(id.clone(), line) {
            Some(first) => twice.push(format!("`{id}` (lines {first} and {line})")),
            None => columns.ids.push(id),
        }
    }
    if !short.is_empty() {
        let last = used.last().map_or(0, |(column, _)| *column);
        return Err(error(format!(
            "lines with fewer columns than {last}, which a modality's `column` says:{}",
            Capped(&short, "\n  ")
        )));
    }
    if !twice.is_empty() {
        let twice = Capped(&twice, "\n  ");
        return Err(error(format!("names in the first column that are there twice:{twice}")));
    }
    if columns.ids.is_empty() {
        return Err(error("it names no sample".to_owned()));
    }
    Ok(columns)
}

/// The columns of a line: separated by tabs, else by commas or semicolons, else by spaces.
fn cells(line: &str) -> Vec<&str> {
    let cells: Vec<&str> = match ['\t', ',', ';'].into_iter().find(|&mark| line.contains(mark)) {
        Some(mark) => line.split(mark).collect(),
        None => line.split_whitespace().collect(),
    };
    cells.into_iter().map(|cell| cell.trim().trim_matches('"')).collect()
}

/// The modalities in the order of their columns, each with its cell.
fn files<'a>(used: &[(usize, usize)], cells: &[&'a str]) -> Option<Vec<(usize, &'a str)>> {
    used.iter().map(|&(column, place)| Some((place, *cells.get(column.checked_sub(1)?)?))).collect()
}

/// A path from the root, whatever marks between folders and before the first one it has. A path of
/// the whole system may begin with that of the root.
fn below_root(root: &Path, cell: &str) -> String {
    let whole = Path::new(cell).is_absolute().then(|| Path::new(cell).strip_prefix(root).ok());
    let cell = whole.flatten().and_then(Path::to_str).unwrap_or(cell);
    let path = cell.replace('\\', "/");
    let path = path.trim_start_matches("./").trim_start_matches('/');
    path.to_owned()
}

/// The name of the sample with this file.
fn id_of(path: &str, source: &FileSource) -> String {
    let folder = format!("{}/", plain_folder(&source.folder));
    let path = path.strip_prefix(&folder).unwrap_or(path);
    let id = source.key(path).unwrap_or_else(|| stem_of(path).unwrap_or(path).to_owned());
    composed(&id)
}

/// The file that a path means, if it is there.
fn locate(root: &Path, path: &str, source: &FileSource) -> Result<Option<PathBuf>, String> {
    let places = [root.join(path), root.join(&source.folder).join(path)];
    let found: Vec<&PathBuf> = places.iter().filter(|place| place.is_file()).collect();
    match found[..] {
        [one, other] if !same(one, other) => Err(format!(
            "`{path}` is a file from the root and from the folder `{0}`; set the modality's \
             `folder: .` for the first, or write {0}/ before the paths",
            source.folder
        )),
        _ => Ok(found.first().map(|place| (*place).clone())),
    }
}

fn same(one: &Path, other: &Path) -> bool {
    let real = |path| fs_err::canonicalize(path).ok();
    real(one) == real(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_separated_as_the_line_separates_them() {
        assert_eq!(cells("/a/b.jpg /a/c.png 518.8579"), ["/a/b.jpg", "/a/c.png", "518.8579"]);
        assert_eq!(cells("a b.jpg,c.png"), ["a b.jpg", "c.png"]);
        assert_eq!(cells("\"a,b\"\tc , d"), ["a,b", "c , d"]);
        assert_eq!(cells("a;b"), ["a", "b"]);
    }

    #[test]
    fn samples_are_named_by_the_first_file() {
        let root = Path::new("/data");
        let id = |cell, source| id_of(&below_root(root, cell), &FileSource::parse(source));
        assert_eq!(id("/kitchen/rgb_1.jpg", "rgb_*"), "kitchen/1");
        assert_eq!(id("rgb/1305.175.png", "rgb"), "1305.175");
        assert_eq!(id("/data/rgb/7.png", "rgb"), "7");
        assert_eq!(id("data\\train\\1.jpg", "."), "data/train/1");
        assert_eq!(id("./x", "rgb"), "x");
    }
}
