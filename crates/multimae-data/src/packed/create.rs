//! Packing a data set.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use multimae_io::atomic::remove_stale_parts;

use super::folders::PackFolder;
use super::index::{FolderEntry, Index, Oriented, Record};
use super::lists::lists;
use super::source::SourceFacts;
use super::stored::{as_stored, collect_labels};
use super::writer::{PackWriter, Payload};
use super::{Content, Shrink, shrink};
use crate::arena::StringArena;
use crate::decode::ExifOrientation;
use crate::names::plain_folder;
use crate::sample_files::{FolderFiles, SampleFiles};
use crate::{Error, Rejected, Result};

/// Samples that a thread decodes ahead of the one that writes.
const AHEAD: usize = 4;
/// More different labels than this are not remembered.
const MOST_LABELS: usize = 1024;

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

/// Packs folders below `root` into the file `out`: all of their files, whatever list names them, and
/// the text files right below `root`, which may be lists. [`create_pack`](crate::convert::create_pack)
/// packs data sets of any form.
///
/// The file appears when it is complete. `progress` gets the samples done and in all.
///
/// # Errors
/// [`Error::Pack`] if there is a file already; [`Error::Config`] if encoded files are to be reduced;
/// [`Error::MissingFolder`]; [`Error::Pairing`] if several files have the same name;
/// [`Error::Sample`] for the first bad sample unless those are skipped; [`Error::Io`].
pub fn create(
    root: &Path,
    out: &Path,
    options: &Options,
    progress: impl FnMut(u64, u64),
    stop: &AtomicBool,
) -> Result<Summary> {
    check_options(out, options)?;
    let folders: Vec<&str> = options.folders.iter().map(|own| own.folder.as_str()).collect();
    let files = FolderFiles::find(root, &folders)?;
    let facts = SourceFacts::of(root, &files.files, &files.lists)?;
    create_from(&files, Some(facts), out, options, progress, stop)
}

/// Packs the files of any data set; the folders are those of the options, in their order. `facts` are
/// those of a folder of files, which may change later.
pub(crate) fn create_from(
    files: &dyn SampleFiles,
    facts: Option<SourceFacts>,
    out: &Path,
    options: &Options,
    progress: impl FnMut(u64, u64),
    stop: &AtomicBool,
) -> Result<Summary> {
    let source = Source { folders: &options.folders, files };
    let directory = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    remove_stale_parts(directory.unwrap_or(Path::new(".")))?;
    let writer = PackWriter::create(out)?;
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let samples = files.ids().len();
    let threads = threads.clamp(1, samples.max(1));
    let mut packing = Packing::new(writer, &source, options.skip_bad);
    let done = std::thread::scope(|scope| {
        // Each thread has every n-th sample, and its results a channel: the order is known without
        // sorting, and no thread runs far ahead.
        let results: Vec<Receiver<Result<Packed>>> = (0..threads)
            .map(|thread| {
                let (sender, receiver) = bounded(AHEAD);
                let source = &source;
                scope.spawn(move || {
                    source.work(thread..samples, threads, options, &sender, stop);
                });
                receiver
            })
            .collect();
        packing.take_all(&results, progress, stop)
    })?;
    let (ignored, stray) = files.passed_over();
    let facts = facts.unwrap_or_else(|| SourceFacts::unknown(packing.source_bytes));
    let mut summary = Summary {
        outcome: Outcome::Stopped,
        bytes: 0,
        source_bytes: facts.bytes,
        shrunk: packing.shrunk,
        left_out: packing.left_out.clone(),
        ignored,
        stray,
    };
    if done {
        summary.bytes = packing.finish(options.shrink, facts, out)?;
        summary.outcome = Outcome::Complete;
    }
    Ok(summary)
}

/// Checks that there may be a pack at `out` with these options.
///
/// # Errors
/// [`Error::Pack`]; [`Error::Config`].
pub(crate) fn check_options(out: &Path, options: &Options) -> Result<()> {
    check_target(out, options.replace)?;
    check_shrink(options)
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

fn check_shrink(options: &Options) -> Result<()> {
    match options.folders.iter().find(|folder| folder.encoded && options.shrink.is_some()) {
        None => Ok(()),
        Some(folder) => Err(Error::Config(format!(
            "the files of `{}` are to be packed as they are, and reduced; do either",
            folder.folder
        ))),
    }
}

/// The source of a pack.
pub(super) struct Source<'a> {
    pub(super) folders: &'a [PackFolder],
    pub(super) files: &'a dyn SampleFiles,
}

