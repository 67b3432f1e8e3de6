//! The folder that a data set becomes: a picture per frame and map, lists, names of labels, a table
//! of the frames, and the manifest.

mod files;
mod manifest;
mod workers;

use std::collections::BTreeMap;
use std::path::Path;

use multimae_io::atomic::{remove_stale_parts, write_atomically};

pub(crate) use files::{Maps, table_row};
pub(crate) use manifest::{ComparedKey, Manifest, ManifestFacts};
pub(crate) use workers::FrameSource;

use crate::statistics::FrameStatistics;
use crate::{Outcome, PrepareRun, Result, Statistics, Summary};

/// The names of the labels, one line each.
const CLASSES_FILE: &str = "classes.txt";
/// The table of the frames.
const FRAMES_FILE: &str = "frames.csv";

/// A folder of frames to be written.
pub(crate) struct FrameFolder {
    pub(crate) manifest: Manifest,
    pub(crate) maps: Maps,
    /// Everything that `prepare` of this data set writes with some options.
    pub(crate) extent: Extent,
    /// The keys of the manifest that must not differ when a folder is resumed.
    pub(crate) compared: &'static [ComparedKey],
    /// The names of the frames, in the order of their source.
    pub(crate) names: Vec<String>,
    /// The names of the frames on every list, in the order of the list.
    pub(crate) lists: BTreeMap<&'static str, Vec<String>>,
    /// The content of `frames.csv`.
    pub(crate) table: String,
}

/// Everything that `prepare` of a data set writes with some options: an overwritten folder is
/// cleared of it, and of nothing else.
pub(crate) struct Extent {
    pub(crate) folders: &'static [&'static str],
    pub(crate) lists: &'static [&'static str],
    pub(crate) names: Vec<String>,
}

impl Extent {
    /// The names of the files and folders directly inside of the prepared folder.
    fn entries(&self) -> impl Iterator<Item = String> {
        let folders = self.folders.iter().map(|folder| (*folder).to_owned());
        folders.chain(self.files())
    }

    /// The names of the files directly inside of the prepared folder, without the manifest.
    fn files(&self) -> impl Iterator<Item = String> {
        let fixed = [CLASSES_FILE, FRAMES_FILE].map(str::to_owned);
        self.lists.iter().map(|list| list_file(list)).chain(fixed)
    }
}

fn list_file(list: &str) -> String {
    format!("{list}.txt")
}

impl FrameFolder {
    /// Writes the folder, or what is missing of it. `notes` become those of the summary.
    ///
    /// # Errors
    /// Those of the source; if the folder holds something else or the result of other options; if a
    /// file cannot be read or written.
    pub(crate) fn write(
        mut self,
        source: &impl FrameSource,
        run: &PrepareRun<'_>,
        notes: Vec<String>,
    ) -> Result<Summary> {
        let mut summary = Summary::stopped(self.names.len(), notes);
        if self.claim(run.out, run.overwrite)? {
            summary.outcome = Outcome::CompleteBefore;
            return Ok(summary);
        }
        for folder in self.maps.folders().map(|folder| run.out.join(folder)) {
            fs_err::create_dir_all(&folder)?;
            remove_stale_parts(&folder)?;
        }
        let done = workers::write_frames(source, &self.names, &self.maps, run)?;
        summary.written = done.written;
        if done.statistics.len() == self.names.len() {
            summary.statistics = self.finish(run.out, &done.statistics)?;
            summary.outcome = Outcome::Complete;
        }
        Ok(summary)
    }

    /// Writes lists, names of labels and table, and the manifest at the very end: it makes the
    /// folder complete.
    fn finish(
        &mut self,
        out: &Path,
        frames: &BTreeMap<String, FrameStatistics>,
    ) -> Result<BTreeMap<String, Statistics>> {
        let mut statistics = BTreeMap::new();
        for (&list, names) in &self.lists {
            let text: String = names.iter().map(|name| format!("{name}\n")).collect();
            write_atomically(&out.join(list_file(list)), text.as_bytes())?;
            let of_list = names.iter().filter_map(|name| frames.get(name));
            let labels = self.manifest.label_count();
            statistics.insert(list.to_owned(), Statistics::over(of_list, labels));
        }
        if let Some(labels) = self.manifest.label_lines() {
            write_atomically(&out.join(CLASSES_FILE), labels.as_bytes())?;
        }
        write_atomically(&out.join(FRAMES_FILE), self.table.as_bytes())?;
        let lists =
            self.lists.iter().map(|(&list, names)| (list.to_owned(), names.len())).collect();
        self.manifest.complete(lists, statistics.clone());
        self.manifest.write(out)?;
        Ok(statistics)
    }
}
