//! From tars and photographs to folders of classes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use multimae_io::atomic::remove_stale_parts;
use serde_json::{Map, Value, json};

use super::archive::Members;
use super::classes::{self, Class, Classes, is_wnid};
use crate::decoded::{Wanted, decode};
use crate::folder::{
    ComparedKey, Extent, FrameFolder, Manifest, ManifestFacts, Maps, written_lists,
};
use crate::source_files::{self, some_of};
use crate::{Error, Outcome, PrepareRun, Progress, Result, Summary};

/// Raised whenever the same input gives other files.
const VERSION: u32 = 1;
/// The classes of the pseudo labels of segmentation.
const CLASSES: u8 = 133;
/// Their label of pixels without a class.
const VOID: u8 = 255;
const FOLDERS: [&str; 6] =
    ["train/rgb", "train/depth", "train/semseg", "val/rgb", "val/depth", "val/semseg"];

const COMPARED: [ComparedKey; 1] = [ComparedKey {
    name: "names and sizes of the tars",
    pointer: "/source/md5_of_names_and_sizes",
    absent: "none",
}];

/// The input of ImageNet with pseudo labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagenetOptions {
    /// `imagenet_multitask`, with `{train,val}/{depth_tar,semseg_tar}/WNID.tar`.
    pub data: PathBuf,
    /// ImageNet, with `train` and `val` in folders of classes or a tar per class.
    pub imagenet: PathBuf,
}

/// Prepares ImageNet with its pseudo labels in the folder [`PrepareRun::out`]. The layout is that of
/// [the module](super).
///
/// A file is whole or absent. Stopped, the same call resumes: files of the size that the source says
/// are left alone.
///
/// # Errors
/// If tars or photographs are missing, a tar is damaged, the first image of a class does not fit its
/// labels, or a file cannot be read or written.
pub fn prepare(options: &ImagenetOptions, run: &PrepareRun<'_>) -> Result<Summary> {
    let found = classes::find(&options.data, &options.imagenet)?;
    let mut notes = Vec::new();
    if !found.left_out.is_empty() {
        let (count, some) = (found.left_out.len(), some_of(&found.left_out));
        notes.push(format!("classes left out without files of every task: {count} ({some})"));
    }
    let folder = folder(&found);
    if folder.begin(run)? {
        let frames = written_lists(run.out)?.values().sum();
        let outcome = Outcome::CompleteBefore;
        return Ok(Summary { outcome, ..Summary::stopped(frames, notes) });
    }
    if run.overwrite {
        clear(run.out)?;
    }
    let done = unpack(&found, run)?;
    notes.extend(done.notes());
    let frames = done.images.values().sum();
    if done.classes < found.classes.len() {
        return Ok(Summary { written: done.written, ..Summary::stopped(frames, notes) });
    }
    folder.seal(run.out, done.images.clone())?;
    Ok(Summary {
        outcome: Outcome::Complete,
        frames,
        written: done.written,
        lists: done.images,
        statistics: BTreeMap::new(),
        notes,
    })
}

fn folder(found: &Classes) -> FrameFolder {
    let entries = [
        ("source", found.listing.entry()),
        ("depth", json!("relative, 16 bits; read as value / 65536")),
        ("semseg", json!(format!("{CLASSES} COCO panoptic classes, from 0"))),
        ("left_out_classes", json!(found.left_out)),
    ];
    let details: Map<String, Value> =
        entries.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
    let maps = Maps::default();
    let facts = ManifestFacts {
        dataset: "ImageNet-1K with pseudo labels of depth and segmentation (Bachmann et al., ECCV 2022)",
        version: VERSION,
        terms: "for non-commercial research; photographs by the terms of ImageNet",
        names: "WNID/NAME, in folders of splits",
        size: None,
        label_names: Vec::new(),
        details,
    };
    FrameFolder {
        // The number of images is known at the end, that of classes now.
        manifest: Manifest::new(facts, &maps, found.classes.len()),
        maps,
        extent: Extent { folders: &FOLDERS, lists: &[], names: Vec::new(), extensions: &[] },
        compared: &COMPARED,
        names: Vec::new(),
        lists: BTreeMap::new(),
        table: String::new(),
        measured: None,
    }
}

/// Removes the folders of classes that an earlier call wrote.
fn clear(out: &Path) -> Result<()> {
    for folder in FOLDERS.iter().map(|folder| out.join(folder)).filter(|folder| folder.is_dir()) {
        for (name, class) in source_files::folders(&folder)? {
            if is_wnid(&name) {
                fs_err::remove_dir_all(class)?;
            }
        }
    }
    Ok(())
}

