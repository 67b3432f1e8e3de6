//! The whole way from the MATLAB files to the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use multimae_io::atomic::{remove_stale_parts, write_atomically};

use super::classes::{self, ClassMap};
use super::files;
use super::frame::Frame;
use super::manifest::{CLASSES_FILE, FRAMES_FILE, Manifest, ManifestFacts, SourceFile, State};
use super::source::{Shape, Source, Stored};
use super::splits::{FRAMES, Splits, read_ids};
use super::statistics::{FrameStatistics, Statistics};
use super::{Classes, Crop, Error, Result, checksum};

/// The options of preparing.
#[derive(Debug, Clone)]
pub struct Prepare {
    /// `nyu_depth_v2_labeled.mat`, or an excerpt in the same layout.
    pub mat: PathBuf,
    /// `splits.mat` with `trainNdxs` and `testNdxs`, if not the built-in official split.
    pub splits: Option<PathBuf>,
    /// The official ids of the frames of an excerpt, in their order: a text file.
    pub ids: Option<PathBuf>,
    /// The classes of the labels.
    pub classes: Classes,
    /// `classMapping40.mat` with `mapClass`, if not the built-in map.
    pub class_map: Option<PathBuf>,
    /// `mask_valid` is 0 outside of this.
    pub crop: Crop,
    /// `mask_valid` is 0 where the sensor saw nothing and depth was in-painted.
    pub measured_only: bool,
    /// Write again what an earlier call wrote.
    pub overwrite: bool,
    /// Frames that are converted at the same time; 0 means as many as there are processors. The
    /// files do not depend on it.
    pub threads: usize,
}

/// The progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of the .mat file whose checksum was computed.
    Checksum {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
    /// Frames converted.
    Frames {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
}

/// The end of preparing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The folder is complete.
    Complete,
    /// The folder was complete before; nothing was done.
    CompleteBefore,
    /// `stop` was set. The same call resumes.
    Stopped,
}

/// The summary.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The end of preparing.
    pub outcome: Outcome,
    /// Frames of the file.
    pub frames: usize,
    /// Frames whose pictures were written now.
    pub written: usize,
    /// Whether the .mat file is the published one, by its MD5.
    pub published: bool,
    /// Means and deviations of every list; empty unless the folder was completed now.
    pub statistics: BTreeMap<String, Statistics>,
    /// Things to know about the data, in words.
    pub notes: Vec<String>,
}

/// Prepares the labelled set of NYUv2 in the folder `out`. The layout is that of
/// [the module](super).
///
/// Files are complete or absent. When `stop` is set, the frames at work are finished and the call
/// returns; the same call later resumes. A finished folder is left alone unless it is to be
/// overwritten. The frames are streamed: some hundred MB are in memory, whatever the size of the
/// file. `progress` is called in rising order, from the threads that work.
///
/// # Errors
/// If a file is damaged or is not that of NYUv2, down to the pixel with an impossible value; if the
/// folder holds something else; if a file cannot be read or written.
pub fn prepare(
    out: &Path,
    options: &Prepare,
    progress: impl Fn(Progress) + Sync,
    stop: &AtomicBool,
) -> Result<Summary> {
    let source = Source::open(&options.mat, options.measured_only)?;
    let ids = ids(options, &source)?;
    let (splits, difference) = splits(options)?;
    check(options, &source)?;
    let mut summary = Summary {
        outcome: Outcome::Stopped,
        frames: ids.len(),
        written: 0,
        published: false,
        statistics: BTreeMap::new(),
        notes: difference.iter().cloned().collect(),
    };
    let Some(source_file) = source_file(&options.mat, &progress, stop)? else { return Ok(summary) };
    summary.published = source_file.published;
    let facts = ManifestFacts {
        source: source_file,
        frames: ids.len(),
        size: (source.shape.height, source.shape.width),
        crop: options.crop,
        measured_only: options.measured_only,
        classes: options.classes,
        class_map: digest(options.class_map.as_deref(), stop)?,
        // A file with the official split makes no difference.
        splits: digest(options.splits.as_deref().filter(|_| difference.is_some()), stop)?,
    };
    let manifest = Manifest::new(facts);
    if manifest.claim(out, options.overwrite)? {
        summary.outcome = Outcome::CompleteBefore;
        return Ok(summary);
    }
    let scenes = Scenes::read(&source, ids.len())?;
    let writer = Writer::new(out, options, &ids, source.shape)?;
    drop(source);
    let done = writer.write_all(&progress, stop)?;
    summary.written = done.written;
    if done.statistics.len() == ids.len() {
        summary.outcome = Outcome::Complete;
        let lists = splits.lists(&ids);
        summary.notes.extend(scenes.notes(&ids, &lists));
        summary.statistics = finish(out, manifest, &splits, &ids, &scenes, &done.statistics)?;
    }
    Ok(summary)
}

