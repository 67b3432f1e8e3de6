//! Pseudo-labels: predictions of a fine-tuned model for a data set, as files to train on.
//!
//! Labels have the size of their frames and lie in a folder per task, under the frames' names, in the
//! first format of [`Task::extensions`](multimae_tasks::Task::extensions). `labels.json` beside these folders says where they come
//! from. Several processes may work on one folder: each takes parts of the frames, and a part whose
//! process was killed is free again.

mod claims;
mod record;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use fs_err as fs;
use indexmap::IndexMap;
use multimae_data::{DataModality, Dataset, Encoding, Layout};

use crate::predict::{
    EncodedOutputs, FramePrediction, FrameSources, PredictOptions, Predictor, files_of,
};
use crate::saved_model::{ModelCard, SavedModel, TaskCard, weights_sha256};
use crate::{Error, Result};

use claims::Claims;
use record::labels_problem;
pub use record::{LabelFolder, LabelModel, LabelRecord, LabelledFrames, RECORD_FILE, Scale};

/// The folder of locks, which readers of data pass over.
const LOCKS: &str = ".labels";

/// A folder of pseudo-labels in the making.
#[derive(Debug)]
pub struct Labelling<'a> {
    dir: PathBuf,
    frames: &'a Dataset,
    card: &'a ModelCard,
    record: LabelRecord,
    claims: Claims,
}

/// The work of one process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labelled {
    /// Frames that this process has labelled.
    pub written: usize,
    /// Frames that had their labels.
    pub before: usize,
    /// Frames that other processes are labelling.
    pub elsewhere: usize,
    /// Frames that could not be labelled: their ids and the reasons.
    pub failed: Vec<(String, String)>,
    /// Whether every frame has its labels now.
    pub complete: bool,
}

/// Finds the frames of `data` that a model labels: those of the folders or fields of its inputs, of
/// the list `split` if given, or all images below a folder, as its colour input.
///
/// # Errors
/// If there are none, or files do not pair up.
pub fn frames(data: &Path, split: Option<&str>, card: &ModelCard) -> Result<Dataset> {
    let known: Vec<DataModality> = card.inputs.iter().map(|input| input.data.clone()).collect();
    if let Some(sources) = FrameSources::by_folder(data, split, &known)? {
        return Ok(sources.dataset);
    }
    let color = |modality: &&DataModality| matches!(modality.encoding, Encoding::Color { .. });
    let (Some(color), None) = (known.iter().find(color), split) else {
        let names: Vec<&str> = known.iter().map(|modality| modality.folder.as_str()).collect();
        let text = format!("holds none of the folders of the model's inputs, {}", names.join(", "));
        return Err(labels_problem(data, text));
    };
    let images = DataModality { folder: ".".to_owned(), ..color.clone() };
    Ok(Dataset::open(data, &Layout::Folders, &[images])?)
}

