//! Predictions in files.

use std::path::{Path, PathBuf};

use fs_err as fs;
use multimae_data::encode::{depth_png, npy, palette_png};
use multimae_data::{RawMap, RawSample};
use multimae_io::atomic::write_atomically;
use multimae_report::palette::VOID;
use multimae_report::picture::Picture;

use super::model::palette;
use super::overlay::{depth_overlay, label_overlay};
use super::{FramePrediction, TaskPrediction};
use crate::saved_model::{ClassInfo, ModelCard, TaskKind};
use crate::{Error, Result};

/// What is written.
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
            match card.kind {
                TaskKind::Depth { .. } | TaskKind::Labels { .. } => {
                    vec![file("png"), file("npy"), overlay]
                }
                TaskKind::Values { .. } => vec![file("npy")],
                TaskKind::Classes { .. } => vec![file("csv")],
            }
        };
        self.card.tasks.iter().flat_map(of_task).collect()
    }

    fn file(&self, task: &str, name: &str, extension: &str) -> PathBuf {
        self.dir.join(task).join(format!("{name}.{extension}"))
    }

    fn overlay(&self, task: &str, name: &str) -> PathBuf {
        self.dir.join(format!("{task}_overlay")).join(format!("{name}.png"))
    }

    /// Writes what was predicted for a frame, each file whole or not at all.
    ///
    /// # Errors
    /// If a file cannot be written; it is named.
    pub fn write(&self, frame: &RawSample, prediction: &FramePrediction) -> Result<()> {
        let size = (frame.height, frame.width);
        let picture = frame.maps.values().find_map(|map| match map {
            RawMap::Color(rgb) => Picture::new(size, rgb.clone()).ok(),
            _ => None,
        });
        let name = &frame.id;
        for (task, predicted) in &prediction.tasks {
            let Some(kind) = self.card.tasks.get(task).map(|card| &card.kind) else { continue };
            for (extension, bytes) in files_of(kind, predicted, size)? {
                put(&self.file(task, name, extension), &bytes)?;
            }
            match (predicted, kind) {
                (TaskPrediction::Depth(depth), _) => {
                    self.picture(task, name, || depth_overlay(picture.as_ref(), depth, size))?;
                }
                (TaskPrediction::Labels(labels), TaskKind::Labels { classes, .. }) => {
                    let palette = palette(classes);
                    let overlay = || label_overlay(picture.as_ref(), labels, &palette, size);
                    self.picture(task, name, overlay)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn picture(
        &self,
        task: &str,
        name: &str,
        draw: impl FnOnce() -> Result<Picture>,
    ) -> Result<()> {
        if self.options.overlays { put(&self.overlay(task, name), &draw()?.png()?) } else { Ok(()) }
    }
}

/// What is said of a frame in one task, as files: their extensions and bytes. Depth as 16-bit PNG in
/// millimetres and `.npy` in metres, labels as palette PNG and `.npy` (uint8) with the values of the
/// annotations, other values as `.npy` `(C, H, W)`, classes as a table.
///
/// # Errors
/// If a prediction does not fit the size, or its values no file.
pub fn files_of(
    kind: &TaskKind,
    predicted: &TaskPrediction,
    size: (usize, usize),
) -> Result<Vec<(&'static str, Vec<u8>)>> {
    Ok(match (predicted, kind) {
        (TaskPrediction::Depth(depth), _) => {
            vec![("png", depth_png(depth, size)?), ("npy", npy(depth, &[size.0, size.1])?)]
        }
        (TaskPrediction::Labels(labels), TaskKind::Labels { classes, offset, .. }) => {
            let stored: Vec<i64> = labels.iter().map(|label| label - offset).collect();
            let picture = palette_png(&stored, size, &stored_colors(classes, *offset)?)?;
            // The palette has no more values than a byte, or there is no picture.
            let bytes: Vec<u8> = stored.iter().map(|&label| label as u8).collect();
            vec![("png", picture), ("npy", npy(&bytes, &[size.0, size.1])?)]
        }
        (TaskPrediction::Values(values), _) => {
            let channels = values.len() / (size.0 * size.1).max(1);
            vec![("npy", npy(values, &[channels, size.0, size.1])?)]
        }
        (TaskPrediction::Classes(shares), TaskKind::Classes { names }) => {
            vec![("csv", csv(names, shares).into_bytes())]
        }
        (TaskPrediction::Labels(_) | TaskPrediction::Classes(_), _) => Vec::new(),
    })
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(write_atomically(path, bytes)?)
}

/// The colours of the values that files store for classes: index `i` is stored as `i - offset`,
/// so that files look like the annotations that the model was trained on.
fn stored_colors(classes: &[ClassInfo], offset: i64) -> Result<Vec<[u8; 3]>> {
    let before = usize::try_from(-offset).map_err(|_| {
        Error::Prediction(format!("labels with the offset {offset} have no values for the first"))
    })?;
    let colors = classes.iter().map(|class| class.color);
    Ok(std::iter::repeat_n(VOID, before).chain(colors).collect())
}

/// Classes with their probabilities, the most probable first.
fn csv(names: &[String], shares: &[f32]) -> String {
    let mut classes: Vec<(&String, f32)> = names.iter().zip(shares.iter().copied()).collect();
    classes.sort_by(|a, b| b.1.total_cmp(&a.1));
    let line =
        |(name, share): (&String, f32)| format!("\"{}\",{share:.6}\n", name.replace('"', "\"\""));
    std::iter::once("class,probability\n".to_owned()).chain(classes.into_iter().map(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_values_are_those_of_the_annotations() {
        let class = |color| ClassInfo { name: String::new(), color };
        let classes = [class([1; 3]), class([2; 3])];
        assert_eq!(stored_colors(&classes, -1).unwrap(), [VOID, [1; 3], [2; 3]]);
        assert_eq!(stored_colors(&classes, 0).unwrap(), [[1; 3], [2; 3]]);
        assert!(stored_colors(&classes, 3).is_err());
    }

    #[test]
    fn classes_are_listed_by_probability() {
        let names = ["a".to_owned(), "b \"c\"".to_owned()];
        assert_eq!(
            csv(&names, &[0.25, 0.75]),
            "class,probability\n\"b \"\"c\"\"\",0.750000\n\"a\",0.250000\n"
        );
    }
}
