//! From the files of the scenes to the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use multimae_report::Palette;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::scenes::{self, Frames, HypersimFrame, LISTS, Part};
use super::{Camera, arrays, camera, frame, tone};
use crate::decoded::{Wanted, decode};
use crate::folder::{
    ComparedKey, Each, Extent, FrameFiles, FrameFolder, KEPT_EXTENSIONS, Manifest, ManifestFacts,
    Maps, SOURCE_FILES, evenly_spaced, table_row,
};
use crate::frame::Frame;
use crate::source_files::{some_of, text_entry};
use crate::{Error, PrepareRun, Result, Summary};

/// Raised whenever the same input gives other files.
const VERSION: u32 = 1;
/// Frames of each list that the statistics are made of.
const MEASURED: usize = 1000;
/// Height and width of the published pictures.
const PUBLISHED_SIZE: (usize, usize) = (768, 1024);
const FOLDERS: [&str; 5] = ["rgb", "depth", "semseg", "mask_valid", "normal"];
/// Published cameras whose frames are known to be broken.
const BROKEN: [(&str, &str); 2] = [("ai_004_009", "cam_01"), ("ai_038_007", "cam_00")];

/// The places of the tables below the data, or below the folder that holds it.
const SPLIT: &str = "metadata_images_split_scene_v1.csv";
const CAMERAS: &str = "metadata_camera_parameters.csv";
const PLACES: [&str; 6] = [
    "",
    "evermotion_dataset/analysis",
    "analysis",
    "contrib/mikeroberts3000",
    "ml-hypersim/evermotion_dataset/analysis",
    "ml-hypersim/contrib/mikeroberts3000",
];

const COMPARED: [ComparedKey; 6] = [
    SOURCE_FILES,
    ComparedKey { name: "split", pointer: "/split/md5", absent: "none" },
    ComparedKey { name: "camera", pointer: "/camera", absent: "none" },
    ComparedKey { name: "cameras", pointer: "/cameras/md5", absent: "none" },
    ComparedKey { name: "colours", pointer: "/color", absent: "none" },
    ComparedKey { name: "maps", pointer: "/maps", absent: "none" },
];

/// The camera by which distances become depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CameraChoice {
    /// The one of the scene, from the table of cameras.
    Scene,
    /// [`Camera::one_focal`] for all scenes.
    OneFocal,
}

/// The source of RGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColorChoice {
    /// Radiance if any frame has it, else previews.
    Auto,
    /// Tone-mapped radiance.
    Hdf5,
    /// The published previews, kept as they are.
    Preview,
}

/// The input of Hypersim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HypersimOptions {
    /// The folder of the scenes.
    pub data: PathBuf,
    /// `metadata_images_split_scene_v1.csv`; looked for in the data if `None`.
    pub split: Option<PathBuf>,
    /// `metadata_camera_parameters.csv`; looked for in the data if `None`.
    pub cameras: Option<PathBuf>,
    /// The camera by which distances become depth.
    pub camera: CameraChoice,
    /// The source of RGB.
    pub color: ColorChoice,
    /// Whether surface normals are written, too.
    pub normals: bool,
}

/// Prepares Hypersim in the folder [`PrepareRun::out`]. The layout is that of
/// [the module](super).
///
/// # Errors
/// If a table is missing or damaged, no frame is there with all files, a file is damaged or has values
/// that Hypersim does not have, or a file cannot be read or written.
pub fn prepare(options: &HypersimOptions, run: &PrepareRun<'_>) -> Result<Summary> {
    let split = options.table(options.split.as_ref(), "split", SPLIT)?;
    let cameras = match options.camera {
        CameraChoice::Scene => Some(options.table(options.cameras.as_ref(), "cameras", CAMERAS)?),
        CameraChoice::OneFocal => None,
    };
    let found = scenes::find(&options.data, &split, options.color, options.normals)?;
    let source = Source::new(found, cameras.as_deref())?;
    let mut notes = source.notes();
    if cameras.is_none() {
        notes.push(
            "depth is made with one focal length for all scenes (886.81 pixels at a width of 1024); more \
             than half of the published cameras are tilted or shifted, and their depth is then wrong; the \
             choice `--camera scene` is exact"
                .to_owned(),
        );
    }
    let names: Vec<String> = source.found.frames.iter().map(HypersimFrame::name).collect();
    let lists = source.lists();
    let measured = evenly_spaced(&names, &lists, MEASURED);
    let maps = source.maps();
    let label_names = if maps.labels.is_some() {
        let palette = Palette::nyu40();
        (0..=i64::from(frame::CLASSES)).map(|id| palette.name(id).to_owned()).collect()
    } else {
        Vec::new()
    };
    let facts = ManifestFacts {
        dataset: "Hypersim (Roberts et al., ICCV 2021)",
        version: VERSION,
        terms: "Creative Commons Attribution-ShareAlike 3.0",
        names: "SCENE_CAMERA_FRAME",
        size: Some(source.size),
        label_names,
        details: source.details(options, &split, cameras.as_deref())?,
    };
    let folder = FrameFolder {
        manifest: Manifest::new(facts, &maps, names.len()),
        maps,
        extent: Extent {
            folders: &FOLDERS,
            lists: &LISTS,
            names: names.clone(),
            extensions: KEPT_EXTENSIONS,
        },
        compared: &COMPARED,
        table: source.table(),
        names,
        lists,
        measured: Some(measured.clone()),
    };
    folder.write(&Each { files: &source, measured: Some(&measured) }, run, notes)
}

