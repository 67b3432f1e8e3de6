//! From the folders and the toolbox to the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use multimae_report::Palette;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::frames::{self, Frames, LISTS, NYU, SunFrame};
use super::labels::{CLASSES, Labels};
use crate::decoded::{Wanted, decode};
use crate::folder::{
    ComparedKey, Extent, FrameFolder, FrameSource, KEPT_EXTENSIONS, Manifest, ManifestFacts, Maps,
    SOURCE_FILES, evenly_spaced, table_row,
};
use crate::frame::Frame;
use crate::source_files::{some_of, text_entry};
use crate::{Error, PrepareRun, Result, Summary};

/// Raised whenever the same input gives other files.
const VERSION: u32 = 1;
/// Frames of each list that the statistics are made of.
const MEASURED: usize = 1000;
/// Published depth is rotated to the left by this many bits.
const ROTATION: u32 = 3;
const FOLDERS: [&str; 4] = ["rgb", "depth", "label37", "mask_valid"];
const LIST_NAMES: [&str; 2] = ["train", "test"];

const TOOLBOX: &str = "SUNRGBDtoolbox";
const SPLIT: &str = "traintestSUNRGBD/allsplit.mat";
const META: &str = "Metadata/SUNRGBDMeta.mat";
const LABELS: &str = "Metadata/SUNRGBD2Dseg.mat";

const COMPARED: [ComparedKey; 4] = [
    SOURCE_FILES,
    ComparedKey { name: "split", pointer: "/split/md5", absent: "none" },
    ComparedKey { name: "depth", pointer: "/depth_from", absent: "none" },
    ComparedKey { name: "labels", pointer: "/labels", absent: "none" },
];

/// The published depth to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DepthChoice {
    /// As measured, with invalid pixels.
    Raw,
    /// Fused from neighbouring frames.
    Filled,
}

impl DepthChoice {
    /// The folder of a frame that has it.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Raw => "depth",
            Self::Filled => "depth_bfx",
        }
    }
}

/// The input of SUN RGB-D.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SunRgbdOptions {
    /// The unpacked `SUNRGBD`, or the folder that contains it.
    pub data: PathBuf,
    /// The unpacked `SUNRGBDtoolbox`; looked for beside the data if `None`.
    pub toolbox: Option<PathBuf>,
    /// The published depth to use.
    pub depth: DepthChoice,
    /// Whether labels are written.
    pub labels: bool,
}

/// Prepares SUN RGB-D in the folder [`PrepareRun::out`]. The layout is that of
/// [the module](super).
///
/// # Errors
/// If the toolbox is missing or damaged, a frame is damaged or has values that the data set does not
/// have, or a file cannot be read or written.
pub fn prepare(options: &SunRgbdOptions, run: &PrepareRun<'_>) -> Result<Summary> {
    let root = frames::find(&options.data).ok_or_else(|| Error::Input {
        path: options.data.clone(),
        problem: "it has no folders kv1, kv2, realsense and xtion; give the unpacked SUNRGBD"
            .to_owned(),
    })?;
    let toolbox = Toolbox::find(options, &root)?;
    let places = toolbox.meta.as_deref().map(frames::places).transpose()?;
    let found = frames::frames(&root, &toolbox.split, places.as_ref(), options.depth)?;
    let source = Source::new(found, toolbox.labels.clone())?;
    let names: Vec<String> = source.found.frames.iter().map(|frame| frame.name.clone()).collect();
    let lists: BTreeMap<&'static str, Vec<String>> =
        LISTS.map(|(list, _)| (list, source.of_list(list))).into();
    let measured = evenly_spaced(&names, &lists, MEASURED);
    let maps = source.maps();
    let label_names = if toolbox.labels.is_some() { label_names() } else { Vec::new() };
    let facts = ManifestFacts {
        dataset: "SUN RGB-D (Song et al., CVPR 2015)",
        version: VERSION,
        terms: "no licence is stated; for research. It contains NYU Depth V2, Berkeley B3DO and SUN3D",
        names: "published folders of the frames",
        size: None,
        label_names,
        details: source.details(options, &toolbox)?,
    };
    let folder = FrameFolder {
        manifest: Manifest::new(facts, &maps, names.len()),
        maps,
        extent: Extent {
            folders: &FOLDERS,
            lists: &LIST_NAMES,
            names: names.clone(),
            extensions: KEPT_EXTENSIONS,
        },
        compared: &COMPARED,
        table: source.table(),
        names,
        lists,
        measured: Some(measured.clone()),
    };
    let notes = source.notes();
    folder.write(&Measured { source: &source, measured: &measured }, run, notes)
}

/// The names of the labels, void first: the first classes of NYUv2's 40.
fn label_names() -> Vec<String> {
    let palette = Palette::nyu40();
    (0..=i64::from(CLASSES)).map(|id| palette.name(id).to_owned()).collect()
}

/// The files of the toolbox that are used.
struct Toolbox {
    split: PathBuf,
    meta: Option<PathBuf>,
    labels: Option<PathBuf>,
}

impl Toolbox {
    fn find(options: &SunRgbdOptions, root: &Path) -> Result<Self> {
        let beside = [Some(options.data.as_path()), root.parent(), Some(root)];
        let mut folders = options.toolbox.iter().cloned().chain(
            beside
                .into_iter()
                .flatten()
                .map(|folder| folder.join(TOOLBOX))
                .filter(|_| options.toolbox.is_none()),
        );
        let folder = folders.find(|folder| folder.join(SPLIT).is_file()).ok_or_else(|| {
            Error::Options(format!(
                "there is no {SPLIT} in {}; download SUNRGBDtoolbox.zip from https://rgbd.cs.princeton.edu, \
                 and give the unpacked folder with --toolbox DIR",
                options.toolbox.as_ref().unwrap_or(&options.data).display()
            ))
        })?;
        let needed = |name: &str| {
            let path = folder.join(name);
            if path.is_file() {
                return Ok(path);
            }
            Err(Error::Options(format!(
                "{} is missing, which has the labels or their order; unpack the toolbox again, or set \
                 --no-labels",
                path.display()
            )))
        };
        let of_labels = |name| options.labels.then(|| needed(name)).transpose();
        Ok(Self { split: folder.join(SPLIT), meta: of_labels(META)?, labels: of_labels(LABELS)? })
    }
}

