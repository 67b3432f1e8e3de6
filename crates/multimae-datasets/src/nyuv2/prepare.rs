//! From the MATLAB files to the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::classes::{self, ClassMap};
use super::frame::convert;
use super::source::{Shape, Source};
use super::splits::{FRAMES, LISTS, Splits, read_ids};
use super::{Classes, Crop, Error, Result};
use crate::folder::{
    ComparedKey, Extent, FrameFolder, FrameSource, Manifest, ManifestFacts, Maps, table_row,
};
use crate::frame::Frame;
use crate::{PrepareRun, Summary, checksum};

/// The published `nyu_depth_v2_labeled.mat`: bytes and MD5.
const PUBLISHED: (u64, &str) = (2_972_037_809, "520609c519fba3ba5ac58c8fefcc3530");
/// Raised whenever the same input gives other files.
const VERSION: u32 = 1;
/// The folders of the maps, whatever the options.
pub(super) const FOLDERS: [&str; 5] = ["rgb", "depth", "label40", "label13", "mask_valid"];
/// The terms of use, of all copies.
pub(super) const TERMS: &str = "no licence is stated; for research, and not to be passed on";

const COMPARED: [ComparedKey; 6] = [
    ComparedKey { name: "MD5 of the .mat file", pointer: "/source/md5", absent: "none" },
    ComparedKey { name: "classes", pointer: "/classes", absent: "none" },
    ComparedKey { name: "class map", pointer: "/class_map", absent: "built in" },
    ComparedKey { name: "split", pointer: "/splits", absent: "official" },
    ComparedKey { name: "crop", pointer: "/mask_crop", absent: "none" },
    ComparedKey { name: "measured depth only", pointer: "/mask_measured_only", absent: "false" },
];

/// The input files and options of NYUv2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nyuv2Options {
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
    /// `mask_valid` is 0 where the sensor measured nothing and depth was in-painted.
    pub measured_only: bool,
}

/// Prepares the labelled set of NYUv2 in the folder [`PrepareRun::out`]. The layout is that of
/// [the module](super).
///
/// The frames are streamed: a few hundred MB are in memory, whatever the size of the file. See
/// [`PrepareDataset::prepare`](crate::PrepareDataset::prepare) for stopping and resuming.
///
/// # Errors
/// If a file is damaged or is not that of NYUv2, down to the pixel with an impossible value; if the
/// folder holds something else; if a file cannot be read or written.
pub fn prepare(options: &Nyuv2Options, run: &PrepareRun<'_>) -> Result<Summary> {
    let source = Source::open(&options.mat, options.measured_only)?;
    let ids = ids(options, &source)?;
    let (splits, difference) = splits(options)?;
    check(options, &source)?;
    let map = ClassMap::new(options.classes, options.class_map.as_deref())?;
    let mut notes: Vec<String> = difference.iter().cloned().collect();
    // A file with the official split makes no difference.
    let other_splits = options.splits.as_deref().filter(|_| difference.is_some());
    let Some(details) = details(options, other_splits, run)? else {
        return Ok(Summary::stopped(ids.len(), notes));
    };
    if details["source"]["published"] != true {
        notes.push("the .mat file is not the published one, by its MD5".to_owned());
    }
    let scenes = Scenes::read(&source, ids.len())?;
    let lists = splits.lists(&ids);
    notes.extend(scenes.notes(&ids, &lists));
    let (shape, table) = (source.shape, scenes.table(&ids, &splits));
    drop(source);
    let folder = folder(options, &ids, shape, lists, table, details);
    folder.write(&Frames { options, ids: &ids, shape, map }, run, notes)
}

/// The name of a frame: its official id.
pub(super) fn name(id: u32) -> String {
    format!("{id:04}")
}

fn folder(
    options: &Nyuv2Options,
    ids: &[u32],
    shape: Shape,
    lists: BTreeMap<&'static str, Vec<u32>>,
    table: String,
    details: Map<String, Value>,
) -> FrameFolder {
    let labels = Some(options.classes.folder());
    let maps = Maps { depth: true, labels, valid: true, ..Maps::default() };
    let facts = ManifestFacts {
        dataset: "NYU Depth V2, labelled frames (Silberman et al., ECCV 2012)",
        version: VERSION,
        terms: TERMS,
        names: "official ids, from 1",
        size: Some((shape.height, shape.width)),
        label_names: options.classes.names(),
        details,
    };
    let named = |(list, ids): (_, Vec<u32>)| (list, ids.into_iter().map(name).collect());
    FrameFolder {
        manifest: Manifest::new(facts, &maps, ids.len()),
        maps,
        extent: Extent {
            folders: &FOLDERS,
            lists: &LISTS,
            names: (1..=FRAMES).map(name).collect(),
            extensions: &["png"],
        },
        compared: &COMPARED,
        names: ids.iter().copied().map(name).collect(),
        lists: lists.into_iter().map(named).collect(),
        table,
        measured: None,
    }
}

