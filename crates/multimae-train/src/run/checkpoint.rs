//! Checkpoints: the whole state of a run in one file, written beside its place and renamed into it.

use std::path::{Path, PathBuf};

use fs_err as fs;
use indexmap::IndexMap;
use multimae::state::StateDict;
use multimae::weights::{read_safetensors, safetensors_from, write_safetensors};
use multimae_infer::checkpoint::{self, BEST, PREFIX, SUFFIX};
use multimae_io::atomic::write_atomically;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The key of the position in a file's metadata.
const POSITION: &str = "position";
/// The key of the checksum of all tensors in a file's metadata.
const CHECKSUM: &str = "checksum";
/// The end of the name of a damaged checkpoint that was set aside.
const DAMAGED: &str = ".damaged";

/// The position of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Optimiser steps done.
    pub step: u64,
    /// The epoch of the next batch.
    pub epoch: u64,
    /// The next batch in that epoch.
    pub batch: u64,
    /// Seconds of training so far, over all parts of the run.
    pub seconds: f64,
    /// The best score so far, lower is better.
    pub best: Option<f64>,
    /// Ids of samples that were left out so far.
    pub rejected: Vec<String>,
    /// Optimiser steps that `skip_grad` left out so far.
    pub skipped_steps: u64,
    /// Largest resident memory in bytes before the first evaluation of any part of the run.
    #[serde(default)]
    pub peak_memory: Option<u64>,
    /// The fingerprint that must not change when a run is resumed.
    pub fingerprint: String,
}

impl Position {
    /// Before the first step.
    #[must_use]
    pub fn start() -> Self {
        Self {
            step: 0,
            epoch: 0,
            batch: 0,
            seconds: 0.0,
            best: None,
            rejected: Vec::new(),
            skipped_steps: 0,
            peak_memory: None,
            fingerprint: String::new(),
        }
    }
}

/// A run's state.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The position of the run.
    pub position: Position,
    /// Model, balancer, optimiser and averages; names are prefixed by the part.
    pub tensors: StateDict,
}

impl Checkpoint {
    /// One part's tensors, without the prefix.
    #[must_use]
    pub fn part(&self, name: &str) -> StateDict {
        checkpoint::part(&self.tensors, name)
    }

    /// Adds a part.
    pub fn insert_part(&mut self, name: &str, part: StateDict) {
        let prefixed = part.into_iter().map(|(key, data)| (format!("{name}/{key}"), data));
        self.tensors.extend(prefixed);
    }

    fn write(&self, path: &Path) -> Result<()> {
        Ok(write_atomically(path, &self.to_bytes(path)?)?)
    }

    /// The content of its file; `path` is for messages.
    pub(crate) fn to_bytes(&self, path: &Path) -> Result<Vec<u8>> {
        let position = serde_json::to_string(&self.position).map_err(|e| Error::RunFolder {
            path: path.to_owned(),
            problem: format!("the position cannot be written: {e}"),
        })?;
        let metadata: IndexMap<String, String> =
            [(POSITION.to_owned(), position), (CHECKSUM.to_owned(), checksum(&self.tensors))]
                .into_iter()
                .collect();
        Ok(write_safetensors(&self.tensors, &metadata)?)
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged or is no checkpoint.
    pub fn read(path: &Path) -> Result<Self> {
        Self::new(read_safetensors(path)?, path)
    }

    /// The checkpoint in the content of a file.
    pub(crate) fn from_bytes(content: Vec<u8>) -> Result<Self> {
        let path = Path::new("the state of process 0");
        Self::new(safetensors_from(content, path)?, path)
    }

    fn new(
        (tensors, metadata): (StateDict, IndexMap<String, String>),
        path: &Path,
    ) -> Result<Self> {
        let problem =
            |problem: &str| Error::RunFolder { path: path.to_owned(), problem: problem.to_owned() };
        let position = metadata
            .get(POSITION)
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or_else(|| {
                problem("holds weights but no training state, so a run cannot be resumed from it")
            })?;
        // Files of before there was a checksum have none.
        if metadata.get(CHECKSUM).is_some_and(|written| *written != checksum(&tensors)) {
            return Err(problem("is damaged: its checksum does not match its tensors"));
        }
        Ok(Self { position, tensors })
    }
}

/// The checksum of names and values of tensors, whatever their order.
fn checksum(tensors: &StateDict) -> String {
    let mut sorted: Vec<_> = tensors.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    let mut hasher = crc32fast::Hasher::new();
    for (name, data) in sorted {
        hasher.update(name.as_bytes());
        hasher.update(data.as_bytes());
    }
    format!("{:08x}", hasher.finalize())
}

/// The newest checkpoint that can be read.
#[derive(Debug)]
pub struct LatestCheckpoint {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// A notice for each newer file that is damaged.
    pub notices: Vec<String>,
}

/// The checkpoints of one run.
#[derive(Debug, Clone)]
pub struct CheckpointStore {
    dir: PathBuf,
    keep: usize,
}

impl CheckpointStore {
    /// The checkpoints in `dir`, of which the newest `keep` are kept.
    #[must_use]
    pub fn new(dir: PathBuf, keep: usize) -> Self {
        Self { dir, keep: keep.max(1) }
    }

