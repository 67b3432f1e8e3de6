//! Reading packs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::Content;
use super::format::{FRAMES, HEADER_LEN, Header};
use super::frames::FrameFile;
use super::index::{FolderEntry, Form, Index};
use super::index_v1;
use super::slot::{PackedFrame, Slot};
use crate::decode::Problem;
use crate::files::Files;
use crate::frame_file;
use crate::names::plain_folder;
use crate::{DataModality, Error, Orientation, Result};

/// A packed data set, open for reading.
pub struct Pack {
    path: PathBuf,
    pub(super) file: FrameFile,
    pub(super) index: Index,
    /// The frames and files whose checksums were found to be right, by sample and folder.
    checked: Vec<AtomicBool>,
}

/// The stored form of a modality of a sample.
pub(crate) enum PackedPart<'a> {
    /// Decoded values.
    Frame(PackedFrame<'a>),
    /// The bytes of a file.
    File(Vec<u8>),
}

/// A frame whose bytes are not those that were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// The sample.
    pub sample: String,
    /// The folder.
    pub folder: String,
    /// The problem.
    pub problem: String,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sample `{}`, {}: {}", self.sample, self.folder, self.problem)
    }
}

impl Pack {
    /// Opens a pack and checks its index. Frames are not read yet.
    ///
    /// # Errors
    /// [`Error::Pack`] if the file is no pack, not whole, damaged, or of another version;
    /// [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let error = |problem| Error::Pack { path: path.to_owned(), problem };
        let file = FrameFile::open(path)?;
        let mut start = vec![0; HEADER_LEN.min(usize::try_from(file.len()).unwrap_or(HEADER_LEN))];
        file.read(&mut start, 0)?;
        let header = Header::parse(&start, file.len()).map_err(error)?;
        let mut bytes = vec![0; usize::try_from(header.index_len).unwrap_or(usize::MAX)];
        file.read(&mut bytes, header.index_offset)?;
        if crc32fast::hash(&bytes) != header.index_crc {
            return Err(error("its index is damaged (wrong checksum); pack again".to_owned()));
        }
        let index = match header.version {
            FRAMES => index_v1::parse(&bytes),
            _ => Index::parse(&bytes),
        };
        let index = index.map_err(error)?;
        index.check(header.index_offset).map_err(error)?;
        let checked = index.records.iter().map(|_| AtomicBool::new(false)).collect();
        Ok(Self { path: path.to_owned(), file, index, checked })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.file.len()
    }

    /// The number of samples.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.index.ids.len()
    }

    /// The folders, what their files were read as, and the numbers of their frames or files.
    #[must_use]
    pub fn folders(&self) -> Vec<(&str, Content, usize)> {
        let folders = self.index.folders.iter().enumerate();
        folders
            .map(|(at, folder)| (folder.name.as_str(), folder.content, self.index.count(at)))
            .collect()
    }

    /// Whether a folder holds the files as they are, which the modality that reads them decodes, in
    /// place of decoded frames.
    #[must_use]
    pub fn is_encoded(&self, folder: &str) -> bool {
        self.folder(folder).is_some_and(|(_, folder)| folder.encoded)
    }

    /// Whether all folders hold the files as they are.
    pub(crate) fn keeps_files(&self) -> bool {
        self.index.folders.iter().all(|folder| folder.encoded)
    }

    /// The names of the lists.
    #[must_use]
    pub fn lists(&self) -> Vec<&str> {
        self.index.lists.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Whether it has a folder.
    #[must_use]
    pub fn has_folder(&self, folder: &str) -> bool {
        self.folder(folder).is_some()
    }

    /// The text of a list.
    pub(crate) fn list(&self, split: &str) -> Result<&str> {
        let found = self.index.lists.iter().find(|(name, _)| name == split);
        found.map(|(_, text)| text.as_str()).ok_or_else(|| {
            let lists = self.lists();
            let has = if lists.is_empty() { "none".to_owned() } else { lists.join(", ") };
            self.error(format!("it has no list {split}.txt; its lists: {has}"))
        })
    }

    /// The frames of a modality by the ids of their samples; the paths are empty.
    pub(crate) fn files(&self, modality: &DataModality) -> Result<Files> {
        let wanted = Content::of(&modality.encoding);
        let Some((at, folder)) = self.folder(&modality.source()) else {
            let holds: Vec<&str> = self.index.folders.iter().map(|f| f.name.as_str()).collect();
            return Err(self.error(format!(
                "modality `{}` needs folder `{}`, and it holds {}; pack again with that folder",
                modality.name,
                modality.source(),
                holds.join(", ")
            )));
        };
        if folder.encoded {
            return Ok(self.ids_of(at));
        }
        if !folder.content.serves(wanted) {
            return Err(self.error(format!(
                "folder `{}` was packed as {}, and modality `{}` reads it as {}; pack again, with \
                 the recipe or with --kind {}=...",
                folder.name,
                folder.content.words(),
                modality.name,
                wanted.words(),
                folder.name
            )));
        }
        self.check_orientation(at, modality)?;
        Ok(self.ids_of(at))
    }

    /// The ids of the samples that are in a folder.
    fn ids_of(&self, folder: usize) -> Files {
        let mut files = Files::default();
        for (sample, id) in self.index.ids.iter().enumerate() {
            if self.index.record(sample, folder).is_some() {
                files.usable.insert(id.to_owned(), vec![PathBuf::new()]);
            }
        }
        files
    }

    /// Checks that files with an EXIF orientation were packed as a modality reads them.
    fn check_orientation(&self, folder: usize, modality: &DataModality) -> Result<()> {
        let packed = self.index.oriented.get(folder).copied().unwrap_or_default();
        if packed.files == 0 {
            return Ok(());
        }
        if packed.rule.is_applied() && modality.has_directions() {
            return Err(self.error(format!(
                "{} files of folder `{}` carry an EXIF orientation and were turned by it, and \
                 modality `{}` holds directions, whose vectors would have to be turned, too; save \
                 these files upright and pack again",
                packed.files,
                modality.source(),
                modality.name
            )));
        }
        if packed.rule == modality.orientation {
            return Ok(());
        }
        Err(self.error(format!(
            "{} files of folder `{}` carry an EXIF orientation and were packed with `orientation: \
             {}`, and modality `{}` says `orientation: {}`; change the modality, or pack again{}",
            packed.files,
            modality.source(),
            packed.rule.word(),
            modality.name,
            modality.orientation.word(),
            match modality.orientation {
                Orientation::Ignore => format!(" with --ignore-orientation {}", modality.source()),
                Orientation::Apply => String::new(),
            }
        )))
    }

    /// The id of a sample; empty if there is no such sample.
    pub(crate) fn id(&self, sample: usize) -> &str {
        self.index.ids.get(sample)
    }

    /// The place of a sample.
    pub(crate) fn sample(&self, id: &str) -> Option<usize> {
        self.index.ids.find(id)
    }

    /// A frame that is not yet read, or the bytes of a file.
    ///
    /// # Errors
    /// If it is not there, or the bytes of the file are damaged.
    pub(crate) fn part(&self, sample: usize, folder: &str) -> Result<PackedPart<'_>, Problem> {
        let missing = || format!("the pack has no such frame in `{folder}`");
        let (at, _) = self.folder(folder).ok_or_else(missing)?;
        let slot = self.slot(sample, at).ok_or_else(missing)?;
        Ok(match self.index.forms.get(slot.record.form as usize) {
            Some(Form::Values(shape)) => PackedPart::Frame(PackedFrame { slot, shape: *shape }),
            _ => PackedPart::File(slot.read_all()?),
        })
    }

    /// The bytes of a file, or of one that decodes to a frame.
    ///
    /// # Errors
    /// If it is not there, damaged, or cannot be encoded.
    pub(super) fn file(&self, sample: usize, folder: usize) -> Result<Vec<u8>, Problem> {
        let slot = self.slot(sample, folder).ok_or("the pack has no such frame")?;
        match self.index.forms.get(slot.record.form as usize) {
            Some(Form::Values(shape)) => {
                frame_file::encode(&PackedFrame { slot, shape: *shape }.read_all()?)
            }
            _ => slot.read_all(),
        }
    }

    /// Bytes of a frame or file, and of a frame the checksum, if there is one.
    pub(crate) fn size(&self, sample: usize, folder: &str) -> Option<(u64, u32)> {
        let (at, folder) = self.folder(folder)?;
        let record = self.index.record(sample, at)?;
        Some((record.len, if folder.encoded { 0 } else { record.crc }))
    }

    fn slot(&self, sample: usize, folder: usize) -> Option<Slot<'_>> {
        let entry = self.index.folders.get(folder)?;
        let record = self.index.record(sample, folder)?;
        let checked = self.checked.get(sample * self.index.folders.len() + folder)?;
        Some(Slot { file: &self.file, folder: entry, record, checked })
    }

    /// Reads all frames and compares their checksums. `progress` gets the frames done and in all.
    ///
    /// # Errors
    /// [`Error::Io`] does not occur for single frames: those are among the damaged ones.
    pub fn verify(
        &self,
        mut progress: impl FnMut(u64, u64),
        stop: &AtomicBool,
    ) -> Result<Vec<Damaged>> {
        let total = self.folders().iter().map(|(_, _, frames)| *frames as u64).sum();
        let (mut done, mut damaged) = (0, Vec::new());
        for (place, sample) in self.index.ids.iter().enumerate() {
            for (at, folder) in self.index.folders.iter().enumerate() {
                let Some(slot) = self.slot(place, at) else { continue };
                if stop.load(Ordering::Relaxed) {
                    return Err(self.error("stopped before all frames were checked".to_owned()));
                }
                if let Err(problem) = slot.read_all() {
                    let (sample, folder) = (sample.to_owned(), folder.name.clone());
                    damaged.push(Damaged { sample, folder, problem });
                }
                done += 1;
                progress(done, total);
            }
        }
        Ok(damaged)
    }

    /// The place of a folder, and the folder.
    pub(super) fn folder(&self, name: &str) -> Option<(usize, &FolderEntry)> {
        let plain = plain_folder(name);
        self.index.folders.iter().enumerate().find(|(_, folder)| folder.name == plain)
    }

    fn error(&self, problem: String) -> Error {
        Error::Pack { path: self.path.clone(), problem }
    }
}

impl fmt::Debug for Pack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pack")
            .field("path", &self.path)
            .field("samples", &self.samples())
            .field("folders", &self.index.folders)
            .finish_non_exhaustive()
    }
}
