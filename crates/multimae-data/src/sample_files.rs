//! The files of a data set that is written in another form, wherever they are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::arena::StringArena;
use crate::decode::{self, Problem};
use crate::file_source::FileSource;
use crate::files::{Files, texts};
use crate::{Error, PairingProblems, Result};

/// The files of a data set by sample and folder, both by their places.
pub(crate) trait SampleFiles: Sync {
    /// The place of the data set.
    fn root(&self) -> &Path;

    /// The ids of the samples that have a file in any of the folders, sorted.
    fn ids(&self) -> &StringArena;

    /// The file of a sample in a folder, if there is one.
    ///
    /// # Errors
    /// If the format of the file is not certain; [`Error::Io`].
    fn file(&self, sample: usize, folder: usize) -> Result<Option<SampleFile>>;

    /// The state of a file that is there.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn state(&self, sample: usize, folder: usize) -> Result<SampleFileState>;

    /// The bytes of a file that is there.
    ///
    /// # Errors
    /// The problem.
    fn read(&self, sample: usize, folder: usize) -> Result<Vec<u8>, Problem>;

    /// The lists of samples: names without `.txt`, and the bytes of their texts.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn lists(&self) -> Result<Vec<(String, Vec<u8>)>>;

    /// Files that are no images or arrays, and [stray](crate::is_stray) files and folders.
    fn passed_over(&self) -> (usize, usize) {
        (0, 0)
    }
}

/// The file of a sample in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SampleFile {
    /// The file, or the one that holds it, for messages.
    pub(crate) path: PathBuf,
    /// As the file has it.
    pub(crate) extension: String,
}

/// The state of a file by which an outdated copy is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SampleFileState {
    /// Bytes; `None` of a file that has to be encoded first.
    pub(crate) len: Option<u64>,
    /// The last change, of the file or of the one that holds it.
    pub(crate) modified: SystemTime,
}

/// The files in folders.
pub(crate) struct FolderFiles {
    root: PathBuf,
    /// In the order of the folders.
    pub(crate) files: Vec<Files>,
    ids: StringArena,
    pub(crate) lists: Vec<PathBuf>,
}

impl FolderFiles {
    /// The files of folders, or of patterns of names, below `root`.
    ///
    /// # Errors
    /// [`Error::MissingFolder`]; [`Error::Pairing`] if several files have the same name, or there is
    /// none; [`Error::Io`].
    pub(crate) fn find(root: &Path, folders: &[&str]) -> Result<Self> {
        let mut problems = PairingProblems::default();
        let mut files = Vec::new();
        for folder in folders {
            let source = FileSource::parse(folder);
            let path = root.join(&source.folder);
            if !path.is_dir() {
                return Err(Error::MissingFolder { modality: (*folder).to_owned(), path });
            }
            let found = source.files(root)?;
            let several = found.usable.values().filter(|paths| paths.len() > 1);
            let several: Vec<PathBuf> = several.flatten().cloned().collect();
            if !several.is_empty() {
                problems.ambiguous.insert((*folder).to_owned(), several);
            }
            files.push(found);
        }
        let ids: BTreeSet<&String> = files.iter().flat_map(|files| files.usable.keys()).collect();
        problems.empty = ids.is_empty();
        if !problems.is_empty() {
            let problems = Box::new(problems);
            return Err(Error::Pairing { root: root.to_owned(), problems });
        }
        let ids = ids.into_iter().collect();
        let lists = texts(root)?;
        Ok(Self { root: root.to_owned(), files, ids, lists })
    }

    fn path(&self, sample: usize, folder: usize) -> Option<&Path> {
        let files = &self.files.get(folder)?.usable;
        files.get(self.ids.get(sample))?.first().map(PathBuf::as_path)
    }

    fn known_path(&self, sample: usize, folder: usize) -> std::io::Result<&Path> {
        let path = self.path(sample, folder);
        path.ok_or_else(|| std::io::Error::other("a sample has no file in this folder"))
    }
}

impl SampleFiles for FolderFiles {
    fn root(&self) -> &Path {
        &self.root
    }

    fn ids(&self) -> &StringArena {
        &self.ids
    }

    fn file(&self, sample: usize, folder: usize) -> Result<Option<SampleFile>> {
        Ok(self.path(sample, folder).map(|path| SampleFile {
            path: path.to_owned(),
            extension: path.extension().unwrap_or_default().to_string_lossy().into_owned(),
        }))
    }

    fn state(&self, sample: usize, folder: usize) -> Result<SampleFileState> {
        let metadata = fs_err::metadata(self.known_path(sample, folder)?)?;
        Ok(SampleFileState { len: Some(metadata.len()), modified: metadata.modified()? })
    }

    fn read(&self, sample: usize, folder: usize) -> Result<Vec<u8>, Problem> {
        decode::contents(self.known_path(sample, folder).map_err(|error| error.to_string())?)
    }

    fn lists(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let list = |path: &PathBuf| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Ok((name, fs_err::read(path)?))
        };
        self.lists.iter().map(list).collect()
    }

    fn passed_over(&self) -> (usize, usize) {
        let unsupported = self.files.iter().flat_map(|files| files.unsupported.values()).count();
        (unsupported, self.files.iter().map(|files| files.stray).sum())
    }
}
