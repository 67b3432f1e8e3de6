//! Packing a folder of data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use multimae_io::atomic::remove_stale_parts;

use super::index::{FolderEntry, FrameRecord, Index, Oriented, SampleRecord};
use super::lists::lists;
use super::source::SourceFacts;
use super::stored::{as_stored, collect_labels};
use super::writer::{Encoded, PackWriter};
use super::{Content, Shrink, shrink};
use crate::decode::{self, ExifOrientation, Frame, Problem, Stored};
use crate::file_source::FileSource;
use crate::files::{Files, subfolders, texts};
use crate::folder_kind::Kind;
use crate::names::plain_folder;
use crate::{
    DataModality, Error, Orientation, PairingProblems, Rejected, Result, ValueRules, parquet,
};

/// The number of files that are read to infer a folder's kind.
const PROBED: usize = 5;
/// Samples that a thread decodes ahead of the one that writes.
const AHEAD: usize = 4;
/// More different labels than this are not remembered.
const MOST_LABELS: usize = 1024;

/// A folder to be packed.
#[derive(Debug, Clone, PartialEq)]
pub struct PackFolder {
    /// Its path below the data folder, with a pattern where the files of several modalities share
    /// it: `scenes/rgb_*`.
    pub folder: String,
    /// The type of its files.
    pub content: Content,
    /// Every file must fit each of these; without any, it need only be of the content's kind.
    pub modalities: Vec<DataModality>,
    /// The treatment of files that carry an EXIF orientation.
    pub orientation: Orientation,
}

/// The options of packing.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The folders.
    pub folders: Vec<PackFolder>,
    /// Reduce larger frames.
    pub shrink: Option<Shrink>,
    /// Leave bad samples out, also of the lists; otherwise the first one is an error.
    pub skip_bad: bool,
    /// Replace a file that is there.
    pub replace: bool,
    /// Files that are decoded at the same time; 0 means as many as there are processors. The pack
    /// does not depend on it.
    pub threads: usize,
}

/// The end of packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The pack is in its place.
    Complete,
    /// `stop` was set; nothing is left.
    Stopped,
}

/// The summary of packing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The end of packing.
    pub outcome: Outcome,
    /// Bytes of the pack; 0 if it was stopped.
    pub bytes: u64,
    /// Bytes of the files that were packed.
    pub source_bytes: u64,
    /// Samples whose frames were reduced.
    pub shrunk: u64,
    /// The bad samples.
    pub left_out: Vec<Rejected>,
    /// Files that are no images or arrays.
    pub ignored: usize,
    /// [Stray](crate::is_stray) files and folders.
    pub stray: usize,
}

/// The folders right below `root` that hold images or arrays. Their kinds are given by `kinds`,
/// else inferred from their names, else from their first files. If one of `kinds` has the name of a
/// pattern (`rgb_*`), files share folders, and those of `kinds` are all that is packed.
///
/// # Errors
/// [`Error::File`] if there is none, or if the folders of modalities are one level lower;
/// [`Error::Config`] if `kinds` names another folder; [`Error::Io`].
pub fn find_folders(root: &Path, kinds: &BTreeMap<String, Kind>) -> Result<Vec<PackFolder>> {
    parquet::refuse(root)?;
    if kinds.keys().any(|name| FileSource::is_pattern(name)) {
        return patterns(root, kinds);
    }
    let mut folders = Vec::new();
    let mut parts = Vec::new();
    for (name, path) in subfolders(root)? {
        let known = kinds.get(&name).copied().or_else(|| Kind::of_name(&name));
        if known.is_none() && subfolders(&path)?.iter().any(|(n, _)| Kind::of_name(n).is_some()) {
            parts.push(path);
            continue;
        }
        let files = Files::below(&path)?;
        if !files.usable.is_empty() {
            let content = known.unwrap_or_else(|| probe(&files)).into();
            folders.push(PackFolder::of_any(name, content));
        }
    }
    let error = |problem: String| Err(Error::File { path: root.to_owned(), problem });
    if let (true, Some(part)) = (folders.is_empty(), parts.first()) {
        return error(format!(
            "its folders of modalities are one level lower; pack each, for example {}",
            part.display()
        ));
    }
    if folders.is_empty() {
        return error(
            "it has no folder with images or arrays, one per modality, as in rgb/0001.png and \
             depth/0001.png"
                .to_owned(),
        );
    }
    if let Some(name) = kinds.keys().find(|name| !folders.iter().any(|f| f.folder == **name)) {
        return Err(Error::Config(format!("there is no folder `{name}` in {}", root.display())));
    }
    Ok(folders)
}

