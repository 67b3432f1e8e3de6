//! One streaming scorer per task of a model.

use indexmap::IndexMap;
use multimae::modality::Size;
use multimae_data::Values;
use multimae_infer::saved_model::TaskCard;
use multimae_report::picture::Picture;
use multimae_tasks::{FramePrediction, FrameSums, Outcome, ScoredFrame, Scorer};

use crate::{Error, Result};

/// Scores all tasks of a model by their own rules: what chooses the best model of a run, what
/// `result.json` holds, and what `evaluate` prints without a named protocol.
pub struct TaskScorers {
    scorers: IndexMap<String, Box<dyn Scorer>>,
}

impl TaskScorers {
    /// Starts scoring; no frames are kept for pictures.
    ///
    /// # Errors
    /// If a task does not fit its own rules.
    pub fn new(tasks: &IndexMap<String, TaskCard>) -> Result<Self> {
        let scorer = |(name, card): (&String, &TaskCard)| {
            Ok((name.clone(), card.task.rules().scorer(&*card.task, 0)?))
        };
        Ok(Self { scorers: tasks.iter().map(scorer).collect::<Result<_>>()? })
    }

    /// Adds a frame. `annotation` gives the decoded annotation of a task at the frame's size.
    ///
    /// # Errors
    /// If a prediction or an annotation is missing or does not fit.
    pub fn add(
        &mut self,
        (id, size): (&str, Size),
        prediction: &FramePrediction,
        annotation: impl Fn(&str) -> Option<Values>,
        valid: Option<&[bool]>,
    ) -> Result<()> {
        let input: &dyn Fn() -> Option<Picture> = &|| None;
        for (name, scorer) in &mut self.scorers {
            let prediction = prediction.tasks.get(name).ok_or_else(|| {
                Error::Evaluation(format!("frame `{id}`: there is no prediction of `{name}`"))
            })?;
            let annotation = annotation(name);
            let annotation = annotation.as_ref();
            scorer.add(&ScoredFrame { id, size, prediction, annotation, valid, input })?;
        }
        Ok(())
    }

    /// The sums of the frames by task, of the tasks whose scores are made of such.
    #[must_use]
    pub fn frame_sums(&self) -> IndexMap<String, FrameSums> {
        let scorers = self.scorers.iter();
        scorers.filter_map(|(name, scorer)| Some((name.clone(), scorer.frame_sums()?))).collect()
    }

    /// The outcomes by task.
    ///
    /// # Errors
    /// If a task has no annotation in the set.
    pub fn outcomes(&self) -> Result<IndexMap<String, Outcome>> {
        let outcome = |name: &String, scorer: &dyn Scorer| {
            let outcome = scorer
                .outcome()
                .map_err(|error| Error::Evaluation(format!("task `{name}`: {error}")))?;
            Ok((name.clone(), outcome))
        };
        self.scorers.iter().map(|(name, scorer)| outcome(name, scorer.as_ref())).collect()
    }
}
