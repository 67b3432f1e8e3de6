//! The files of a published data set, as they lie in its folders.

use std::path::{Path, PathBuf};

use md5::{Digest, Md5};
use multimae_data::is_stray;
use serde_json::{Value, json};

use crate::{Error, Result, checksum};

/// A file of a published data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceFile {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

impl SourceFile {
    /// The name without its last extension, and that extension in lower case.
    pub(crate) fn stem(&self) -> (&str, String) {
        let (stem, extension) = self.name.rsplit_once('.').unwrap_or((&self.name, ""));
        (stem, extension.to_ascii_lowercase())
    }
}

/// The files right below a folder, by name. Hidden ones and those of operating systems are left
/// out.
pub(crate) fn files(folder: &Path) -> Result<Vec<SourceFile>> {
    let mut found = Vec::new();
    for (name, path) in entries(folder)? {
        let metadata = fs_err::metadata(&path)?;
        if metadata.is_file() {
            found.push(SourceFile { name, path, bytes: metadata.len() });
        }
    }
    Ok(found)
}

/// The folders right below a folder, by name.
pub(crate) fn folders(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = entries(folder)?;
    found.retain(|(_, path)| path.is_dir());
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| Error::Input {
            path: path.clone(),
            problem: "its name is not valid UTF-8; rename it".to_owned(),
        })?;
        if !is_stray(name) {
            found.push((name.to_owned(), path));
        }
    }
    found.sort();
    Ok(found)
}

/// The number, the size and a digest of many files. The contents are not read: the digest is over
/// names and sizes, by which a changed source is noticed.
#[derive(Debug, Default, Clone)]
pub(crate) struct Listing {
    files: u64,
    bytes: u64,
    digest: Md5,
}

impl Listing {
    /// Adds a file under a name that does not depend on the place of the data set.
    pub(crate) fn add(&mut self, name: &str, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
        self.digest.update(name.as_bytes());
        self.digest.update([0]);
        self.digest.update(bytes.to_le_bytes());
    }

    /// The entry of a manifest.
    pub(crate) fn entry(&self) -> Value {
        json!({
            "files": self.files,
            "bytes": self.bytes,
            "md5_of_names_and_sizes": checksum::hexadecimal(self.digest.clone()),
        })
    }
}

/// The entry of a manifest for a small text or table that the result depends on: its name and MD5.
pub(crate) fn text_entry(path: &Path, bytes: &[u8]) -> Value {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    json!({ "file": file, "md5": checksum::of_bytes(bytes) })
}

/// A folder of a data set, whether the data set itself or the folder that contains it is given.
pub(crate) fn inside(given: &Path, name: &str, mark: &str) -> Option<PathBuf> {
    [given.to_owned(), given.join(name)].into_iter().find(|folder| folder.join(mark).exists())
}

/// Some names of many, for a message.
pub(crate) fn some_of<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(SHOWN);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{rest}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_depend_on_names_and_sizes() {
        let entry = |files: &[(&str, u64)]| {
            let mut listing = Listing::default();
            files.iter().for_each(|(name, bytes)| listing.add(name, *bytes));
            listing.entry()
        };
        let before = entry(&[("a", 1), ("b", 2)]);
        assert_eq!((&before["files"], &before["bytes"]), (&json!(2), &json!(3)));
        for other in [entry(&[("a", 2), ("b", 1)]), entry(&[("a", 1), ("c", 2)])] {
            assert_ne!(before["md5_of_names_and_sizes"], other["md5_of_names_and_sizes"]);
        }
    }

    #[test]
    fn few_of_many_are_named() {
        assert_eq!(some_of(&["a", "b"]), "a, b");
        assert_eq!(some_of(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }
}