/// Folders and patterns whose kinds are given.
fn patterns(root: &Path, kinds: &BTreeMap<String, Kind>) -> Result<Vec<PackFolder>> {
    let folder = |(name, &kind): (&String, &Kind)| {
        if FileSource::parse(name).files(root)?.usable.is_empty() {
            return Err(Error::Config(format!("there is no file `{name}` in {}", root.display())));
        }
        Ok(PackFolder::of_any(plain_folder(name), kind.into()))
    };
    kinds.iter().map(folder).collect()
}

/// The folders of some modalities, every file to be checked against them.
///
/// # Errors
/// [`Error::Config`] if two modalities read the same folder in ways that no frame serves, or files
/// are paired by the columns of lists.
pub fn folders_of(modalities: &[DataModality]) -> Result<Vec<PackFolder>> {
    let mut folders: Vec<PackFolder> = Vec::new();
    for modality in modalities {
        if let Some(column) = modality.naming.column {
            return Err(Error::Config(format!(
                "modality `{}` has its files in column {column} of lists, and a pack pairs files by \
                 their names; use the files as they are",
                modality.name
            )));
        }
        let (name, content) = (plain_folder(&modality.source()), Content::of(&modality.encoding));
        match folders.iter_mut().find(|folder| folder.folder == name) {
            None => folders.push(PackFolder {
                folder: name,
                content,
                modalities: vec![modality.clone()],
                orientation: modality.orientation,
            }),
            Some(folder) if folder.orientation != modality.orientation => {
                return Err(Error::Config(format!(
                    "folder `{name}` is read with `orientation: {}` and, by modality `{}`, with \
                     `orientation: {}`; a pack holds one of them",
                    folder.orientation.word(),
                    modality.name,
                    modality.orientation.word()
                )));
            }
            Some(folder) if folder.content.serves(content) => {
                folder.modalities.push(modality.clone());
            }
            Some(folder) => {
                return Err(Error::Config(format!(
                    "folder `{name}` is read as {} and, by modality `{}`, as {}; a pack holds one \
                     of them",
                    folder.content.words(),
                    modality.name,
                    content.words()
                )));
            }
        }
    }
    Ok(folders)
}

/// Packs folders below `root` into the file `out`: all of their files, whatever list names them, and
/// the text files right below `root`, which may be lists.
///
/// The file appears when it is complete. `progress` gets the samples done and in all.
///
/// # Errors
/// [`Error::Pack`] if there is a file already; [`Error::MissingFolder`]; [`Error::Pairing`] if
/// several files have the same name; [`Error::Sample`] for the first bad sample unless those are
/// skipped; [`Error::Io`].
pub fn create(
    root: &Path,
    out: &Path,
    options: &Options,
    progress: impl FnMut(u64, u64),
    stop: &AtomicBool,
) -> Result<Summary> {
    check_target(out, options.replace)?;
    let source = Source::find(root, &options.folders)?;
    let directory = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    remove_stale_parts(directory.unwrap_or(Path::new(".")))?;
    let writer = PackWriter::create(out)?;
    let facts = SourceFacts::of(root, &source.files, &source.lists)?;
    let mut summary = Summary {
        outcome: Outcome::Stopped,
        bytes: 0,
        source_bytes: facts.bytes,
        shrunk: 0,
        left_out: Vec::new(),
        ignored: source.files.iter().flat_map(|files| files.unsupported.values()).count(),
        stray: source.files.iter().map(|files| files.stray).sum(),
    };
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let threads = threads.clamp(1, source.ids.len());
    let mut packing = Packing::new(writer, &source, options.skip_bad);
    let done = std::thread::scope(|scope| {
        // Each thread has every n-th sample, and its results a channel: the order is known without
        // sorting, and no thread runs far ahead.
        let results: Vec<Receiver<Result<Packed>>> = (0..threads)
            .map(|thread| {
                let (sender, receiver) = bounded(AHEAD);
                let source = &source;
                scope.spawn(move || {
                    source.work(thread..source.ids.len(), threads, options, &sender, stop);
                });
                receiver
            })
            .collect();
        packing.take_all(&results, progress, stop)
    })?;
    summary.left_out = packing.left_out.clone();
    summary.shrunk = packing.shrunk;
    if done {
        summary.bytes = packing.finish(options.shrink, facts, out)?;
        summary.outcome = Outcome::Complete;
    }
    Ok(summary)
}

fn check_target(out: &Path, replace: bool) -> Result<()> {
    let problem = if out.is_dir() {
        "this is a folder; name a file"
    } else if out.exists() && !replace {
        "it is there already; --force packs again"
    } else {
        return Ok(());
    };
    Err(Error::Pack { path: out.to_owned(), problem: problem.to_owned() })
}

