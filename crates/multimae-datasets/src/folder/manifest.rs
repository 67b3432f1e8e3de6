//! The manifest: source, units, options and state of a prepared folder, for people and programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use multimae_io::atomic::write_atomically;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{FrameFolder, files};
use crate::{Error, Result, Statistics, csv};

const FILE: &str = "manifest.json";
/// The programs whose folders may be resumed and overwritten: this crate, and the one that prepared
/// data sets before.
const GENERATORS: [&str; 2] = [env!("CARGO_PKG_NAME"), "multimae-data"];

/// The state of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Files of other options are being removed.
    Clearing,
    /// Frames are being written.
    Incomplete,
    /// Every file is written.
    Complete,
}

/// The content of `manifest.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Manifest {
    generator: String,
    version: u32,
    state: State,
    dataset: String,
    terms: String,
    frames: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    height: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    width: Option<usize>,
    names: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    depth_unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    depth_per_metre: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label_folder: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    label_names: BTreeMap<u8, String>,
    /// The entries of the data set alone.
    #[serde(flatten)]
    details: Map<String, Value>,
    /// Frames of every list.
    lists: BTreeMap<String, usize>,
    /// Means and deviations of every list.
    statistics: BTreeMap<String, Statistics>,
}

/// The facts in a manifest that a data set knows.
pub(crate) struct ManifestFacts {
    /// The full name of the data set.
    pub(crate) dataset: &'static str,
    /// Raised whenever the same input gives other files.
    pub(crate) version: u32,
    /// The terms of use, in a sentence.
    pub(crate) terms: &'static str,
    /// The meaning of the names of the frames.
    pub(crate) names: &'static str,
    /// Height and width of the frames, if all have the same.
    pub(crate) size: Option<(usize, usize)>,
    /// The names of the labels from 0, which is void; empty if there are no labels.
    pub(crate) label_names: Vec<String>,
    /// Further entries: the source, and the options that the files depend on.
    pub(crate) details: Map<String, Value>,
}

/// A key of the manifest that must not differ when a folder is resumed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ComparedKey {
    /// The name in messages.
    pub(crate) name: &'static str,
    /// The place in the manifest, as a JSON pointer.
    pub(crate) pointer: &'static str,
    /// The text for a value that is null or missing.
    pub(crate) absent: &'static str,
}

/// The files of a source by names and sizes, as [`Listing`](crate::source_files::Listing) states them.
pub(crate) const SOURCE_FILES: ComparedKey = ComparedKey {
    name: "names and sizes of the files",
    pointer: "/source/md5_of_names_and_sizes",
    absent: "none",
};

/// The keys that are compared for every data set.
const COMPARED: [ComparedKey; 2] = [
    ComparedKey { name: "version", pointer: "/version", absent: "none" },
    ComparedKey { name: "frames", pointer: "/frames", absent: "none" },
];

impl Manifest {
    /// The manifest of a folder of which nothing is written yet.
    pub(crate) fn new(facts: ManifestFacts, maps: &super::Maps, frames: usize) -> Self {
        Self {
            generator: GENERATORS[0].to_owned(),
            version: facts.version,
            state: State::Incomplete,
            dataset: facts.dataset.to_owned(),
            terms: facts.terms.to_owned(),
            frames,
            height: facts.size.map(|(height, _)| height),
            width: facts.size.map(|(_, width)| width),
            names: facts.names.to_owned(),
            depth_unit: maps.depth.then(|| unit(maps.depth_per_metre)),
            depth_per_metre: maps.depth.then_some(maps.depth_per_metre),
            label_folder: maps.labels.map(str::to_owned),
            label_names: (0..).zip(facts.label_names).collect(),
            details: facts.details,
            lists: BTreeMap::new(),
            statistics: BTreeMap::new(),
        }
    }

    /// The number of labels, void included.
    pub(super) fn label_count(&self) -> usize {
        self.label_names.len()
    }

    /// The lines `ID NAME` of all labels, if there are any.
    pub(super) fn label_lines(&self) -> Option<String> {
        let lines = self.label_names.iter().map(|(id, name)| format!("{id} {name}\n"));
        (!self.label_names.is_empty()).then(|| lines.collect())
    }