/// The frames, and the file of their labels.
struct Source {
    found: Frames,
    labels: Option<PathBuf>,
}

impl Source {
    fn new(found: Frames, labels: Option<PathBuf>) -> Result<Self> {
        if let Some(path) = &labels {
            let count = Labels::open(path)?.len();
            let is_labelled = |frame: &&SunFrame| frame.place.is_some_and(|place| place < count);
            if let Some(frame) = found.frames.iter().find(|frame| !is_labelled(frame)) {
                let problem = format!(
                    "it has {count} labels, and by SUNRGBDMeta.mat none of the frame {}; download the toolbox \
                     again, or set --no-labels",
                    frame.name
                );
                return Err(Error::Input { path: path.clone(), problem });
            }
        }
        Ok(Self { found, labels })
    }

    fn of_list(&self, list: &str) -> Vec<String> {
        let frames = self.found.frames.iter().filter(|frame| frame.list == list);
        frames.map(|frame| frame.name.clone()).collect()
    }

    fn maps(&self) -> Maps {
        Maps {
            depth: true,
            labels: self.labels.as_ref().map(|_| "label37"),
            valid: true,
            kept: vec![("rgb", "jpg")],
            ..Maps::default()
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let Frames { frames, absent, .. } = &self.found;
        if !absent.is_empty() {
            notes.push(format!(
                "frames left out that are not on disk: {} ({})",
                absent.len(),
                some_of(absent)
            ));
        }
        let nyu = |list| {
            frames.iter().filter(|frame| frame.list == list && frame.name.starts_with(NYU)).count()
        };
        let (train, test) = (nyu("train"), nyu("test"));
        if train + test > 0 {
            notes.push(format!(
                "NYU Depth V2 is part of this, {train} in train and {test} in test: do not score a model that was \
                 trained here on NYUv2"
            ));
        }
        notes
    }

    fn details(&self, options: &SunRgbdOptions, toolbox: &Toolbox) -> Result<Map<String, Value>> {
        let labels = match &toolbox.labels {
            Some(path) => json!({
                "file": path.file_name().unwrap_or_default().to_string_lossy(),
                "bytes": fs_err::metadata(path)?.len(),
            }),
            None => Value::Null,
        };
        let entries = [
            ("source", self.found.listing.entry()),
            ("split", text_entry(&toolbox.split, &fs_err::read(&toolbox.split)?)),
            ("depth_from", json!(options.depth)),
            ("depth_conversion", json!(format!("rotated to the right by {ROTATION} bits"))),
            ("mask_valid", json!("255 where depth is known, 0 elsewhere")),
            ("labels", labels),
            (
                "statistics_of",
                json!(format!("at most {MEASURED} evenly spaced frames of every list")),
            ),
        ];
        Ok(entries.map(|(key, value)| (key.to_owned(), value)).into_iter().collect())
    }

    fn table(&self) -> String {
        let sensor = |frame: &SunFrame| frame.name.split('/').next().unwrap_or_default().to_owned();
        let row = |frame: &SunFrame| table_row(&[&frame.name, frame.list, &sensor(frame)]);
        let rows = self.found.frames.iter().map(row);
        std::iter::once(table_row(&["id", "list", "sensor"])).chain(rows).collect()
    }

    fn frame(&self, of: &SunFrame, labels: Option<&Labels>, measured: bool) -> Result<Frame> {
        let both = [Wanted::Numbers(&of.depth), Wanted::Color(&of.image)];
        let mut decoded = decode(&of.name, if measured { &both } else { &both[..1] })?;
        let (height, width) = (decoded.height, decoded.width);
        let depth: Vec<u16> =
            decoded.numbers_16().into_iter().map(|stored| stored.rotate_right(ROTATION)).collect();
        let labels = match (labels, of.place) {
            (Some(labels), Some(place)) => Some(labels.read(place, &of.name, (height, width))?),
            _ => None,
        };
        Ok(Frame {
            height,
            width,
            rgb: decoded.color(),
            valid: Some(depth.iter().map(|&depth| if depth > 0 { 255 } else { 0 }).collect()),
            depth: Some(depth),
            labels,
            kept: vec![("rgb", of.image.clone())],
            ..Frame::default()
        })
    }
}

/// The frames, and those of the statistics.
struct Measured<'a> {
    source: &'a Source,
    measured: &'a BTreeSet<usize>,
}

impl FrameSource for Measured<'_> {
    // Every thread has its own: the handle of the library keeps a cache.
    type Reader = Option<Labels>;

    fn open(&self) -> Result<Option<Labels>> {
        self.source.labels.as_deref().map(Labels::open).transpose()
    }

    fn frames_at_a_time(&self, _reader: &Option<Labels>, _threads: usize) -> Result<usize> {
        Ok(1)
    }

    fn read(
        &self,
        reader: &Option<Labels>,
        range: Range<usize>,
        each: &mut dyn FnMut(usize, Frame) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        for index in range {
            let Some(of) = self.source.found.frames.get(index) else { break };
            let measured = self.measured.contains(&index);
            if each(index, self.source.frame(of, reader.as_ref(), measured)?)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}
