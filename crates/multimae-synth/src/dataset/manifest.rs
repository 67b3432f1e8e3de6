//! The content of the folder, for people and programs that find it.

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::SynthOptions;
use super::files::{FOLDERS, write_atomically};
use crate::{Error, LABEL_NAMES, Result, intrinsics};

/// Raised whenever the same seed gives other rooms.
const VERSION: u32 = 1;

const FILE: &str = "manifest.json";

/// The content of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    generator: String,
    version: u32,
    seed: u64,
    count: usize,
    height: usize,
    width: usize,
    val_share: f64,
    depth_unit: String,
    label_names: BTreeMap<u8, String>,
    normals: String,
    focal: f32,
    cx: f32,
    cy: f32,
}

impl Manifest {
    pub(super) fn of(options: &SynthOptions) -> Self {
        let camera = intrinsics(options.size);
        let names = LABEL_NAMES.iter().zip(0..);
        Self {
            generator: env!("CARGO_PKG_NAME").to_owned(),
            version: VERSION,
            seed: options.seed,
            count: options.count,
            height: options.size.0,
            width: options.size.1,
            val_share: options.val_share,
            depth_unit: "millimetre".to_owned(),
            label_names: names.map(|(name, id)| (id, (*name).to_owned())).collect(),
            normals: "camera coordinates, x right, y down, z forward".to_owned(),
            focal: camera.focal,
            cx: camera.cx,
            cy: camera.cy,
        }
    }

    /// Makes the folder ours: writes the manifest, or checks the one that is there.
    pub(super) fn claim(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        if path.exists() {
            return self.check(&path);
        }
        let ours = FOLDERS.into_iter().chain(["train.txt", "val.txt"]);
        if let Some(path) = ours.map(|name| dir.join(name)).find(|path| path.exists()) {
            return Err(Error::Foreign { path });
        }
        fs::create_dir_all(dir)?;
        let text = serde_json::to_string_pretty(self)
            .map_err(|source| Error::Manifest { path: path.clone(), source })?;
        write_atomically(&path, format!("{text}\n").as_bytes())
    }

    fn check(&self, path: &Path) -> Result<()> {
        let text = fs::read_to_string(path)?;
        let there: Self = serde_json::from_str(&text)
            .map_err(|source| Error::Manifest { path: path.to_owned(), source })?;
        if there == *self {
            return Ok(());
        }
        let difference = self.difference(&there);
        Err(Error::OtherOptions { path: path.to_owned(), difference })
    }

    /// The options that differ, in words.
    fn difference(&self, there: &Self) -> String {
        let size = |m: &Self| format!("{} x {}", m.height, m.width);
        let pairs = [
            ("generator", there.generator.clone(), self.generator.clone()),
            ("version", there.version.to_string(), self.version.to_string()),
            ("seed", there.seed.to_string(), self.seed.to_string()),
            ("count", there.count.to_string(), self.count.to_string()),
            ("size", size(there), size(self)),
            ("val_share", there.val_share.to_string(), self.val_share.to_string()),
        ];
        let differing: Vec<String> = pairs
            .into_iter()
            .filter(|(_, there, wanted)| there != wanted)
            .map(|(name, there, wanted)| format!("{name} {there} there, {wanted} asked for"))
            .collect();
        if differing.is_empty() { "its description".to_owned() } else { differing.join("; ") }
    }
}