impl<'a> Labelling<'a> {
    /// Begins a folder of labels, or continues one.
    ///
    /// # Errors
    /// If the folder holds labels of another model or of other frames, or files that are no labels of
    /// this program; if the model classifies images and so has no label per pixel.
    pub fn begin(
        dir: &Path,
        (name, saved): (&str, &'a SavedModel),
        (data, frames): (&Path, &'a Dataset),
        flip: bool,
    ) -> Result<Self> {
        let card = &saved.card;
        let record = LabelRecord {
            model: LabelModel {
                name: name.to_owned(),
                sha256: weights_sha256(&saved.model),
                precision: format!("{:?}", saved.precision).to_lowercase(),
                flip,
            },
            frames: labelled(data, frames),
            tasks: folders(card)?,
            complete: false,
        };
        fs::create_dir_all(dir)?;
        let claims = Claims::new(&dir.join(LOCKS), frames.len())?;
        let _alone = claims.alone()?;
        let record = match LabelRecord::read(dir)? {
            Some(begun) => {
                begun.check_continues(&record, dir)?;
                begun
            }
            None => {
                let taken = record.tasks.keys().map(|task| dir.join(task));
                if let Some(taken) = taken.into_iter().find(|folder| folder.exists()) {
                    let text = format!("is there, without {RECORD_FILE}; choose another --out");
                    return Err(labels_problem(&taken, text));
                }
                record.write(dir)?;
                record
            }
        };
        Ok(Self { dir: dir.to_owned(), frames, card, record, claims })
    }

    /// The origin of the labels.
    #[must_use]
    pub fn record(&self) -> &LabelRecord {
        &self.record
    }

    /// Labels the frames that have no labels and that no other process has taken. `progress` gets the
    /// number of frames done after each. When `stop` is set, the frame in progress is finished.
    ///
    /// # Errors
    /// If a file cannot be written. A frame that cannot be read or predicted is among
    /// [`Labelled::failed`].
    pub fn run(
        mut self,
        predictor: &dyn Predictor,
        progress: &mut dyn FnMut(usize),
        stop: &AtomicBool,
    ) -> Result<Labelled> {
        let mut done = Labelled::default();
        let given = |name: &&String| self.frames.modalities().iter().any(|m| m.name == **name);
        let inputs = predictor.inputs().iter().filter(given).cloned().collect();
        let request = PredictOptions { inputs, canvas: None, flip: self.record.model.flip };
        for part in 0..self.claims.parts() {
            let Some(claim) = self.claims.take(part)? else {
                done.elsewhere += self.missing(part).count();
                continue;
            };
            for index in claim.frames.clone() {
                if stop.load(Ordering::Relaxed) {
                    return Ok(done);
                }
                let id = self.frames.id(index).unwrap_or_default().into_owned();
                if self.is_labelled(&id) {
                    done.before += 1;
                } else {
                    match self.label(index, predictor, &request) {
                        Ok(files) => {
                            files.write()?;
                            done.written += 1;
                        }
                        Err(error) => done.failed.push((id, error.to_string())),
                    }
                }
                progress(done.before + done.written + done.failed.len());
            }
        }
        self.end(&mut done)?;
        Ok(done)
    }

    /// Records that all frames have labels, if that is so.
    fn end(&mut self, done: &mut Labelled) -> Result<()> {
        done.complete = self.frames.ids().all(|id| self.is_labelled(&id));
        if !done.complete {
            return Ok(());
        }
        {
            let _alone = self.claims.alone()?;
            self.record.complete = true;
            self.record.write(&self.dir)?;
        }
        done.elsewhere = 0;
        self.claims.remove()
    }

    /// The files of a frame, encoded: nothing is written before all of it is.
    fn label(
        &self,
        index: usize,
        predictor: &dyn Predictor,
        request: &PredictOptions,
    ) -> Result<EncodedOutputs> {
        let frame = self.frames.decode(index)?;
        let FramePrediction { tasks, .. } = predictor.predict(&frame, request)?;
        let size = (frame.height, frame.width);
        let mut files = Vec::with_capacity(tasks.len());
        for (name, predicted) in &tasks {
            let Some(TaskCard { task, .. }) = self.card.tasks.get(name) else { continue };
            if let Some(file) = files_of(&**task, predicted, size).into_iter().next() {
                files.push((self.file(name, file.extension(), &frame.id), file.encode()?));
            }
        }
        Ok(EncodedOutputs { files })
    }

    fn file(&self, task: &str, extension: &str, id: &str) -> PathBuf {
        self.dir.join(task).join(format!("{id}.{extension}"))
    }

    fn is_labelled(&self, id: &str) -> bool {
        let mut tasks = self.record.tasks.iter();
        tasks.all(|(task, folder)| self.file(task, &folder.extension, id).is_file())
    }

    /// The ids of a part that have no labels yet.
    fn missing(&self, part: usize) -> impl Iterator<Item = Cow<'_, str>> {
        let ids = self.claims.frames(part).filter_map(|index| self.frames.id(index));
        ids.filter(|id| !self.is_labelled(id))
    }
}

fn labelled(data: &Path, frames: &Dataset) -> LabelledFrames {
    LabelledFrames {
        data: data.display().to_string(),
        samples: frames.len() as u64,
        names: frames.names_digest(),
    }
}

/// The folders of a model's labels.
fn folders(card: &ModelCard) -> Result<IndexMap<String, LabelFolder>> {
    let folder = |(name, TaskCard { task, .. }): (&String, &TaskCard)| {
        if !task.image_classes().is_empty() {
            return Err(Error::Prediction(format!(
                "task `{name}` classifies whole images, and labels are per pixel; `multimae \
                 predict` writes its classes"
            )));
        }
        let extension = task.extensions().first().copied().unwrap_or("npy");
        let scale = match (task.classes().is_empty(), task.unit()) {
            (false, _) => None,
            (true, Some(_)) => Some(Scale::Metric),
            (true, None) => Some(Scale::Relative),
        };
        let folder = LabelFolder {
            kind: task.kind().to_owned(),
            extension: extension.to_owned(),
            unit: task.unit().map(str::to_owned),
            scale,
            modality: task.stored_as(extension),
        };
        Ok((name.clone(), folder))
    };
    card.tasks.iter().map(folder).collect()
}
