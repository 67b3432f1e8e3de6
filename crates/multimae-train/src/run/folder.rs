//! The folder of a run.

use std::path::{Path, PathBuf};

use fs_err as fs;
use multimae_io::atomic::write_atomically;

use super::CheckpointStore;
use crate::{Error, Result};

/// The files of one run: `recipe.yaml`, `metrics.jsonl`, `events/`, `checkpoints/`, `pictures/`,
/// `backbone.json`, `model.safetensors`, `adapter.safetensors`, `report.html`, `result.json`,
/// `frames.json`. Nothing in it is ever deleted but old checkpoints.
///
/// While a process has the folder open, no other can.
#[derive(Debug)]
pub struct RunFolder {
    dir: PathBuf,
    /// Its lock ends with the process, however that ends.
    _lock: fs::File,
}

/// The file whose lock says that a process works in the folder.
const LOCK: &str = ".lock";

impl RunFolder {
    /// A folder for a new run.
    ///
    /// # Errors
    /// If the folder already holds a run, or cannot be made.
    pub fn create(dir: &Path) -> Result<Self> {
        if Self::holds_run(dir) {
            return Err(Error::RunFolder {
                path: dir.to_owned(),
                problem: "already holds a run; continue it with --resume or choose another folder"
                    .to_owned(),
            });
        }
        fs::create_dir_all(dir)?;
        Self::lock(dir)
    }

    /// The folder of a run that was begun before.
    ///
    /// # Errors
    /// If there is no run in it.
    pub fn open(dir: &Path) -> Result<Self> {
        if !Self::holds_run(dir) {
            return Err(Error::RunFolder {
                path: dir.to_owned(),
                problem: "holds no run to resume (no recipe.yaml); leave --resume out to start one"
                    .to_owned(),
            });
        }
        Self::lock(dir)
    }

    fn lock(dir: &Path) -> Result<Self> {
        let file = fs::File::create(dir.join(LOCK))?;
        match file.file().try_lock() {
            Ok(()) => Ok(Self { dir: dir.to_owned(), _lock: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(Error::RunFolder {
                path: dir.to_owned(),
                problem: "another process works on this run; wait for it or stop it".to_owned(),
            }),
            // A file system without locks: continue without.
            Err(std::fs::TryLockError::Error(error))
                if error.kind() == std::io::ErrorKind::Unsupported =>
            {
                Ok(Self { dir: dir.to_owned(), _lock: file })
            }
            Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Returns the recipe's file of a run in `dir`.
    #[must_use]
    pub fn recipe_in(dir: &Path) -> PathBuf {
        dir.join("recipe.yaml")
    }

    /// Whether `dir` holds a run.
    #[must_use]
    pub fn holds_run(dir: &Path) -> bool {
        Self::recipe_in(dir).exists()
    }

    /// The folder itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The resolved recipe.
    #[must_use]
    pub fn recipe(&self) -> PathBuf {
        Self::recipe_in(&self.dir)
    }

    /// One JSON object per logged step.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.dir.join("metrics.jsonl")
    }

    /// TensorBoard event files.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.dir.join("events")
    }

    /// Pictures by step.
    #[must_use]
    pub fn pictures(&self) -> PathBuf {
        self.dir.join("pictures")
    }

    /// Returns the file of the picture after this number of steps; names sort by step.
    #[must_use]
    pub fn picture(&self, step: u64) -> PathBuf {
        self.pictures().join(format!("step-{step:09}.png"))
    }

    /// The trained model.
    #[must_use]
    pub fn model(&self) -> PathBuf {
        self.dir.join("model.safetensors")
    }

    /// Returns the adapter's file: the tuned parameters, without the backbone.
    #[must_use]
    pub fn adapter(&self) -> PathBuf {
        self.dir.join("adapter.safetensors")
    }

    /// Returns the file of the backbone's identity: the pre-trained weights that the run started
    /// from.
    #[must_use]
    pub fn backbone(&self) -> PathBuf {
        self.dir.join("backbone.json")
    }

    /// Returns the report's file.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.dir.join("report.html")
    }

    /// Returns the result's file of a finished run in `dir`.
    #[must_use]
    pub fn result_in(dir: &Path) -> PathBuf {
        dir.join("result.json")
    }

    /// Returns the file with cost and scores of a finished run.
    #[must_use]
    pub fn result(&self) -> PathBuf {
        Self::result_in(&self.dir)
    }

    /// Returns the file with the sums of frames of a finished run in `dir`.
    #[must_use]
    pub fn frames_in(dir: &Path) -> PathBuf {
        dir.join("frames.json")
    }

    /// Returns the file with the sums behind the scores of a finished run, frame by frame.
    #[must_use]
    pub fn frames(&self) -> PathBuf {
        Self::frames_in(&self.dir)
    }

    /// The run's checkpoints.
    #[must_use]
    pub fn checkpoints(&self, keep: usize) -> CheckpointStore {
        CheckpointStore::new(self.dir.join("checkpoints"), keep)
    }

    /// Writes the resolved recipe.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_recipe(&self, text: &str) -> Result<()> {
        Ok(write_atomically(&self.recipe(), text.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_for_one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunFolder::create(dir.path()).unwrap();
        let second = RunFolder::create(dir.path()).unwrap_err().to_string();
        assert!(second.contains("another process"), "{second}");
        first.write_recipe("epochs: 1").unwrap();
        drop(first);
        assert!(RunFolder::create(dir.path()).is_err(), "it holds a run now");
        RunFolder::open(dir.path()).unwrap();
        assert!(RunFolder::open(&dir.path().join("nothing")).is_err());
    }
}
