//! The content of the prepared folder, for people and programs that find it.

use std::collections::BTreeMap;
use std::path::Path;

use multimae_io::atomic::write_atomically;
use serde::{Deserialize, Serialize};

use super::files::{self, FOLDERS};
use super::frame::PER_METRE;
use super::splits::{FRAMES, LISTS};
use super::{Classes, Crop, Error, Result, Statistics};

/// Raised whenever the same input gives other files.
const VERSION: u32 = 1;

pub(super) const FILE: &str = "manifest.json";
pub(super) const CLASSES_FILE: &str = "classes.txt";
pub(super) const FRAMES_FILE: &str = "frames.csv";

/// The progress of the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Files of other options are being removed.
    Clearing,
    /// Frames are being written.
    Incomplete,
    /// Everything is there.
    Complete,
}

/// The content of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) generator: String,
    pub(super) version: u32,
    pub(super) state: State,
    pub(super) dataset: String,
    pub(super) terms: String,
    pub(super) source: SourceFile,
    pub(super) frames: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) names: String,
    pub(super) depth_unit: String,
    pub(super) depth_per_metre: f32,
    pub(super) depth_from: String,
    pub(super) mask_crop: Crop,
    pub(super) mask_measured_only: bool,
    pub(super) mask_valid: String,
    pub(super) classes: Classes,
    pub(super) label_folder: String,
    pub(super) label_names: BTreeMap<u8, String>,
    /// MD5 of the file with the class map, if it is not the built-in one.
    pub(super) class_map: Option<String>,
    /// MD5 of the file with the split, if it is not the official one.
    #[serde(default)]
    pub(super) splits: Option<String>,
    /// Frames of every list.
    pub(super) lists: BTreeMap<String, usize>,
    /// Means and deviations of every list.
    pub(super) statistics: BTreeMap<String, Statistics>,
}

/// The .mat file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SourceFile {
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) md5: String,
    /// Whether it is the published file, by its MD5.
    pub(super) published: bool,
}

/// The data of the manifest.
pub(super) struct ManifestFacts {
    pub(super) source: SourceFile,
    pub(super) frames: usize,
    pub(super) size: (usize, usize),
    pub(super) crop: Crop,
    pub(super) measured_only: bool,
    pub(super) classes: Classes,
    pub(super) class_map: Option<String>,
    pub(super) splits: Option<String>,
}

impl Manifest {
    pub(super) fn new(facts: ManifestFacts) -> Self {
        let names = facts.classes.names().into_iter();
        Self {
            generator: env!("CARGO_PKG_NAME").to_owned(),
            version: VERSION,
            state: State::Incomplete,
            dataset: "NYU Depth V2, labelled frames (Silberman et al., ECCV 2012)".to_owned(),
            terms: "no licence is stated; for research, and not to be passed on".to_owned(),
            source: facts.source,
            frames: facts.frames,
            height: facts.size.0,
            width: facts.size.1,
            names: "official ids, from 1".to_owned(),
            depth_unit: "millimetre".to_owned(),
            depth_per_metre: PER_METRE,
            depth_from: "depths (in-painted), rounded to the nearest millimetre".to_owned(),
            mask_crop: facts.crop,
            mask_measured_only: facts.measured_only,
            mask_valid: "255 inside the crop where depth is known, 0 elsewhere".to_owned(),
            classes: facts.classes,
            label_folder: facts.classes.folder().to_owned(),
            label_names: (0..).zip(names).collect(),
            class_map: facts.class_map,
            splits: facts.splits,
            lists: BTreeMap::new(),
            statistics: BTreeMap::new(),
        }
    }

    /// Makes the folder ours, and says whether it is complete already. With `overwrite`, what an
    /// earlier call with other options wrote is removed, or with the same ones written again.
    ///
    /// # Errors
    /// [`Error::Foreign`] and [`Error::OtherOptions`]; [`Error::Manifest`], [`Error::Io`].
    pub(super) fn claim(&self, dir: &Path, overwrite: bool) -> Result<bool> {
        let path = dir.join(FILE);
        if !path.exists() {
            let ours = FOLDERS.into_iter().chain([CLASSES_FILE, FRAMES_FILE]);
            let lists = LISTS.map(|list| format!("{list}.txt"));
            let mut ours = ours.chain(lists.iter().map(String::as_str)).map(|name| dir.join(name));
            if let Some(path) = ours.find(|path| path.exists()) {
                return Err(Error::Foreign { path });
            }
            fs_err::create_dir_all(dir)?;
            self.write(dir)?;
            return Ok(false);
        }
        let there = Self::read(&path)?;
        if overwrite || there.state == State::Clearing {
            there.clear(dir)?;
        } else if let Some(difference) = self.difference(&there) {
            return Err(Error::OtherOptions { path, difference });
        } else if there.state == State::Complete {
            return Ok(true);
        }
        self.write(dir)?;
        Ok(false)
    }

    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        let text = serde_json::to_string_pretty(self)
            .map_err(|source| Error::Manifest { path: path.clone(), source })?;
        Ok(write_atomically(&path, format!("{text}\n").as_bytes())?)
    }

    fn read(path: &Path) -> Result<Self> {
        let text = fs_err::read_to_string(path)?;
        let generator = serde_json::from_str::<serde_json::Value>(&text)
            .map_err(|source| Error::Manifest { path: path.to_owned(), source })?;
        if generator.get("generator").and_then(|name| name.as_str()) != Some(env!("CARGO_PKG_NAME"))
        {
            return Err(Error::Foreign { path: path.to_owned() });
        }
        serde_json::from_value(generator)
            .map_err(|source| Error::Manifest { path: path.to_owned(), source })
    }

    /// Removes all files that this program may have written, but the manifest. After an
    /// interruption, the next call resumes.
    fn clear(mut self, dir: &Path) -> Result<()> {
        self.state = State::Clearing;
        self.write(dir)?;
        for list in LISTS {
            files::remove(&dir.join(format!("{list}.txt")))?;
        }
        for name in [CLASSES_FILE, FRAMES_FILE] {
            files::remove(&dir.join(name))?;
        }
        files::clear(dir, 1..=FRAMES)
    }

    /// Returns the differences from the existing manifest, in words.
    fn difference(&self, there: &Self) -> Option<String> {
        let or = |digest: &Option<String>, text: &str| digest.as_deref().unwrap_or(text).to_owned();
        let map = |m: &Self| or(&m.class_map, "built in");
        let split = |m: &Self| or(&m.splits, "official");
        let pairs = [
            ("version", there.version.to_string(), self.version.to_string()),
            ("MD5 of the .mat file", there.source.md5.clone(), self.source.md5.clone()),
            ("frames", there.frames.to_string(), self.frames.to_string()),
            ("classes", there.classes.count().to_string(), self.classes.count().to_string()),
            ("class map", map(there), map(self)),
            ("split", split(there), split(self)),
            ("crop", format!("{:?}", there.mask_crop), format!("{:?}", self.mask_crop)),
            (
                "measured depth only",
                there.mask_measured_only.to_string(),
                self.mask_measured_only.to_string(),
            ),
        ];
        let differing: Vec<String> = pairs
            .into_iter()
            .filter(|(_, there, wanted)| there != wanted)
            .map(|(name, there, wanted)| format!("{name}: {there} there, {wanted} asked for"))
            .collect();
        (!differing.is_empty()).then(|| differing.join("; "))
    }
}