/// The entries of the manifest that only NYUv2 has; `None` if the run is stopped first.
fn details(
    options: &Nyuv2Options,
    other_splits: Option<&Path>,
    run: &PrepareRun<'_>,
) -> Result<Option<Map<String, Value>>> {
    let Some(source) = source_entry(&options.mat, run)? else { return Ok(None) };
    let digest = |path: Option<&Path>| match path {
        Some(path) => checksum::of_option(path, run),
        None => Ok(None),
    };
    let (class_map, splits) = (digest(options.class_map.as_deref())?, digest(other_splits)?);
    if run.is_stopped() {
        return Ok(None);
    }
    let entries = [
        ("source", source),
        ("depth_from", json!("depths (in-painted), rounded to the nearest millimetre")),
        ("mask_crop", json!(options.crop)),
        ("mask_measured_only", json!(options.measured_only)),
        ("mask_valid", json!("255 inside the crop where depth is known, 0 elsewhere")),
        ("classes", json!(options.classes)),
        ("class_map", json!(class_map)),
        ("splits", json!(splits)),
    ];
    Ok(Some(entries.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()))
}

/// Name, size and MD5 of the .mat file; `None` if the run is stopped first.
fn source_entry(path: &Path, run: &PrepareRun<'_>) -> Result<Option<Value>> {
    let bytes = fs_err::metadata(path)?.len();
    let Some(md5) = checksum::of_source(path, run)? else { return Ok(None) };
    let published = md5 == PUBLISHED.1;
    if bytes == PUBLISHED.0 && !published {
        let problem = format!(
            "it has the size of the published file, and the MD5 {md5} instead of {}: it is \
             damaged; copy or download it again",
            PUBLISHED.1
        );
        return Err(Error::Input { path: path.to_owned(), problem });
    }
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Some(json!({"file": file, "bytes": bytes, "md5": md5, "published": published})))
}

/// The official ids of the frames of the file.
fn ids(options: &Nyuv2Options, source: &Source) -> Result<Vec<u32>> {
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

/// The split, and its difference from the official one in words.
fn splits(options: &Nyuv2Options) -> Result<(Splits, Option<String>)> {
    let official = Splits::official()?;
    let Some(path) = &options.splits else { return Ok((official, None)) };
    let splits = Splits::read(path)?;
    let difference =
        splits.difference(&official).map(|difference| format!("{}: {difference}", path.display()));
    Ok((splits, difference))
}

fn check(options: &Nyuv2Options, source: &Source) -> Result<()> {
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

/// The scenes of the frames, as far as the file names them.
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

    /// Notices about lists that should be apart and share scenes.
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

    /// The table of the frames: `frames.csv`.
    fn table(&self, ids: &[u32], splits: &Splits) -> String {
        let mut rows: Vec<_> = ids.iter().zip(self.scenes.iter().zip(&self.types)).collect();
        rows.sort_unstable_by_key(|(id, _)| **id);
        let rows = rows.into_iter().map(|(&id, (scene, kind))| {
            table_row(&[&name(id), splits.list(id).unwrap_or_default(), scene, kind])
        });
        std::iter::once(table_row(&["id", "list", "scene", "scene_type"])).chain(rows).collect()
    }
}

/// The frames of the .mat file.
struct Frames<'a> {
    options: &'a Nyuv2Options,
    ids: &'a [u32],
    shape: Shape,
    map: ClassMap,
}

impl FrameSource for Frames<'_> {
    // Every thread has its own: the handle of the library keeps a cache.
    type Reader = Source;

    fn open(&self) -> Result<Source> {
        Source::open(&self.options.mat, self.options.measured_only)
    }

    fn frames_at_a_time(&self, reader: &Source, threads: usize) -> Result<usize> {
        reader.frames_at_a_time(threads)
    }

    fn read(
        &self,
        reader: &Source,
        range: Range<usize>,
        each: &mut dyn FnMut(usize, Frame) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let block = reader.read(range.start, range.len())?;
        for (index, stored) in range.zip(block.frames()) {
            let frame =
                convert(stored, self.shape, &self.map, self.options.crop).map_err(|problem| {
                    let id = self.ids.get(index).copied().unwrap_or_default();
                    Error::Frame { path: self.options.mat.clone(), frame: name(id), problem }
                })?;
            if each(index, frame)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}
