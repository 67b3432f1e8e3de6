//! The files of one class: in a folder, or in a tar.

use std::collections::BTreeMap;
use std::io::{Read, copy};
use std::path::{Path, PathBuf};

use multimae_data::{EXTENSIONS, is_stray};
use multimae_io::atomic::AtomicFile;
use multimae_io::placed::link_or_copy;
use tar::Archive;

use crate::source_files;
use crate::{Error, Result};

/// The files of a class for one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Files {
    /// Loose files.
    Folder(PathBuf),
    /// Members of a tar.
    Tar(PathBuf),
}

/// The names of files by their stems, with their sizes.
pub(super) type Members = BTreeMap<String, (String, u64)>;

impl Files {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Tar(path) => path,
        }
    }

    /// The files of pictures; headers of a tar are read, contents are not.
    ///
    /// # Errors
    /// [`Error::Input`] if the tar is damaged or has a stem twice; [`Error::Io`].
    pub(super) fn members(&self) -> Result<Members> {
        let mut members = Members::new();
        let mut add = |name: &str, bytes: u64| {
            let Some((stem, extension)) = name.rsplit_once('.') else { return Ok(()) };
            if !EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)) {
                return Ok(());
            }
            match members.insert(stem.to_owned(), (name.to_owned(), bytes)) {
                None => Ok(()),
                Some(_) => Err(self.input(format!("it has `{stem}` twice"))),
            }
        };
        match self {
            Self::Folder(path) => {
                for file in source_files::files(path)? {
                    add(&file.name, file.bytes)?;
                }
            }
            Self::Tar(path) => {
                let mut archive = open(path)?;
                for entry in archive.entries_with_seek().map_err(|error| self.damaged(&error))? {
                    let entry = entry.map_err(|error| self.damaged(&error))?;
                    if let Some(name) = member_name(&entry) {
                        add(&name, entry.size())?;
                    }
                }
            }
        }
        Ok(members)
    }

    /// Brings the wanted files into a folder: links of loose files, contents of members. A file of the
    /// right size is not written again.
    ///
    /// # Errors
    /// [`Error::Input`] if the tar is damaged; [`Error::Io`].
    pub(super) fn place(&self, wanted: &Members, folder: &Path) -> Result<()> {
        let is_there = |name: &str, bytes: u64| {
            fs_err::metadata(folder.join(name))
                .is_ok_and(|file| file.is_file() && file.len() == bytes)
        };
        let missing: BTreeMap<&str, u64> = wanted
            .values()
            .map(|(name, bytes)| (name.as_str(), *bytes))
            .filter(|(name, bytes)| !is_there(name, *bytes))
            .collect();
        match self {
            _ if missing.is_empty() => {}
            Self::Folder(path) => {
                for name in missing.keys() {
                    link_or_copy(&path.join(name), &folder.join(name))?;
                }
            }
            Self::Tar(path) => {
                let mut archive = open(path)?;
                for entry in archive.entries().map_err(|error| self.damaged(&error))? {
                    let mut entry = entry.map_err(|error| self.damaged(&error))?;
                    let name =
                        member_name(&entry).filter(|name| missing.contains_key(name.as_str()));
                    if let Some(name) = name {
                        self.unpack(&mut entry, &folder.join(name))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn unpack(&self, entry: &mut tar::Entry<'_, impl Read>, path: &Path) -> Result<()> {
        let size = entry.size();
        let mut file = AtomicFile::create(path)?;
        let copied = copy(entry, &mut file).map_err(|error| self.damaged(&error))?;
        if copied != size {
            return Err(
                self.input(format!("it ends inside of {}; download it again", path.display()))
            );
        }
        // Millions of files: the size in the tar tells later whether one is whole.
        Ok(file.commit_later()?)
    }

    fn input(&self, problem: String) -> Error {
        Error::Input { path: self.path().to_owned(), problem }
    }

    fn damaged(&self, error: &std::io::Error) -> Error {
        self.input(format!("it is damaged or no plain tar; download it again ({error})"))
    }
}

fn open(path: &Path) -> Result<Archive<fs_err::File>> {
    let mut file = fs_err::File::open(path)?;
    let mut start = [0; 2];
    let is_gzip = file.read_exact(&mut start).is_ok() && start == [0x1f, 0x8b];
    if is_gzip {
        let problem = "it is compressed; unpack it with `gunzip` first".to_owned();
        return Err(Error::Input { path: path.to_owned(), problem });
    }
    Ok(Archive::new(fs_err::File::open(path)?))
}

/// The name of a member that is a file, without its folders; `None` of others.
fn member_name(entry: &tar::Entry<'_, impl Read>) -> Option<String> {
    if !entry.header().entry_type().is_file() {
        return None;
    }
    let path = entry.path().ok()?;
    let name = path.file_name()?.to_str()?;
    (!is_stray(name)).then(|| name.to_owned())
}