impl HypersimOptions {
    /// A table of the data set: as given, or where it usually lies.
    fn table(&self, given: Option<&PathBuf>, option: &str, name: &str) -> Result<PathBuf> {
        if let Some(path) = given {
            return Ok(path.clone());
        }
        let roots = [Some(self.data.as_path()), self.data.parent()];
        let mut places = roots
            .into_iter()
            .flatten()
            .flat_map(|root| PLACES.map(|place| root.join(place).join(name)));
        places.find(|path| path.is_file()).ok_or_else(|| {
            let other = if option == "cameras" { ", or choose `--camera one-focal`" } else { "" };
            Error::Options(format!(
                "{name} is not in {}; give it with --{option} FILE{other}. It is part of \
                 https://github.com/apple/ml-hypersim",
                self.data.display()
            ))
        })
    }
}

/// The frames with their cameras.
struct Source {
    found: Frames,
    /// By scene; one for all if there is none.
    cameras: BTreeMap<String, Camera>,
    one_focal: bool,
    size: (usize, usize),
}

impl Source {
    fn new(found: Frames, cameras: Option<&Path>) -> Result<Self> {
        let one_focal = cameras.is_none();
        let cameras =
            cameras.map(|path| Ok::<_, Error>((path, camera::read(path)?))).transpose()?;
        if let Some((path, cameras)) = &cameras
            && let Some(frame) =
                found.frames.iter().find(|frame| !cameras.contains_key(&frame.scene))
        {
            let problem = format!("it has no camera of the scene {}", frame.scene);
            return Err(Error::Input { path: (*path).to_owned(), problem });
        }
        let size = match found.frames.first() {
            Some(frame) => {
                let depth = arrays::read(&frame.path(&found.scenes, Part::Depth), 1)?;
                (depth.height, depth.width)
            }
            None => PUBLISHED_SIZE,
        };
        let cameras = cameras.map(|(_, cameras)| cameras).unwrap_or_default();
        Ok(Self { found, cameras, one_focal, size })
    }

    fn has(&self, part: Part) -> bool {
        self.found.parts.contains(&part)
    }

    fn maps(&self) -> Maps {
        Maps {
            depth: true,
            labels: self.has(Part::Semantic).then_some("semseg"),
            valid: true,
            further: self.has(Part::Normal).then_some("normal").into_iter().collect(),
            kept: self.has(Part::Preview).then_some(("rgb", "jpg")).into_iter().collect(),
            ..Maps::default()
        }
    }

