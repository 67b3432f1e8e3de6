//! The contract of scoring: rules, scorers, outcomes.

use std::collections::BTreeSet;
use std::fmt;

use indexmap::IndexMap;
use multimae::modality::Size;
use multimae_data::Values;
use multimae_report::Table;
use multimae_report::picture::Picture;
use serde_json::Value;

use super::Task;
use crate::{Error, FrameSums, Result, TaskPrediction};

/// The comparison of predictions with annotations that a protocol prescribes for a kind of task.
pub trait ScoreRules: fmt::Debug + Send + Sync {
    /// The kind of task that is scored.
    fn kind(&self) -> &'static str;

    /// The key of the scores in JSON.
    fn key(&self) -> &'static str {
        self.kind()
    }

    /// The rules as JSON.
    fn fields(&self) -> Value;

    /// Starts scoring predictions of a task. The `worst` frames are kept for pictures.
    ///
    /// # Errors
    /// If the task does not fit the rules.
    fn scorer(&self, task: &dyn Task, worst: usize) -> Result<Box<dyn Scorer>>;
}

/// A frame to be scored.
pub struct ScoredFrame<'a> {
    /// The frame's name, for messages.
    pub id: &'a str,
    /// The frame's size.
    pub size: Size,
    /// The prediction at that size.
    pub prediction: &'a TaskPrediction,
    /// The annotation at that size, decoded; none for classes of images, which are in the name.
    pub annotation: Option<&'a Values>,
    /// `(H, W)`, if the data marks valid pixels.
    pub valid: Option<&'a [bool]>,
    /// Draws the frame's input.
    pub input: &'a dyn Fn() -> Option<Picture>,
}

impl ScoredFrame<'_> {
    /// The annotated values and the predicted ones, `(C, H, W)` each.
    ///
    /// # Errors
    /// If either is missing or of another kind.
    pub fn values(&self) -> Result<(&[f32], &[f32])> {
        match (self.annotation, self.prediction) {
            (Some(Values::Continuous { data, .. }), TaskPrediction::Values(values)) => {
                Ok((data, values))
            }
            _ => Err(self.problem("has no annotated and predicted values to compare")),
        }
    }

    /// The annotated labels and the predicted ones, `(H, W)` each.
    ///
    /// # Errors
    /// If either is missing or of another kind.
    pub fn labels(&self) -> Result<(&[i64], &[i64])> {
        match (self.annotation, self.prediction) {
            (Some(Values::Labels(target)), TaskPrediction::Labels(labels)) => Ok((target, labels)),
            _ => Err(self.problem("has no annotated and predicted labels to compare")),
        }
    }

    /// An error of this frame.
    #[must_use]
    pub fn problem(&self, problem: &str) -> Error {
        Error::Evaluation(format!("frame `{}` {problem}", self.id))
    }
}

/// Facts of a data set that the statement of a protocol names.
#[derive(Debug, Clone, Copy)]
pub struct FrameFacts<'a> {
    /// Heights and widths at which frames were scored.
    pub sizes: &'a BTreeSet<(usize, usize)>,
    /// Whether the data marks valid pixels.
    pub mask: bool,
}

/// A picture with a name for files and a caption.
pub type NamedPicture = (String, String, Picture);

/// Accumulates the scores of one task over frames.
pub trait Scorer: Send {
    /// Adds a frame.
    ///
    /// # Errors
    /// If prediction and annotation do not fit, or a prediction that counts is not finite.
    fn add(&mut self, frame: &ScoredFrame<'_>) -> Result<()>;

    /// The scores of all frames so far.
    ///
    /// # Errors
    /// If nothing was annotated.
    fn outcome(&self) -> Result<Outcome>;

    /// The sums of the frames, of which the scores of other draws of them can be computed; `None` if the
    /// scores are of another kind.
    fn frame_sums(&self) -> Option<FrameSums> {
        None
    }

    /// The rules on this data in words, by name.
    ///
    /// # Errors
    /// If they do not fit the frames.
    fn statement(&self, facts: FrameFacts<'_>) -> Result<Vec<(String, String)>>;

    /// Pictures of the worst frames and of the scores; names begin with `name`.
    ///
    /// # Errors
    /// If one cannot be drawn.
    fn pictures(&self, name: &str) -> Result<Vec<NamedPicture>>;
}

/// The scores of one task over a set.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The part of the task in the joint score that chooses the best model: from 0 to 1, higher is
    /// better.
    pub joint: f64,
    /// The scores that results carry, by the names of the kind.
    pub scores: IndexMap<String, f64>,
    /// Intersection over union by class, of tasks with classes of pixels.
    pub classes: Vec<(String, Option<f64>)>,
    /// The scores that stand for the protocol in tables of comparisons, as shown.
    pub headline: Vec<(String, String)>,
    /// All scores of the set.
    pub table: Table,
    /// Further tables with their titles.
    pub class_tables: Vec<(String, Table)>,
    /// Everything, as JSON.
    pub details: Value,
}
