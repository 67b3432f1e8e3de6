//! The folder that a data set becomes: a picture per frame and map, lists, names of labels, a table
//! of the frames, and the manifest.

mod files;
mod manifest;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use multimae_io::atomic::{remove_stale_parts, write_atomically};

pub(crate) use files::{Maps, table_row};
pub(crate) use manifest::{ComparedKey, Manifest, ManifestFacts, SOURCE_FILES, written_lists};
pub(crate) use workers::{Each, FrameFiles, FrameSource};

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
    /// The content of `frames.csv`; its first column has the names of the frames.
    pub(crate) table: String,
    /// The frames of the statistics, by their place among the names; all if `None`. Others are
    /// not read again once their files exist.
    pub(crate) measured: Option<BTreeSet<usize>>,
}

/// Everything that `prepare` of a data set writes with some options: an overwritten folder is
/// cleared of it, and of nothing else.
pub(crate) struct Extent {
    pub(crate) folders: &'static [&'static str],
    pub(crate) lists: &'static [&'static str],
    /// The names of frames; those in the table of an earlier call are known besides.
    pub(crate) names: Vec<String>,
    /// The extensions of the files of frames.
    pub(crate) extensions: &'static [&'static str],
}

/// The extensions of files that are kept as they are, and of encoded pictures.
pub(crate) const KEPT_EXTENSIONS: &[&str] = &["png", "jpg"];

/// At most `most` frames of every list, evenly spaced, by their place among all names: the frames
/// whose values are measured in a data set that is too large to decode.
pub(crate) fn evenly_spaced(
    names: &[String],
    lists: &BTreeMap<&'static str, Vec<String>>,
    most: usize,
) -> BTreeSet<usize> {
    let places: BTreeMap<&str, usize> =
        names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let of_list = |list: &Vec<String>| -> Vec<usize> {
        let count = list.len().min(most);
        let chosen = (0..count).filter_map(|at| list.get(at * list.len() / count.max(1)));
        chosen.filter_map(|name| places.get(name.as_str()).copied()).collect()
    };
    lists.values().flat_map(of_list).collect()
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
        if self.claim(run.out, run.overwrite, false)? {
            summary.outcome = Outcome::CompleteBefore;
            return Ok(summary);
        }
        let parents = files::parents(&self.names);
        for folder in self.maps.folders().map(|folder| run.out.join(folder)) {
            for parent in parents.iter().map(|parent| folder.join(parent)) {
                fs_err::create_dir_all(&parent)?;
                remove_stale_parts(&parent)?;
            }
        }
        write_atomically(&run.out.join(FRAMES_FILE), self.table.as_bytes())?;
        let measured = self.measured.as_ref();
        let done = workers::write_frames(source, &self.names, &self.maps, measured, run)?;
        summary.written = done.written;
        if done.frames == self.names.len() {
            (summary.lists, summary.statistics) = self.finish(run.out, &done.statistics)?;
            summary.outcome = Outcome::Complete;
        }
        Ok(summary)
    }

    /// Takes possession of the folder for a data set that writes its files itself, and returns whether
    /// it is complete already. An incomplete folder is resumed also if the source has changed, so the
    /// data set has to compare its files with the source.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) fn begin(&self, run: &PrepareRun<'_>) -> Result<bool> {
        self.claim(run.out, run.overwrite, true)
    }

    /// Makes a folder complete whose files are written, with the number of frames by list.
    ///
    /// # Errors
    /// If the manifest cannot be written.
    pub(crate) fn seal(mut self, out: &Path, lists: BTreeMap<String, usize>) -> Result<()> {
        self.manifest.complete(lists, BTreeMap::new());
        self.manifest.write(out)
    }

    /// Writes lists and names of labels, and the manifest at the very end: it makes the
    /// folder complete.
    fn finish(
        &mut self,
        out: &Path,
        frames: &BTreeMap<String, FrameStatistics>,
    ) -> Result<(BTreeMap<String, usize>, BTreeMap<String, Statistics>)> {
        let mut statistics = BTreeMap::new();
        for (&list, names) in &self.lists {
            let text: String = names.iter().map(|name| format!("{name}\n")).collect();
            write_atomically(&out.join(list_file(list)), text.as_bytes())?;
            let of_list = names.iter().filter_map(|name| frames.get(name));
            let (labels, unit) = (self.manifest.label_count(), self.maps.depth_per_metre);
            statistics.insert(list.to_owned(), Statistics::over(of_list, labels, unit));
        }
        if let Some(labels) = self.manifest.label_lines() {
            write_atomically(&out.join(CLASSES_FILE), labels.as_bytes())?;
        }
        let lists: BTreeMap<String, usize> =
            self.lists.iter().map(|(&list, names)| (list.to_owned(), names.len())).collect();
        self.manifest.complete(lists.clone(), statistics.clone());
        self.manifest.write(out)?;
        Ok((lists, statistics))
    }
}