/// Returns the kind of most of the first files.
fn probe(files: &Files) -> Kind {
    let stored = files
        .usable
        .values()
        .flatten()
        .filter_map(|path| Stored::read(path, Orientation::Ignore).ok());
    let kinds: Vec<Kind> = stored.take(PROBED).map(|stored| Kind::of_file(&stored)).collect();
    let count = |kind: &Kind| kinds.iter().filter(|other| *other == kind).count();
    kinds.iter().copied().max_by_key(count).unwrap_or(Kind::Other)
}

/// The source of a pack.
pub(super) struct Source<'a> {
    pub(super) folders: &'a [PackFolder],
    /// In the order of the folders.
    files: Vec<Files>,
    /// All samples that have a file in any of the folders, sorted.
    pub(super) ids: Vec<String>,
    pub(super) lists: Vec<PathBuf>,
}

/// A sample, decoded.
#[derive(Default)]
struct Packed {
    frames: Vec<Option<Encoded>>,
    /// Stored labels, by folder.
    labels: Vec<BTreeSet<i64>>,
    /// Whether the file carries an EXIF orientation, by folder.
    tagged: Vec<bool>,
    shrunk: bool,
}

impl<'a> Source<'a> {
    fn find(root: &Path, folders: &'a [PackFolder]) -> Result<Self> {
        let mut problems = PairingProblems::default();
        let mut files = Vec::new();
        let mut ids = BTreeSet::new();
        for folder in folders {
            let source = FileSource::parse(&folder.folder);
            let path = root.join(&source.folder);
            if !path.is_dir() {
                return Err(Error::MissingFolder { modality: folder.folder.clone(), path });
            }
            let found = source.files(root)?;
            let several = found.usable.values().filter(|paths| paths.len() > 1);
            let several: Vec<PathBuf> = several.flatten().cloned().collect();
            if !several.is_empty() {
                problems.ambiguous.insert(folder.folder.clone(), several);
            }
            ids.extend(found.usable.keys().cloned());
            files.push(found);
        }
        problems.empty = ids.is_empty();
        if problems.empty || !problems.ambiguous.is_empty() {
            let problems = Box::new(problems);
            return Err(Error::Pairing { root: root.to_owned(), problems });
        }
        let lists = texts(root)?;
        Ok(Self { folders, files, ids: ids.into_iter().collect(), lists })
    }

    /// Decodes every `step`-th sample until all are done, the receiver is gone, or packing stops.
    fn work(
        &self,
        samples: std::ops::Range<usize>,
        step: usize,
        options: &Options,
        results: &Sender<Result<Packed>>,
        stop: &AtomicBool,
    ) {
        for index in samples.step_by(step) {
            if stop.load(Ordering::Relaxed) || results.send(self.sample(index, options)).is_err() {
                return;
            }
        }
    }

    fn sample(&self, index: usize, options: &Options) -> Result<Packed> {
        let id = &self.ids[index];
        let mut packed = Packed::default();
        let mut first: Option<((usize, usize), &PackFolder, ExifOrientation)> = None;
        for (folder, files) in self.folders.iter().zip(&self.files) {
            packed.labels.push(BTreeSet::new());
            let Some(path) = files.usable.get(id).and_then(|paths| paths.first()) else {
                packed.frames.push(None);
                packed.tagged.push(false);
                continue;
            };
            let bad = |problem| Error::Sample {
                sample: id.clone(),
                modality: folder.folder.clone(),
                path: path.clone(),
                problem,
            };
            let (mut frame, exif) = folder.read(path).map_err(bad)?;
            packed.tagged.push(!exif.is_upright());
            let found = frame.size();
            let (expected, one, one_exif) = *first.get_or_insert((found, folder, exif));
            if found != expected {
                let mut problem = format!(
                    "it has {} x {} pixels, and `{}` of this sample has {} x {} (height x width); \
                     modalities that are used together need the same size",
                    found.0, found.1, one.folder, expected.0, expected.1
                );
                for (folder, exif) in [(one, one_exif), (folder, exif)] {
                    problem.push_str(&exif.advice_for_folder(&folder.folder, folder.orientation));
                }
                return Err(bad(problem));
            }
            if let Some(to) = options.shrink.and_then(|shrink| shrink.size(found)) {
                frame = shrink::resize(frame, to).map_err(bad)?;
                packed.shrunk = true;
            }
            if folder.content == Content::Labels
                && let Some(labels) = packed.labels.last_mut()
            {
                collect_labels(&frame.pixels, labels);
            }
            packed.frames.push(Some(Encoded::new(as_stored(frame))));
        }
        Ok(packed)
    }
}

