//! All files below the folder of one modality.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::decode::EXTENSIONS;
use crate::{DataModality, Error, Result};

/// The files of one modality by sample id: the path below its folder without the extension, with
/// `/` between the parts.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Files that can be read. More than one for an id is a problem.
    pub(crate) usable: BTreeMap<String, Vec<PathBuf>>,
    /// Files with other extensions.
    pub(crate) unsupported: BTreeMap<String, Vec<PathBuf>>,
}

impl Files {
    pub(crate) fn find(root: &Path, modality: &DataModality) -> Result<Self> {
        let folder = root.join(&modality.folder);
        if !folder.is_dir() {
            return Err(Error::MissingFolder { modality: modality.name.clone(), path: folder });
        }
        Self::below(&folder)
    }

    /// All files below a folder.
    pub(crate) fn below(folder: &Path) -> Result<Self> {
        let mut files = Self::default();
        files.walk(folder, "", &mut vec![fs_err::canonicalize(folder)?])?;
        Ok(files)
    }

    /// `parents` are the real paths of the folders that we are in: a link back to one of them
    /// would never end.
    fn walk(&mut self, folder: &Path, prefix: &str, parents: &mut Vec<PathBuf>) -> Result<()> {
        for entry in fs_err::read_dir(folder)? {
            let path = entry?.path();
            let name = name(&path)?;
            if name.starts_with('.') {
                continue;
            }
            if !fs_err::metadata(&path)?.is_dir() {
                self.add(prefix, name, &path);
                continue;
            }
            let real = fs_err::canonicalize(&path)?;
            if parents.contains(&real) {
                let problem = "this link leads back to a folder above it; remove it".to_owned();
                return Err(Error::File { path, problem });
            }
            parents.push(real);
            self.walk(&path, &format!("{prefix}{name}/"), parents)?;
            parents.pop();
        }
        Ok(())
    }

    fn add(&mut self, prefix: &str, name: &str, path: &Path) {
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let usable = EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension));
        let files = if usable { &mut self.usable } else { &mut self.unsupported };
        files.entry(format!("{prefix}{stem}")).or_default().push(path.to_owned());
    }
}

fn name(path: &Path) -> Result<&str> {
    path.file_name().and_then(|name| name.to_str()).ok_or_else(|| Error::File {
        path: path.to_owned(),
        problem: "its name is not valid UTF-8; rename it".to_owned(),
    })
}
