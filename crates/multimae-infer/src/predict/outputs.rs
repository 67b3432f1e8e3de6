//! Predictions in files.

use std::path::{Path, PathBuf};

use fs_err as fs;
use multimae_data::{RawMap, RawSample};
use multimae_io::atomic::write_atomically;
use multimae_report::picture::Picture;

use multimae_tasks::Task;

use super::{FramePrediction, TaskPrediction};
use crate::saved_model::ModelCard;
use crate::{Error, Result};

/// The files to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputOptions {
    /// Pictures of the predictions over the frames too.
    pub overlays: bool,
    /// Replace files that are there.
    pub force: bool,
}

/// A folder of predictions: for a task `depth`, `depth/<name>.png` in millimetres, `depth/<name>.npy`
/// in metres and `depth_overlay/<name>.png`; for labels `<task>/<name>.png` with a palette,
/// `<task>/<name>.npy` and `<task>_overlay/<name>.png`; for other values `<task>/<name>.npy`
/// `(C, H, W)`; for classes `<task>/<name>.csv`, the most probable first.
#[derive(Debug)]
pub struct Outputs<'a> {
    dir: PathBuf,
    card: &'a ModelCard,
    options: OutputOptions,
}

impl<'a> Outputs<'a> {
    /// A folder for the predictions of a model.
    #[must_use]
    pub fn new(dir: &Path, card: &'a ModelCard, options: OutputOptions) -> Self {
        Self { dir: dir.to_owned(), card, options }
    }

    /// Checks that no file is there that would be replaced, unless that is asked for.
    ///
    /// # Errors
    /// If one is; it is named.
    pub fn check<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<()> {
        if self.options.force {
            return Ok(());
        }
        for name in names {
            if let Some(path) = self.paths(name).into_iter().find(|path| path.exists()) {
                return Err(Error::Io(std::io::Error::new(
                    std::io::ErrorKind::AlreadyExists,
                    format!("{} exists; --force replaces it", path.display()),
                )));
            }
        }
        Ok(())
    }

    /// All files of a frame.
    fn paths(&self, name: &str) -> Vec<PathBuf> {
        let of_task = |(task, card): (&String, &crate::saved_model::TaskCard)| {
            let overlay = self.overlay(task, name);
            let file = |extension| self.file(task, name, extension);
            let mut files: Vec<PathBuf> =
                card.task.extensions().iter().map(|extension| file(extension)).collect();
            files.extend(card.task.has_overlay().then_some(overlay));
            files
        };
        self.card.tasks.iter().flat_map(of_task).collect()
    }

    fn file(&self, task: &str, name: &str, extension: &str) -> PathBuf {
        self.dir.join(task).join(format!("{name}.{extension}"))
    }

    fn overlay(&self, task: &str, name: &str) -> PathBuf {
        self.dir.join(format!("{task}_overlay")).join(format!("{name}.png"))
    }

    /// Encodes what was predicted for a frame. Nothing is written before all of it is encoded.
    ///
    /// # Errors
    /// If values do not fit a format.
    pub fn encode(
        &self,
        frame: &RawSample,
        prediction: &FramePrediction,
    ) -> Result<EncodedOutputs> {
        let mut files = Vec::new();
        let size = (frame.height, frame.width);
        let picture = frame.maps.values().find_map(|map| match map {
            RawMap::Color(rgb) => Picture::new(size, rgb.clone()).ok(),
            _ => None,
        });
        let name = &frame.id;
        for (task, predicted) in &prediction.tasks {
            let Some(card) = self.card.tasks.get(task) else { continue };
            for file in files_of(&*card.task, predicted, size) {
                files.push((self.file(task, name, file.extension()), file.encode()?));
            }
            if self.options.overlays
                && let Some(overlay) = card.task.overlay(predicted, picture.as_ref(), size)?
            {
                files.push((self.overlay(task, name), overlay.png()?));
            }
        }
        Ok(EncodedOutputs { files })
    }
}

/// The files of one frame, encoded and not yet written.
#[derive(Debug)]
pub struct EncodedOutputs {
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
}

impl EncodedOutputs {
    /// Writes the files, each whole or not at all.
    ///
    /// # Errors
    /// If a file cannot be written; it is named.
    pub fn write(&self) -> Result<()> {
        self.files.iter().try_for_each(|(path, bytes)| put(path, bytes))
    }
}

/// One file of a prediction, encoded when it is asked for.
#[derive(Debug)]
pub struct PredictionFile<'a> {
    task: &'a dyn Task,
    predicted: &'a TaskPrediction,
    size: (usize, usize),
    extension: &'static str,
}

impl PredictionFile<'_> {
    /// The extension of its name, which says the format.
    #[must_use]
    pub fn extension(&self) -> &'static str {
        self.extension
    }

    /// Encodes the file.
    ///
    /// # Errors
    /// If the prediction does not fit its size, or its values do not fit the format.
    pub fn encode(&self) -> Result<Vec<u8>> {
        Ok(self.task.encode(self.predicted, self.size, self.extension)?)
    }
}

/// The files of the prediction of a task for a frame, not yet encoded.
#[must_use]
pub fn files_of<'a>(
    task: &'a dyn Task,
    predicted: &'a TaskPrediction,
    size: (usize, usize),
) -> Vec<PredictionFile<'a>> {
    let file = |&extension: &&'static str| PredictionFile { task, predicted, size, extension };
    task.extensions().iter().map(file).collect()
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(write_atomically(path, bytes)?)
}