    /// The folder of the files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a checkpoint and then removes those that are too many.
    ///
    /// # Errors
    /// If a file cannot be written or removed; older checkpoints stay.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<PathBuf> {
        fs::create_dir_all(&self.dir)?;
        let path = self.dir.join(format!("{PREFIX}{:09}{SUFFIX}", checkpoint.position.step));
        checkpoint.write(&path)?;
        let all = self.list()?;
        for old in &all[..all.len().saturating_sub(self.keep)] {
            fs::remove_file(old)?;
        }
        Ok(path)
    }

    /// Writes the best checkpoint so far.
    ///
    /// # Errors
    /// If the file cannot be written; the former best stays.
    pub fn save_best(&self, checkpoint: &Checkpoint) -> Result<PathBuf> {
        fs::create_dir_all(&self.dir)?;
        let path = self.dir.join(BEST);
        checkpoint.write(&path)?;
        Ok(path)
    }

    /// The best checkpoint so far, if there is one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn best(&self) -> Result<Option<Checkpoint>> {
        let path = self.dir.join(BEST);
        if path.exists() { Checkpoint::read(&path).map(Some) } else { Ok(None) }
    }

    /// The files of the numbered checkpoints, oldest first.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub fn list(&self) -> Result<Vec<PathBuf>> {
        Ok(checkpoint::list(&self.dir)?)
    }

    /// The newest checkpoint that can be read, if there is a checkpoint. Newer ones that are damaged
    /// are renamed, so that they neither count as checkpoints nor are lost.
    ///
    /// # Errors
    /// If none can be read: the error of the newest.
    pub fn latest(&self) -> Result<Option<LatestCheckpoint>> {
        let mut damaged: Vec<(PathBuf, Error)> = Vec::new();
        for path in self.list()?.into_iter().rev() {
            match Checkpoint::read(&path) {
                Ok(checkpoint) => {
                    let aside = damaged.iter().map(|(path, error)| set_aside(path, error));
                    return Ok(Some(LatestCheckpoint {
                        checkpoint,
                        notices: aside.collect::<Result<_>>()?,
                    }));
                }
                Err(error) => damaged.push((path, error)),
            }
        }
        match damaged.into_iter().next() {
            Some((_, newest)) => Err(newest),
            None => Ok(None),
        }
    }

    /// Removes the best checkpoint, if there is one.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove_best(&self) -> Result<()> {
        let path = self.dir.join(BEST);
        if path.exists() { Ok(fs::remove_file(path)?) } else { Ok(()) }
    }
}

