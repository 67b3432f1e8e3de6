//! From the release to the folder.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::layout::{self, AdeFrame, SPLITS};
use crate::decoded::{Wanted, decode};
use crate::folder::{
    ComparedKey, Each, Extent, FrameFiles, FrameFolder, KEPT_EXTENSIONS, Manifest, ManifestFacts,
    Maps, SOURCE_FILES, evenly_spaced, table_row,
};
use crate::frame::Frame;
use crate::source_files::Listing;
use crate::{Error, PrepareRun, Result, Summary};

/// The classes of the benchmark.
pub(super) const CLASSES: usize = 150;
/// Raised whenever the same input gives other files.
const VERSION: u32 = 1;
/// Frames of each list whose photographs are decoded for the statistics.
const MEASURED: usize = 1000;
const LISTS: [&str; 2] = ["train", "val"];

const COMPARED: [ComparedKey; 1] = [SOURCE_FILES];

/// Prepares ADE20K for scene parsing in the folder [`PrepareRun::out`]. The layout is that of
/// [the module](super). `data` is the unpacked archive, or the folder that contains it.
///
/// # Errors
/// If the folder is that of another release, photographs and annotations do not pair up, an annotation
/// has ids that are no class, or a file cannot be read or written.
pub fn prepare(data: &Path, run: &PrepareRun<'_>) -> Result<Summary> {
    let root = layout::root(data)?;
    let frames = layout::frames(&root)?;
    let label_names = layout::class_names(&root)?;
    let mut notes = count_notes(&frames);
    if label_names.is_empty() {
        notes.push("there is no objectInfo150.txt; the classes stay without names".to_owned());
    }
    let names: Vec<String> = frames.iter().map(|frame| frame.name.clone()).collect();
    let lists: BTreeMap<&'static str, Vec<String>> =
        LISTS.map(|list| (list, of_list(&frames, list))).into();
    let maps = Maps {
        labels: Some("semseg"),
        kept: vec![("rgb", "jpg"), ("semseg", "png")],
        ..Maps::default()
    };
    let facts = ManifestFacts {
        dataset: "ADE20K, scene parsing, 150 classes (Zhou et al., CVPR 2017)",
        version: VERSION,
        terms: "annotations under the BSD 3-clause licence; photographs for non-commercial research and education",
        names: "official names",
        size: None,
        label_names,
        details: details(&frames),
    };
    let measured = evenly_spaced(&names, &lists, MEASURED);
    let folder = FrameFolder {
        manifest: Manifest::new(facts, &maps, names.len()),
        maps,
        extent: Extent {
            folders: &["rgb", "semseg"],
            lists: &LISTS,
            names: names.clone(),
            extensions: KEPT_EXTENSIONS,
        },
        compared: &COMPARED,
        table: table(&frames),
        names,
        lists,
        measured: Some(measured.clone()),
    };
    let files = AdeFiles(frames);
    folder.write(&Each { files: &files, measured: Some(&measured) }, run, notes)
}

fn of_list(frames: &[AdeFrame], list: &str) -> Vec<String> {
    frames.iter().filter(|frame| frame.list == list).map(|frame| frame.name.clone()).collect()
}

/// Notices about lists that are not the published ones by their length.
fn count_notes(frames: &[AdeFrame]) -> Vec<String> {
    let note = |(_, list, published): (_, &str, usize)| {
        let found = frames.iter().filter(|frame| frame.list == list).count();
        (found != published).then(|| {
            format!(
                "{list} has {found} frames, and the release has {published}: this is an excerpt, and its \
                 scores are not those of the benchmark"
            )
        })
    };
    SPLITS.into_iter().filter_map(note).collect()
}

fn details(frames: &[AdeFrame]) -> Map<String, Value> {
    let mut listing = Listing::default();
    for frame in frames {
        listing.add(&frame.image.name, frame.image.bytes);
        listing.add(&frame.annotation.name, frame.annotation.bytes);
    }
    let recipe = json!({ "num_classes": CLASSES, "seg_reduce_zero_label": true });
    let entries = [
        ("source", listing.entry()),
        ("labels", json!("0 is void and never scored; classes count from 1")),
        ("recipe", recipe),
        ("statistics_of", json!(format!("at most {MEASURED} evenly spaced frames of every list"))),
    ];
    entries.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
}

fn table(frames: &[AdeFrame]) -> String {
    let rows = frames.iter().map(|frame| table_row(&[&frame.name, frame.list]));
    std::iter::once(table_row(&["id", "list"])).chain(rows).collect()
}

/// The frames of the release.
struct AdeFiles(Vec<AdeFrame>);

impl FrameFiles for AdeFiles {
    fn frame(&self, index: usize, measured: bool) -> Result<Frame> {
        let Some(AdeFrame { name, image, annotation, .. }) = self.0.get(index) else {
            return Ok(Frame::default());
        };
        let labels = Wanted::Labels(&annotation.path, CLASSES + 1);
        let both = [labels, Wanted::Color(&image.path)];
        let mut decoded = decode(name, if measured { &both } else { &both[..1] })
            .map_err(|error| explained(error, annotation))?;
        let labels = decoded.labels();
        Ok(Frame {
            height: decoded.height,
            width: decoded.width,
            labels: Some(labels),
            rgb: decoded.color(),
            kept: vec![("rgb", image.path.clone()), ("semseg", annotation.path.clone())],
            ..Frame::default()
        })
    }
}

/// Adds the remedy to an error of an annotation.
fn explained(error: Error, annotation: &crate::source_files::SourceFile) -> Error {
    match error {
        Error::Frame { path, frame, problem } if path == annotation.path => Error::Frame {
            path,
            frame,
            problem: format!(
                "{problem}; annotations of ADEChallengeData2016 are grey pictures of ids from 0 to {CLASSES}, \
                 those of the full ADE20K are coloured"
            ),
        },
        other => other,
    }
}