impl PackFolder {
    /// A folder whose files need only be of the content's kind.
    fn of_any(folder: String, content: Content) -> Self {
        Self { folder, content, modalities: Vec::new(), orientation: Orientation::Apply }
    }

    fn decoder(&self) -> fn(&[u8]) -> Result<Frame, Problem> {
        let of_labels = |modality: &DataModality| modality.encoding.is_of_color_labels();
        match self.modalities.iter().any(of_labels) {
            true => decode::decode_color_labels,
            false => self.content.decoder(),
        }
    }

    /// Reads a file, and checks it. Also gives the orientation that it carries.
    fn read(&self, path: &Path) -> Result<(Frame, ExifOrientation), Problem> {
        let bytes = decode::contents(path)?;
        let (frame, exif) = decode::upright(&bytes, self.orientation, self.decoder())?;
        if self.modalities.is_empty() {
            // No rule for the values yet: the modality that reads them brings it.
            let liberal = self.content.liberal(&frame);
            decode::check_kind(&frame, &liberal, &ValueRules::default())?;
        }
        for modality in &self.modalities {
            decode::check(&frame, exif, modality)?;
        }
        Ok((frame, exif))
    }
}

/// The end of the line: writes what the threads decoded, in order.
struct Packing<'a> {
    writer: PackWriter,
    source: &'a Source<'a>,
    skip_bad: bool,
    samples: Vec<SampleRecord>,
    labels: Vec<BTreeSet<i64>>,
    oriented: Vec<Oriented>,
    left_out: Vec<Rejected>,
    shrunk: u64,
}

impl<'a> Packing<'a> {
    fn new(writer: PackWriter, source: &'a Source<'a>, skip_bad: bool) -> Self {
        let labels = vec![BTreeSet::new(); source.folders.len()];
        let oriented = |folder: &PackFolder| Oriented { rule: folder.orientation, files: 0 };
        let oriented = source.folders.iter().map(oriented).collect();
        let (samples, left_out) = (Vec::new(), Vec::new());
        Self { writer, source, skip_bad, samples, labels, oriented, left_out, shrunk: 0 }
    }

    /// Whether all samples came; otherwise it was stopped.
    fn take_all(
        &mut self,
        results: &[Receiver<Result<Packed>>],
        mut progress: impl FnMut(u64, u64),
        stop: &AtomicBool,
    ) -> Result<bool> {
        let total = self.source.ids.len();
        for index in 0..total {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            match results[index % results.len()].recv() {
                Ok(Ok(packed)) => self.add(index, packed)?,
                Ok(Err(error)) if self.skip_bad && error.is_bad_sample() => {
                    let id = self.source.ids[index].clone();
                    self.left_out.push(Rejected { id, problem: error.to_string() });
                }
                Ok(Err(error)) => return Err(error),
                // A thread ends early only if it was stopped.
                Err(_) => return Ok(false),
            }
            progress(index as u64 + 1, total as u64);
        }
        Ok(true)
    }

    fn add(&mut self, index: usize, packed: Packed) -> Result<()> {
        for (all, labels) in self.labels.iter_mut().zip(packed.labels) {
            // One more than may be kept tells that there are too many.
            if all.len() <= MOST_LABELS {
                all.extend(labels);
            }
        }
        for (folder, tagged) in self.oriented.iter_mut().zip(packed.tagged) {
            folder.files += u64::from(tagged);
        }
        let frames: Vec<Option<FrameRecord>> = packed
            .frames
            .iter()
            .map(|frame| frame.as_ref().map(|frame| self.writer.frame(frame)).transpose())
            .collect::<Result<_>>()?;
        self.shrunk += u64::from(packed.shrunk);
        self.samples.push(SampleRecord { id: self.source.ids[index].clone(), frames });
        Ok(())
    }

    fn finish(self, shrink: Option<Shrink>, source: SourceFacts, out: &Path) -> Result<u64> {
        if self.samples.is_empty() {
            let problem = "every sample is bad; nothing is left to pack".to_owned();
            return Err(Error::Pack { path: out.to_owned(), problem });
        }
        let folders = self.source.folders.iter().zip(self.labels).map(|(folder, labels)| {
            let known = folder.content == Content::Labels && labels.len() <= MOST_LABELS;
            FolderEntry {
                name: plain_folder(&folder.folder),
                content: folder.content,
                labels: known.then(|| labels.into_iter().collect()),
            }
        });
        let index = Index {
            folders: folders.collect(),
            shapes: Vec::new(),
            samples: self.samples,
            lists: lists(self.source, &self.left_out)?,
            source,
            shrink,
            shrunk: self.shrunk,
            left_out: self.left_out.len() as u64,
            oriented: self.oriented,
        };
        self.writer.finish(index, out)
    }
}