    /// Adds the last entries.
    pub(super) fn complete(
        &mut self,
        lists: BTreeMap<String, usize>,
        statistics: BTreeMap<String, Statistics>,
    ) {
        (self.state, self.lists, self.statistics) = (State::Complete, lists, statistics);
    }

    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        let text = serde_json::to_string_pretty(self).map_err(at(&path))?;
        Ok(write_atomically(&path, format!("{text}\n").as_bytes())?)
    }

    fn read(path: &Path) -> Result<Self> {
        let text = fs_err::read_to_string(path)?;
        let manifest: Value = serde_json::from_str(&text).map_err(at(path))?;
        let generator = manifest.get("generator").and_then(Value::as_str);
        if !generator.is_some_and(|generator| GENERATORS.contains(&generator)) {
            return Err(Error::Foreign { path: path.to_owned() });
        }
        serde_json::from_value(manifest).map_err(at(path))
    }

    /// The differences from an existing manifest, in words; `None` if there are none.
    fn difference(
        &self,
        existing: &Self,
        keys: &[ComparedKey],
    ) -> serde_json::Result<Option<String>> {
        let (wanted, existing) = (serde_json::to_value(self)?, serde_json::to_value(existing)?);
        let text = |manifest: &Value, key: &ComparedKey| match manifest.pointer(key.pointer) {
            None | Some(Value::Null) => key.absent.to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        let differing: Vec<String> = COMPARED
            .iter()
            .chain(keys)
            .map(|key| (key.name, text(&existing, key), text(&wanted, key)))
            .filter(|(_, existing, wanted)| existing != wanted)
            .map(|(name, existing, wanted)| format!("{name}: {existing} there, {wanted} asked for"))
            .collect();
        Ok((!differing.is_empty()).then(|| differing.join("; ")))
    }
}

/// The name of a unit of length.
fn unit(per_metre: f32) -> String {
    if per_metre == 1000.0 { "millimetre".to_owned() } else { format!("1/{per_metre} metre") }
}

/// Adds the path to an error of the format.
fn at(path: &Path) -> impl Fn(serde_json::Error) -> Error {
    let path: PathBuf = path.to_owned();
    move |source| Error::Manifest { path: path.clone(), source }
}

/// The number of frames of every list of a complete folder.
///
/// # Errors
/// If its manifest cannot be read.
pub(crate) fn written_lists(dir: &Path) -> Result<BTreeMap<String, usize>> {
    Ok(Manifest::read(&dir.join(FILE))?.lists)
}

impl FrameFolder {
    /// Takes possession of the folder, and returns whether it is complete already. With `overwrite`,
    /// the files of an earlier call are removed, whatever its options were. `resumes_any` resumes an
    /// incomplete folder also where something differs.
    ///
    /// # Errors
    /// [`Error::Foreign`], [`Error::OtherDataset`] and [`Error::OtherOptions`]; [`Error::Manifest`],
    /// [`Error::Io`].
    pub(super) fn claim(&self, dir: &Path, overwrite: bool, resumes_any: bool) -> Result<bool> {
        let path = dir.join(FILE);
        if !path.exists() {
            let mut entries = self.extent.entries().map(|name| dir.join(name));
            if let Some(path) = entries.find(|path| path.exists()) {
                return Err(Error::Foreign { path });
            }
            fs_err::create_dir_all(dir)?;
            self.manifest.write(dir)?;
            return Ok(false);
        }
        let existing = Manifest::read(&path)?;
        if existing.dataset != self.manifest.dataset {
            return Err(Error::OtherDataset { path, dataset: existing.dataset });
        }
        if overwrite || existing.state == State::Clearing {
            self.clear(existing, dir)?;
        } else if resumes_any && existing.state == State::Incomplete {
            // Its files are compared with the source one by one.
        } else if let Some(difference) =
            self.manifest.difference(&existing, self.compared).map_err(at(&path))?
        {
            return Err(Error::OtherOptions { path, difference });
        } else if existing.state == State::Complete {
            return Ok(true);
        }
        self.manifest.write(dir)?;
        Ok(false)
    }

    /// Removes everything that an earlier call may have written, but the manifest. If interrupted,
    /// the next call resumes.
    fn clear(&self, mut existing: Manifest, dir: &Path) -> Result<()> {
        existing.state = State::Clearing;
        existing.write(dir)?;
        let earlier = named_in_table(&dir.join(super::FRAMES_FILE))?;
        files::clear(dir, &self.extent, &earlier)
    }
}

/// The names of frames in the table of an earlier call, if there is one.
fn named_in_table(path: &Path) -> Result<Vec<String>> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let table = csv::Table::parse(&fs_err::read_to_string(path)?);
    // The file may have been edited, and its names become paths below the folder.
    let is_inside = |name: &&str| name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let names = table.rows().filter_map(|row| row.first()).filter(is_inside);
    Ok(names.map(str::to_owned).collect())
}
