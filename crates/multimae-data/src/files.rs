//! All files below the folder of one modality.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::extensions::stem_of;
use crate::names::{composed, is_stray};
use crate::{DataModality, Error, Naming, Result};

/// The files of one modality by sample id: the path below its folder without the extension and what
/// its [`Naming`] strips, with `/` between the parts, in composed Unicode (NFC).
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Files that can be read. More than one for an id is a problem.
    pub(crate) usable: BTreeMap<String, Vec<PathBuf>>,
    /// Files with other extensions.
    pub(crate) unsupported: BTreeMap<String, Vec<PathBuf>>,
    /// [Stray](is_stray) files and folders, which are left out.
    pub(crate) stray: usize,
}

impl Files {
    pub(crate) fn find(root: &Path, modality: &DataModality) -> Result<Self> {
        let folder = root.join(&modality.folder);
        if !folder.is_dir() {
            return Err(Error::MissingFolder { modality: modality.name.clone(), path: folder });
        }
        Self::named(&folder, &modality.naming)
    }

    /// All files below a folder.
    pub(crate) fn below(folder: &Path) -> Result<Self> {
        Self::named(folder, &Naming::default())
    }

    /// The files below a folder that a rule names.
    pub(crate) fn named(folder: &Path, naming: &Naming) -> Result<Self> {
        let mut files = Self::default();
        files.walk(folder, "", naming, &mut vec![fs_err::canonicalize(folder)?])?;
        Ok(files)
    }

    /// `parents` are the real paths of the folders that we are in: a link back to one of them
    /// would never end.
    fn walk(
        &mut self,
        folder: &Path,
        prefix: &str,
        naming: &Naming,
        parents: &mut Vec<PathBuf>,
    ) -> Result<()> {
        for entry in fs_err::read_dir(folder)? {
            let path = entry?.path();
            let name = name(&path)?;
            if is_stray(name) {
                self.stray += 1;
                continue;
            }
            if !fs_err::metadata(&path)?.is_dir() {
                if let Some(key) = naming.key(name) {
                    self.add(&format!("{prefix}{key}"), path);
                }
                continue;
            }
            let real = fs_err::canonicalize(&path)?;
            if parents.contains(&real) {
                let problem = "this link leads back to a folder above it; remove it".to_owned();
                return Err(Error::File { path, problem });
            }
            parents.push(real);
            self.walk(&path, &format!("{prefix}{name}/"), naming, parents)?;
            parents.pop();
        }
        Ok(())
    }

    /// Adds a file of a sample.
    pub(crate) fn add(&mut self, id: &str, path: PathBuf) {
        let usable = stem_of(&path.to_string_lossy()).is_some();
        let files = if usable { &mut self.usable } else { &mut self.unsupported };
        files.entry(composed(id)).or_default().push(path);
    }
}

/// The folders right below a folder, sorted, with their names. Stray ones are left out.
pub(crate) fn subfolders(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !is_stray(&name) && fs_err::metadata(&path)?.is_dir() {
            found.push((name, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The text files right below a folder, sorted, which may be lists. Stray ones are left out.
pub(crate) fn texts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut lists = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = path.extension().is_some_and(|extension| extension == "txt");
        if text && !is_stray(&name) && path.is_file() {
            lists.push(path);
        }
    }
    lists.sort();
    Ok(lists)
}

fn name(path: &Path) -> Result<&str> {
    path.file_name().and_then(|name| name.to_str()).ok_or_else(|| Error::File {
        path: path.to_owned(),
        problem: "its name is not valid UTF-8; rename it".to_owned(),
    })
}
