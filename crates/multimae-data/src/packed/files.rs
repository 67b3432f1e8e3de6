//! The files of a pack, to be written in another form.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Content;
use super::folders::PackFolder;
use super::index::Form;
use super::reader::Pack;
use crate::arena::StringArena;
use crate::decode::Problem;
use crate::frame_file;
use crate::sample_files::{SampleFile, SampleFileState, SampleFiles};
use crate::{Error, Result};

/// The files of some folders of a pack: those of encoded folders as they are, decoded frames as
/// images or arrays of the same values.
pub(crate) struct PackFiles {
    pack: Pack,
    /// Places of the folders.
    folders: Vec<usize>,
    /// Places of the samples.
    samples: Vec<usize>,
    ids: StringArena,
    modified: SystemTime,
}

impl PackFiles {
    /// # Errors
    /// Those of [`Pack::open`]; [`Error::Pack`] if there is no such folder, or no sample in any.
    pub(crate) fn open(root: &Path, folders: &[&str]) -> Result<Self> {
        let pack = Pack::open(root)?;
        let error = |problem| Error::Pack { path: root.to_owned(), problem };
        let place = |name: &&str| {
            pack.folder(name).map(|(place, _)| place).ok_or_else(|| {
                let names: Vec<&str> = pack.folders().into_iter().map(|(name, ..)| name).collect();
                error(format!("it has no folder `{name}`, but {}", names.join(", ")))
            })
        };
        let folders = folders.iter().map(place).collect::<Result<Vec<usize>>>()?;
        let has = |sample: usize| folders.iter().any(|&f| pack.index.record(sample, f).is_some());
        let samples: Vec<usize> = (0..pack.samples()).filter(|&sample| has(sample)).collect();
        if samples.is_empty() {
            return Err(error("no sample is in any of the folders".to_owned()));
        }
        let ids = samples.iter().map(|&sample| pack.id(sample)).collect();
        let modified = fs_err::metadata(root)?.modified()?;
        Ok(Self { pack, folders, samples, ids, modified })
    }

    fn form(&self, sample: usize, folder: usize) -> Option<(&Form, u64)> {
        let index = &self.pack.index;
        let record = index.record(*self.samples.get(sample)?, *self.folders.get(folder)?)?;
        Some((index.forms.get(record.form as usize)?, record.len))
    }
}

impl SampleFiles for PackFiles {
    fn root(&self) -> &Path {
        self.pack.path()
    }

    fn ids(&self) -> &StringArena {
        &self.ids
    }

    fn file(&self, sample: usize, folder: usize) -> Result<Option<SampleFile>> {
        let extension = |form: &Form| match form {
            Form::File(extension) => extension.clone(),
            Form::Values(shape) => {
                frame_file::extension(&shape.info, &shape.values.values(Vec::new())).to_owned()
            }
        };
        let path: PathBuf = self.pack.path().to_owned();
        let form = self.form(sample, folder);
        Ok(form.map(|(form, _)| SampleFile { path, extension: extension(form) }))
    }

    fn state(&self, sample: usize, folder: usize) -> Result<SampleFileState> {
        let len = match self.form(sample, folder) {
            Some((Form::File(_), len)) => Some(len),
            _ => None,
        };
        Ok(SampleFileState { len, modified: self.modified })
    }

    fn read(&self, sample: usize, folder: usize) -> Result<Vec<u8>, Problem> {
        let places = self.samples.get(sample).zip(self.folders.get(folder));
        let (&sample, &folder) = places.ok_or("the pack has no such frame")?;
        self.pack.file(sample, folder)
    }

    fn lists(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let lists = self.pack.index.lists.iter();
        Ok(lists.map(|(name, text)| (name.clone(), text.clone().into_bytes())).collect())
    }
}

impl Pack {
    /// Its folders as those of a pack to be written.
    pub(crate) fn pack_folders(&self) -> Vec<PackFolder> {
        let folder = |(name, content, _): (&str, Content, usize)| {
            PackFolder::of_any(name.to_owned(), content)
        };
        self.folders().into_iter().map(folder).collect()
    }
}