    fn lists(&self) -> BTreeMap<&'static str, Vec<String>> {
        let mut lists = BTreeMap::<_, Vec<String>>::new();
        for frame in &self.found.frames {
            lists.entry(frame.list).or_default().push(frame.name());
        }
        lists
    }

    fn notes(&self) -> Vec<String> {
        let Frames { frames, left_out, excluded, .. } = &self.found;
        let mut notes: Vec<String> = left_out
            .iter()
            .map(|(end, names)| {
                format!("frames left out without their {end}: {} ({})", names.len(), some_of(names))
            })
            .collect();
        if *excluded > 0 {
            notes.push(format!("frames left out that are not in the public release: {excluded}"));
        }
        if !self.has(Part::Semantic) {
            notes.push("there are no files semantic.hdf5, so no semseg/ is written".to_owned());
        }
        let cameras: BTreeSet<(&str, &str)> =
            frames.iter().map(|frame| (frame.scene.as_str(), frame.camera.as_str())).collect();
        for (scene, camera) in BROKEN.iter().filter(|broken| cameras.contains(broken)) {
            notes.push(format!(
                "the frames of {scene} {camera} are known to be broken, and are on a list"
            ));
        }
        if self.size != PUBLISHED_SIZE {
            let (height, width) = self.size;
            notes.push(format!(
                "the frames have {width} x {height} pixels, the published ones 1024 x 768"
            ));
        }
        notes
    }

    fn details(
        &self,
        options: &HypersimOptions,
        split: &Path,
        cameras: Option<&Path>,
    ) -> Result<Map<String, Value>> {
        let entry = |path: &Path| Ok::<_, Error>(text_entry(path, &fs_err::read(path)?));
        let color = if self.has(Part::Preview) { ColorChoice::Preview } else { ColorChoice::Hdf5 };
        let maps = self.maps();
        let maps: Vec<&str> = maps.folders().collect();
        let entries = [
            ("source", self.found.listing.entry()),
            ("split", entry(split)?),
            ("camera", json!(options.camera)),
            ("cameras", cameras.map(entry).transpose()?.unwrap_or_default()),
            ("color", json!(color)),
            ("maps", json!(maps)),
            (
                "depth_from",
                json!(
                    "distance along the ray, times |z| / |ray| of the camera; 0 is background or beyond 65.535 m"
                ),
            ),
            ("mask_valid", json!("255 where depth is known, 0 elsewhere")),
            ("normal", json!("(n + 1) / 2 * 255 with x right, y down, z forward")),
            (
                "statistics_of",
                json!(format!("at most {MEASURED} evenly spaced frames of every list")),
            ),
        ];
        Ok(entries.map(|(key, value)| (key.to_owned(), value)).into_iter().collect())
    }

    fn table(&self) -> String {
        let row = |frame: &HypersimFrame| {
            table_row(&[
                &frame.name(),
                frame.list,
                &frame.scene,
                &frame.camera,
                &frame.number.to_string(),
            ])
        };
        let rows = self.found.frames.iter().map(row);
        std::iter::once(table_row(&["id", "list", "scene", "camera", "frame"]))
            .chain(rows)
            .collect()
    }

    /// Reads a file of a frame, which has to have the size of all.
    fn read(&self, frame: &HypersimFrame, part: Part, channels: usize) -> Result<arrays::Stored> {
        let path = frame.path(&self.found.scenes, part);
        let stored = arrays::read(&path, channels)?;
        let (height, width) = self.size;
        if (stored.height, stored.width) == self.size {
            return Ok(stored);
        }
        let problem = format!(
            "it has {} x {} pixels, other frames {width} x {height}",
            stored.width, stored.height
        );
        Err(Error::Frame { path, frame: frame.name(), problem })
    }

    /// RGB of a frame; of a preview, only if it is measured.
    fn color(&self, frame: &HypersimFrame, measured: bool) -> Result<Vec<u8>> {
        if self.has(Part::Preview) {
            let path = frame.path(&self.found.scenes, Part::Preview);
            return if measured {
                Ok(decode(&frame.name(), &[Wanted::Color(&path)])?.color())
            } else {
                Ok(Vec::new())
            };
        }
        let radiance = self.read(frame, Part::Color, 3)?;
        let entities = self.read(frame, Part::Entity, 1)?;
        let valid: Vec<bool> = entities.values.iter().map(|&entity| entity != -1.0).collect();
        Ok(tone::map(&radiance.values, &valid))
    }
}

impl FrameFiles for Source {
    fn frame(&self, index: usize, measured: bool) -> Result<Frame> {
        let Some(of) = self.found.frames.get(index) else { return Ok(Frame::default()) };
        let (height, width) = self.size;
        let camera = match self.cameras.get(&of.scene) {
            Some(camera) if !self.one_focal => *camera,
            _ => Camera::one_focal(height, width),
        };
        let depth = frame::depth(&self.read(of, Part::Depth, 1)?, &camera);
        let labels = if self.has(Part::Semantic) {
            let labels = frame::labels(&self.read(of, Part::Semantic, 1)?);
            Some(labels.map_err(|problem| {
                let path = of.path(&self.found.scenes, Part::Semantic);
                Error::Frame { path, frame: of.name(), problem }
            })?)
        } else {
            None
        };
        let mut further = Vec::new();
        if self.has(Part::Normal) {
            further.push(frame::normals(&self.read(of, Part::Normal, 3)?));
        }
        let mut kept = Vec::new();
        if self.has(Part::Preview) {
            kept.push(("rgb", of.path(&self.found.scenes, Part::Preview)));
        }
        Ok(Frame {
            height,
            width,
            rgb: self.color(of, measured)?,
            valid: Some(depth.iter().map(|&depth| if depth > 0 { 255 } else { 0 }).collect()),
            depth: Some(depth),
            labels,
            further,
            kept,
        })
    }
}