/// Renames a damaged checkpoint and returns a notice.
fn set_aside(path: &Path, error: &Error) -> Result<String> {
    let mut name = path.as_os_str().to_owned();
    name.push(DAMAGED);
    fs::rename(path, &name)?;
    Ok(format!(
        "the newest checkpoint is damaged, and the one before is used ({error}); it was renamed to \
         {}",
        Path::new(&name).display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use multimae::burn::tensor::TensorData;

    fn checkpoint(step: u64) -> Checkpoint {
        let position = Position {
            step,
            epoch: 1,
            batch: 2,
            seconds: 3.5,
            best: Some(0.25),
            rejected: vec!["0007".to_owned()],
            skipped_steps: 1,
            peak_memory: Some(4096),
            fingerprint: "f".to_owned(),
        };
        let mut checkpoint = Checkpoint { position, tensors: StateDict::new() };
        let weights = [("a.w".to_owned(), TensorData::new(vec![step as f32, 2.0], [2]))];
        checkpoint.insert_part("model", weights.into_iter().collect());
        checkpoint
    }

    #[test]
    fn the_newest_are_kept_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = CheckpointStore::new(dir.path().join("checkpoints"), 2);
        assert!(store.latest().unwrap().is_none());
        for step in [5, 10, 15] {
            store.save(&checkpoint(step)).unwrap();
        }
        store.save_best(&checkpoint(10)).unwrap();
        assert_eq!(store.list().unwrap().len(), 2);
        let LatestCheckpoint { checkpoint: latest, notices } = store.latest().unwrap().unwrap();
        assert_eq!(notices, [""; 0]);
        assert_eq!(latest.position, checkpoint(15).position);
        assert_eq!(latest.part("model")["a.w"], checkpoint(15).tensors["model/a.w"]);
        assert!(latest.part("optimiser").is_empty());
    }

    #[test]
    fn checkpoints_of_before_the_memory_was_measured_are_read() {
        let mut old = serde_json::to_value(checkpoint(5).position).unwrap();
        old.as_object_mut().unwrap().remove("peak_memory").unwrap();
        let read: Position = serde_json::from_value(old).unwrap();
        assert_eq!(read, Position { peak_memory: None, ..checkpoint(5).position });
    }

    /// A name, and a change of the bytes of a file.
    type Damage<'a> = (&'a str, &'a dyn Fn(&[u8]) -> Vec<u8>);

    #[test]
    fn a_damaged_newest_checkpoint_falls_back_to_the_one_before() {
        let flipped = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        };
        let damages: [Damage<'_>; 4] = [
            ("cut", &|bytes| bytes[..bytes.len() - 3].to_vec()),
            ("empty", &|_| Vec::new()),
            ("zeros", &|bytes| vec![0; bytes.len()]),
            ("a flipped bit", &flipped),
        ];
        for (name, damage) in damages {
            let dir = tempfile::tempdir().unwrap();
            let store = CheckpointStore::new(dir.path().to_owned(), 1);
            let older = store.save(&checkpoint(5)).unwrap();
            let kept = fs::read(&older).unwrap();
            let newest = store.save(&checkpoint(10)).unwrap();
            fs::write(&older, kept).unwrap();
            let bytes = fs::read(&newest).unwrap();
            fs::write(&newest, damage(&bytes)).unwrap();
            let latest = store.latest().unwrap().unwrap();
            assert_eq!(latest.checkpoint.position.step, 5, "{name}");
            let [notice] = &latest.notices[..] else { panic!("{name}: {:?}", latest.notices) };
            assert!(notice.contains("step-000000010.safetensors"), "{name}: {notice}");
            // The damaged file takes no place among those that are kept.
            store.save(&checkpoint(7)).unwrap();
            assert_eq!(store.latest().unwrap().unwrap().checkpoint.position.step, 7, "{name}");
            assert!(dir.path().join("step-000000010.safetensors.damaged").exists(), "{name}");
        }
    }

    #[test]
    fn without_a_whole_checkpoint_the_newest_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let store = CheckpointStore::new(dir.path().to_owned(), 2);
        for step in [5, 10] {
            let path = store.save(&checkpoint(step)).unwrap();
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        }
        let message = store.latest().unwrap_err().to_string();
        assert!(message.contains("step-000000010"), "{message}");
        assert_eq!(store.list().unwrap().len(), 2, "nothing is renamed");
    }
}