/// The classes done.
#[derive(Default)]
struct Done {
    classes: usize,
    bytes: u64,
    written: usize,
    /// Images by split.
    images: BTreeMap<String, usize>,
    /// Images that lack a task, and the first of them.
    partial: (usize, Vec<String>),
}

impl Done {
    fn notes(&self) -> Option<String> {
        let (count, first) = &self.partial;
        (*count > 0).then(|| {
            format!("images left out without files of every task: {count} ({})", some_of(first))
        })
    }
}

/// Unpacks the classes in several threads, until all are done or the run is stopped.
fn unpack(found: &Classes, run: &PrepareRun<'_>) -> Result<Done> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done = Mutex::new(Done::default());
    let sizes: Vec<u64> = found.classes.iter().map(label_bytes).collect::<Result<_>>()?;
    let total = sizes.iter().sum();
    let work = || -> Result<()> {
        while !run.is_stopped() && !failed.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((class, bytes)) = found.classes.get(at).zip(sizes.get(at)) else { break };
            let placed =
                class.place(run.out).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            // Reported under the lock: the numbers rise.
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.classes += 1;
            done.bytes += bytes;
            done.written += placed.written;
            *done.images.entry(class.split.to_owned()).or_default() += placed.images;
            done.partial.0 += placed.partial.len();
            done.partial.1.extend(placed.partial.into_iter().take(4));
            (run.progress)(Progress::Unpacked { done: done.bytes, total });
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let others: Vec<_> =
            (1..run.thread_count(found.classes.len())).map(|_| scope.spawn(work)).collect();
        let mine = work();
        others.into_iter().fold(mine, |result, other| {
            result.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    })?;
    Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Bytes of the tars of pseudo labels of a class.
fn label_bytes(class: &Class) -> Result<u64> {
    class.tasks[1..].iter().map(|(_, files)| Ok(fs_err::metadata(files.path())?.len())).sum()
}

/// The result of one class.
struct Placed {
    images: usize,
    written: usize,
    partial: Vec<String>,
}

impl Class {
    /// Brings the images that have files of every task into the folders of the class.
    fn place(&self, out: &Path) -> Result<Placed> {
        let of_tasks: Vec<Members> =
            self.tasks.iter().map(|(_, files)| files.members()).collect::<Result<_>>()?;
        let has_all = |stem: &String| of_tasks.iter().all(|members| members.contains_key(stem));
        let mut partial: Vec<String> = of_tasks
            .iter()
            .flat_map(BTreeMap::keys)
            .filter(|stem| !has_all(stem))
            .cloned()
            .collect();
        partial.sort();
        partial.dedup();
        let whole: Vec<Members> = of_tasks
            .iter()
            .map(|members| {
                let whole = members.iter().filter(|(stem, _)| has_all(stem));
                whole.map(|(stem, file)| (stem.clone(), file.clone())).collect()
            })
            .collect();
        let mut written = 0;
        for ((task, files), wanted) in self.tasks.iter().zip(&whole) {
            let folder = self.folder(out, task);
            fs_err::create_dir_all(&folder)?;
            remove_stale_parts(&folder)?;
            let before = source_files::files(&folder)?.len();
            files.place(wanted, &folder)?;
            written = written.max(wanted.len().saturating_sub(before));
        }
        self.check_first(out, &whole)?;
        Ok(Placed { images: whole.first().map_or(0, BTreeMap::len), written, partial })
    }

    fn folder(&self, out: &Path, task: &str) -> PathBuf {
        out.join(self.split).join(task).join(&self.wnid)
    }

    /// Decodes the first image and its pseudo labels: they have to have one size, and labels have to be
    /// classes.
    fn check_first(&self, out: &Path, whole: &[Members]) -> Result<()> {
        let paths = self.tasks.iter().zip(whole).filter_map(|((task, _), members)| {
            Some(self.folder(out, task).join(&members.values().next()?.0))
        });
        let paths: Vec<PathBuf> = paths.collect();
        let [rgb, depth, semseg] = &paths[..] else { return Ok(()) };
        let name = format!("{}/{}", self.split, self.wnid);
        let wanted = [Wanted::Labels(semseg, 256), Wanted::Numbers(depth), Wanted::Color(rgb)];
        let labels = decode(&name, &wanted)?.labels();
        match labels.into_iter().find(|label| (CLASSES..VOID).contains(label)) {
            None => Ok(()),
            Some(label) => {
                let problem = format!("label {label}; labels are 0 to {}, or {VOID}", CLASSES - 1);
                Err(Error::Frame { path: semseg.clone(), frame: name, problem })
            }
        }
    }
}