/// A sample, decoded.
#[derive(Default)]
struct Packed {
    frames: Vec<Option<Payload>>,
    /// Stored labels, by folder.
    labels: Vec<BTreeSet<i64>>,
    /// Whether the file carries an EXIF orientation, by folder.
    tagged: Vec<bool>,
    shrunk: bool,
    /// Bytes of the files.
    bytes: u64,
}

impl Source<'_> {
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
        let id = self.files.ids().get(index);
        let mut packed = Packed::default();
        let mut first: Option<((usize, usize), &PackFolder, ExifOrientation)> = None;
        for (place, folder) in self.folders.iter().enumerate() {
            packed.labels.push(BTreeSet::new());
            let file = self.files.file(index, place).map_err(|error| Error::Sample {
                sample: id.to_owned(),
                modality: folder.folder.clone(),
                path: self.files.root().to_owned(),
                problem: error.to_string(),
            })?;
            let Some(file) = file else {
                packed.frames.push(None);
                packed.tagged.push(false);
                continue;
            };
            let bad = |problem| Error::Sample {
                sample: id.to_owned(),
                modality: folder.folder.clone(),
                path: file.path.clone(),
                problem,
            };
            let bytes = self.files.read(index, place).map_err(bad)?;
            packed.bytes += bytes.len() as u64;
            let (mut frame, exif) = folder.decode(&bytes).map_err(bad)?;
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
            if folder.encoded {
                packed.frames.push(Some(Payload::file(bytes, file.extension.to_lowercase())));
                continue;
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
            packed.frames.push(Some(Payload::values(as_stored(frame))));
        }
        Ok(packed)
    }
}

/// The end of the line: writes what the threads decoded, in order.
struct Packing<'a> {
    writer: PackWriter,
    source: &'a Source<'a>,
    skip_bad: bool,
    ids: StringArena,
    records: Vec<Option<Record>>,
    labels: Vec<BTreeSet<i64>>,
    oriented: Vec<Oriented>,
    left_out: Vec<Rejected>,
    shrunk: u64,
    /// Bytes of the files that were packed.
    source_bytes: u64,
}

impl<'a> Packing<'a> {
    fn new(writer: PackWriter, source: &'a Source<'a>, skip_bad: bool) -> Self {
        let labels = vec![BTreeSet::new(); source.folders.len()];
        let oriented = |folder: &PackFolder| Oriented { rule: folder.orientation, files: 0 };
        let oriented = source.folders.iter().map(oriented).collect();
        Self {
            writer,
            source,
            skip_bad,
            ids: StringArena::default(),
            records: Vec::new(),
            labels,
            oriented,
            left_out: Vec::new(),
            shrunk: 0,
            source_bytes: 0,
        }
    }

    /// Whether all samples came; otherwise it was stopped.
    fn take_all(
        &mut self,
        results: &[Receiver<Result<Packed>>],
        mut progress: impl FnMut(u64, u64),
        stop: &AtomicBool,
    ) -> Result<bool> {
        let total = self.source.files.ids().len();
        for index in 0..total {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            match results[index % results.len()].recv() {
                Ok(Ok(packed)) => self.add(index, packed)?,
                Ok(Err(error)) if self.skip_bad && error.is_bad_sample() => {
                    let id = self.source.files.ids().get(index).to_owned();
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
        for frame in &packed.frames {
            let record = frame.as_ref().map(|frame| self.writer.append(frame));
            self.records.push(record.transpose()?);
        }
        self.shrunk += u64::from(packed.shrunk);
        self.source_bytes += packed.bytes;
        self.ids.push(self.source.files.ids().get(index));
        Ok(())
    }

    fn finish(self, shrink: Option<Shrink>, source: SourceFacts, out: &Path) -> Result<u64> {
        if self.ids.is_empty() {
            let problem = "every sample is bad; nothing is left to pack".to_owned();
            return Err(Error::Pack { path: out.to_owned(), problem });
        }
        let folders = self.source.folders.iter().zip(self.labels).map(|(folder, labels)| {
            let known = folder.content == Content::Labels && !folder.encoded;
            let known = known && labels.len() <= MOST_LABELS;
            FolderEntry {
                name: plain_folder(&folder.folder),
                content: folder.content,
                labels: known.then(|| labels.into_iter().collect()),
                encoded: folder.encoded,
            }
        });
        let index = Index {
            folders: folders.collect(),
            forms: Vec::new(),
            ids: self.ids,
            records: self.records,
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