/// The official ids of the frames of the file.
fn ids(options: &Prepare, source: &Source) -> Result<Vec<u32>> {
    let Shape { frames, height, width } = source.shape;
    let Some(path) = &options.ids else {
        if (frames, height, width) == (FRAMES as usize, 480, 640) {
            return Ok((1..=FRAMES).collect());
        }
        return Err(source.input(format!(
            "it has {frames} frames of {width} x {height} pixels, and the labelled set has {FRAMES} \
             of 640 x 480; for an excerpt, give the list of its ids"
        )));
    };
    let ids = read_ids(path)?;
    if ids.len() == frames {
        return Ok(ids);
    }
    let problem = format!("it lists {} ids, and the .mat file has {frames} frames", ids.len());
    Err(Error::Input { path: path.clone(), problem })
}

/// The split, and how it differs from the official one.
fn splits(options: &Prepare) -> Result<(Splits, Option<String>)> {
    let official = Splits::official()?;
    let Some(path) = &options.splits else { return Ok((official, None)) };
    let splits = Splits::read(path)?;
    let difference =
        splits.difference(&official).map(|difference| format!("{}: {difference}", path.display()));
    Ok((splits, difference))
}

fn check(options: &Prepare, source: &Source) -> Result<()> {
    if !options.crop.fits(source.shape) {
        let Shape { height, width, .. } = source.shape;
        return Err(Error::Options(format!(
            "crops are those of 640 x 480 pixels, and the frames have {width} x {height}; ask for \
             no crop"
        )));
    }
    let names = source.strings("names")?;
    let names = names.ok_or_else(|| source.input("it has no `names` of its labels".to_owned()))?;
    classes::check_names(&names).map_err(|problem| source.input(problem))
}

fn source_file(
    path: &Path,
    progress: &(impl Fn(Progress) + Sync),
    stop: &AtomicBool,
) -> Result<Option<SourceFile>> {
    let bytes = fs_err::metadata(path)?.len();
    let report = |done| progress(Progress::Checksum { done, total: bytes });
    let Some(md5) = checksum::of_file(path, report, stop)? else { return Ok(None) };
    let published = md5 == checksum::PUBLISHED.1;
    if bytes == checksum::PUBLISHED.0 && !published {
        let problem = format!(
            "it has the size of the published file, and the MD5 {md5} instead of {}: it is \
             damaged; copy or download it again",
            checksum::PUBLISHED.1
        );
        return Err(Error::Input { path: path.to_owned(), problem });
    }
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Some(SourceFile { file, bytes, md5, published }))
}

fn digest(path: Option<&Path>, stop: &AtomicBool) -> Result<Option<String>> {
    match path {
        Some(path) => checksum::of_file(path, |_| {}, stop),
        None => Ok(None),
    }
}

/// The scenes of the frames, as far as the file has them.
struct Scenes {
    scenes: Vec<String>,
    types: Vec<String>,
}

impl Scenes {
    fn read(source: &Source, frames: usize) -> Result<Self> {
        let strings = |name| -> Result<Vec<String>> {
            let mut strings = source.strings(name)?.unwrap_or_default();
            strings.resize(frames, String::new());
            Ok(strings)
        };
        Ok(Self { scenes: strings("scenes")?, types: strings("sceneTypes")? })
    }

    /// Says which lists that should be apart share scenes.
    fn notes(&self, ids: &[u32], lists: &BTreeMap<&str, Vec<u32>>) -> Vec<String> {
        let of = |list: &str| -> BTreeSet<&str> {
            let on: BTreeSet<u32> = lists.get(list).into_iter().flatten().copied().collect();
            let named = ids
                .iter()
                .zip(&self.scenes)
                .filter(|(id, scene)| !scene.is_empty() && on.contains(id));
            named.map(|(_, scene)| scene.as_str()).collect()
        };
        let note = |(a, b)| {
            let (of_a, of_b) = (of(a), of(b));
            let both: Vec<&str> = of_a.intersection(&of_b).copied().collect();
            let first = both.first()?;
            Some(format!("{} scenes have frames in {a} and in {b}, {first} for one", both.len()))
        };
        [("train", "test"), ("train_fit", "val")].into_iter().filter_map(note).collect()
    }

    /// `frames.csv`.
    fn table(&self, ids: &[u32], splits: &Splits) -> String {
        let mut rows: Vec<_> = ids.iter().zip(self.scenes.iter().zip(&self.types)).collect();
        rows.sort_unstable_by_key(|(id, _)| **id);
        let mut text = "id,list,scene,scene_type\n".to_owned();
        for (&id, (scene, kind)) in rows {
            let list = splits.list(id).unwrap_or_default().to_owned();
            let cells = [files::name(id), list, cell(scene), cell(kind)];
            text.push_str(&cells.join(","));
            text.push('\n');
        }
        text
    }
}

