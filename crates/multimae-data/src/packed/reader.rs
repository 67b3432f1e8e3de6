//! Reading packs.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::Content;
use super::format::{HEADER_LEN, Header};
use super::frames::FrameFile;
use super::index::{FolderEntry, FrameRecord, Index, Shape};
use crate::decode::{self, Frame, FrameInfo, Order, Pixels, Problem};
use crate::files::Files;
use crate::modality::LabelRule;
use crate::names::{composed, plain_folder};
use crate::resize::CropBox;
use crate::{DataModality, Encoding, Error, Orientation, RawMap, Result};

/// A packed data set, open for reading.
pub struct Pack {
    path: PathBuf,
    file: FrameFile,
    pub(super) index: Index,
    places: HashMap<String, usize>,
    /// The frames whose checksums were found to be right, by sample and folder.
    checked: Vec<AtomicBool>,
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
        let index = Index::parse(&bytes, header.index_offset).map_err(error)?;
        let places = index
            .samples
            .iter()
            .enumerate()
            .map(|(at, sample)| (composed(&sample.id), at))
            .collect();
        let frames = index.samples.len() * index.folders.len();
        let checked = (0..frames).map(|_| AtomicBool::new(false)).collect();
        Ok(Self { path: path.to_owned(), file, index, places, checked })
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
        self.index.samples.len()
    }

    /// The folders, what their files were read as, and how many frames they have.
    #[must_use]
    pub fn folders(&self) -> Vec<(&str, Content, usize)> {
        let frames = |at: usize| {
            self.index.samples.iter().filter(|sample| sample.frames[at].is_some()).count()
        };
        let folders = self.index.folders.iter().enumerate();
        folders.map(|(at, folder)| (folder.name.as_str(), folder.content, frames(at))).collect()
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
        let mut files = Files::default();
        for sample in self.index.samples.iter().filter(|sample| sample.frames[at].is_some()) {
            files.usable.insert(composed(&sample.id), vec![PathBuf::new()]);
        }
        Ok(files)
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

    /// A frame, not yet read.
    pub(crate) fn frame(&self, id: &str, folder: &str) -> Result<PackedFrame<'_>, Problem> {
        let missing = || format!("the pack has no such frame in `{folder}`");
        let (at, folder_entry) = self.folder(folder).ok_or_else(missing)?;
        let place = *self.places.get(id).ok_or_else(missing)?;
        self.frame_at(place, at, folder_entry).ok_or_else(missing)
    }

    /// Bytes and checksum of a frame, if there is one.
    pub(crate) fn frame_size(&self, id: &str, folder: &str) -> Option<(u64, u32)> {
        let (at, _) = self.folder(folder)?;
        let record = (*self.index.samples.get(*self.places.get(id)?)?.frames.get(at)?)?;
        let shape = self.index.shapes.get(record.shape as usize)?;
        Some((shape.len()?, record.crc))
    }

    fn frame_at<'a>(
        &'a self,
        sample: usize,
        folder: usize,
        entry: &'a FolderEntry,
    ) -> Option<PackedFrame<'a>> {
        let record = self.index.samples[sample].frames[folder]?;
        let shape = *self.index.shapes.get(record.shape as usize)?;
        let checked = &self.checked[sample * self.index.folders.len() + folder];
        Some(PackedFrame { pack: self, folder: entry, record, shape, checked })
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
        for (place, sample) in self.index.samples.iter().enumerate() {
            for (at, folder) in self.index.folders.iter().enumerate() {
                let Some(frame) = self.frame_at(place, at, folder) else { continue };
                if stop.load(Ordering::Relaxed) {
                    return Err(self.error("stopped before all frames were checked".to_owned()));
                }
                if let Err(problem) = frame.read_all() {
                    let (sample, folder) = (sample.id.clone(), folder.name.clone());
                    damaged.push(Damaged { sample, folder, problem });
                }
                done += 1;
                progress(done, total);
            }
        }
        Ok(damaged)
    }

    fn folder(&self, name: &str) -> Option<(usize, &FolderEntry)> {
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

/// A frame of a pack, not yet read.
pub(crate) struct PackedFrame<'a> {
    pack: &'a Pack,
    folder: &'a FolderEntry,
    record: FrameRecord,
    shape: Shape,
    checked: &'a AtomicBool,
}

impl PackedFrame<'_> {
    /// Height and width.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.shape.info.height, self.shape.info.width)
    }

    /// Returns the values of a window. Reads no more than the rows of the window, unless the frame
    /// has to be checked.
    pub(crate) fn window(
        self,
        modality: &DataModality,
        window: CropBox,
    ) -> Result<RawMap, Problem> {
        let encoding = &modality.encoding;
        if self.checked.load(Ordering::Relaxed) && self.is_allowed(encoding) {
            let frame = self.read_rows(window.top, window.height)?;
            decode::check_kind(&frame, encoding, &modality.rules)?;
            return decode::convert(frame, modality, CropBox { top: 0, ..window });
        }
        let frame = self.read_all()?;
        decode::check_kind(&frame, encoding, &modality.rules)?;
        if !self.is_allowed(encoding) {
            decode::check_values(&frame, encoding)?;
        }
        decode::convert(frame, modality, window)
    }

    /// Whether it is known that all values are possible; any number is.
    fn is_allowed(&self, encoding: &Encoding) -> bool {
        match (encoding, &self.folder.labels) {
            (Encoding::Labels { .. }, Some(labels)) => LabelRule::of(encoding)
                .is_some_and(|rule| labels.iter().all(|&label| rule.label(label).is_some())),
            (Encoding::Labels { .. }, None) => false,
            _ => true,
        }
    }

    /// All of it, with its checksum compared.
    fn read_all(&self) -> Result<Frame, Problem> {
        let len = self.shape.len().and_then(|len| usize::try_from(len).ok());
        let mut bytes = vec![0; len.ok_or("the frame is too large for this machine")?];
        self.read(&mut bytes, self.record.offset)?;
        if crc32fast::hash(&bytes) != self.record.crc {
            return Err(
                "its bytes in the pack are damaged (wrong checksum); `multimae pack --check` names \
                 all such frames; pack again"
                    .to_owned(),
            );
        }
        self.checked.store(true, Ordering::Relaxed);
        Ok(self.frame(bytes, self.shape.info))
    }

    /// Some rows of every plane.
    fn read_rows(&self, top: usize, rows: usize) -> Result<Frame, Problem> {
        let info = self.shape.info;
        let (planes, run) = match info.order {
            Order::Interleaved => (1, info.channels),
            Order::Planar => (info.channels, 1),
        };
        let row = info.width * run * self.shape.values.size();
        let mut bytes = vec![0; planes * rows * row];
        for (plane, bytes) in bytes.chunks_exact_mut((rows * row).max(1)).enumerate() {
            let first = (plane * info.height + top) * row;
            self.read(bytes, self.record.offset + first as u64)?;
        }
        Ok(self.frame(bytes, FrameInfo { height: rows, ..info }))
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<(), Problem> {
        self.pack.file.read(bytes, offset).map_err(|error| error.to_string())
    }

    fn frame(&self, bytes: Vec<u8>, info: FrameInfo) -> Frame {
        let pixels: Pixels = self.shape.values.values(bytes);
        Frame { info, pixels }
    }
}