/// A cell of a table, in quotes where it needs them.
fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Writes frames in several threads.
struct Writer<'a> {
    out: &'a Path,
    options: &'a Prepare,
    ids: &'a [u32],
    shape: Shape,
    map: ClassMap,
    threads: usize,
}

/// Frames done.
#[derive(Default)]
struct Done {
    statistics: BTreeMap<u32, FrameStatistics>,
    written: usize,
}

impl<'a> Writer<'a> {
    fn new(out: &'a Path, options: &'a Prepare, ids: &'a [u32], shape: Shape) -> Result<Self> {
        for folder in files::folders(options.classes).map(|folder| out.join(folder)) {
            fs_err::create_dir_all(&folder)?;
            remove_stale_parts(&folder)?;
        }
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let map = ClassMap::new(options.classes, options.class_map.as_deref())?;
        Ok(Self { out, options, ids, shape, map, threads: threads.clamp(1, ids.len().max(1)) })
    }

    fn write_all(&self, progress: &(impl Fn(Progress) + Sync), stop: &AtomicBool) -> Result<Done> {
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let done = Mutex::new(Done::default());
        let work = || {
            let result = self.work(&next, &done, progress, &|| {
                stop.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed)
            });
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            result
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..self.threads).map(|_| scope.spawn(work)).collect();
            let mine = work();
            others.into_iter().fold(mine, |result, other| {
                result.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            })
        })?;
        Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes blocks of frames until there are no more, or it is to end.
    fn work(
        &self,
        next: &AtomicUsize,
        done: &Mutex<Done>,
        progress: &(impl Fn(Progress) + Sync),
        is_over: &impl Fn() -> bool,
    ) -> Result<()> {
        // Every thread has its own: the library's handle keeps a cache.
        let source = Source::open(&self.options.mat, self.options.measured_only)?;
        let step = source.frames_at_a_time(self.threads)?;
        while !is_over() {
            let first = next.fetch_add(1, Ordering::Relaxed).saturating_mul(step);
            if first >= self.ids.len() {
                break;
            }
            let ids = &self.ids[first..self.ids.len().min(first.saturating_add(step))];
            let block = source.read(first, ids.len())?;
            for (&id, stored) in ids.iter().zip(block.frames()) {
                if is_over() {
                    break;
                }
                let (statistics, written) = self.frame(id, stored)?;
                // Reported under the lock: the numbers rise.
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                done.statistics.insert(id, statistics);
                done.written += usize::from(written);
                let (so_far, total) = (done.statistics.len() as u64, self.ids.len() as u64);
                progress(Progress::Frames { done: so_far, total });
            }
        }
        Ok(())
    }

    /// Checks a frame, and writes it unless its pictures are there.
    fn frame(&self, id: u32, stored: Stored<'_>) -> Result<(FrameStatistics, bool)> {
        let (out, classes) = (self.out, self.options.classes);
        let frame = Frame::new(stored, self.shape, &self.map, self.options.crop)
            .map_err(|problem| Error::Frame { path: self.options.mat.clone(), id, problem })?;
        let missing = !files::is_complete(out, classes, id);
        if missing {
            files::write(out, classes, id, self.shape, &frame)?;
        }
        Ok((FrameStatistics::of(&frame, classes.count()), missing))
    }
}

/// Writes what makes the folder complete: lists, names, scenes, and the manifest at the very end.
fn finish(
    out: &Path,
    mut manifest: Manifest,
    splits: &Splits,
    ids: &[u32],
    scenes: &Scenes,
    frames: &BTreeMap<u32, FrameStatistics>,
) -> Result<BTreeMap<String, Statistics>> {
    let lists = splits.lists(ids);
    for (&list, ids) in &lists {
        let text: String = ids.iter().map(|&id| files::name(id) + "\n").collect();
        write_atomically(&out.join(format!("{list}.txt")), text.as_bytes())?;
        let of_list = ids.iter().filter_map(|id| frames.get(id));
        manifest.statistics.insert(list.to_owned(), Statistics::over(of_list));
        manifest.lists.insert(list.to_owned(), ids.len());
    }
    let names: String =
        manifest.label_names.iter().map(|(id, name)| format!("{id} {name}\n")).collect();
    write_atomically(&out.join(CLASSES_FILE), names.as_bytes())?;
    write_atomically(&out.join(FRAMES_FILE), scenes.table(ids, splits).as_bytes())?;
    manifest.state = State::Complete;
    manifest.write(out)?;
    Ok(manifest.statistics)
}
