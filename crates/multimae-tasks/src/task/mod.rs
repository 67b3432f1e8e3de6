//! One task of a model.

mod scorer;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use multimae::losses::{SupervisedLoss, SupervisedTarget};
use multimae::output_adapters::Prediction;
use multimae_config::HeadOutput;
use multimae_data::Values;
use multimae_report::colormap::ValueRange;
use multimae_report::picture::Picture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::maps::Maps;
use crate::{AnnotationBatch, Constant, DecodingStep, Result, Target, TaskPrediction};
use multimae::modality::Size;

pub use scorer::{FrameFacts, NamedPicture, Outcome, ScoreRules, ScoredFrame, Scorer};

/// A class by name and colour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassInfo {
    /// Its name.
    pub name: String,
    /// Its colour, RGB.
    pub color: [u8; 3],
}

/// A task of a model: everything that depends on the kind of what is predicted.
///
/// Adding a kind is a file in `kinds/` that implements this and declares a [`TaskKind`](crate::TaskKind),
/// and a line in the registry.
pub trait Task: fmt::Debug + Send + Sync {
    /// The name of the kind, as in the registry.
    fn kind(&self) -> &'static str;

    /// Returns everything that prediction needs, as JSON without the kind.
    fn fields(&self) -> Value;

    /// Describes the task in a few words.
    fn summary(&self) -> String;

    /// Describes the task to clients of the server, as JSON without the kind. `shown` says how a
    /// page presents it: `map` (numbers of the `.npy` in a colour map, with `unit`), `classes` (ids
    /// of the `.npy`, with `classes` and `offset` or `values`), `picture` (the PNG, whose
    /// `channels` run from `low` to `high`) or `text`.
    fn api(&self) -> Value;

    /// The output that it needs from its head.
    fn head_output(&self) -> HeadOutput;

    /// The numbers of outputs that its head may have.
    fn outputs(&self) -> RangeInclusive<usize>;

    /// The classes, of tasks that have some.
    fn classes(&self) -> &[ClassInfo] {
        &[]
    }

    /// The classes of whole images by name, of tasks that classify images.
    fn image_classes(&self) -> &[String] {
        &[]
    }

    /// The label of pixels that do not count, of tasks with labels.
    fn ignored_label(&self) -> Option<i64> {
        None
    }

    /// A class's index minus the value that files store for it, of tasks with labels.
    fn label_offset(&self) -> i64 {
        0
    }

    /// The unit of predicted values, of tasks that have one.
    fn unit(&self) -> Option<&'static str> {
        None
    }

    /// The range of annotated values that are valid.
    fn valid_range(&self) -> (f64, f64) {
        (f64::NEG_INFINITY, f64::INFINITY)
    }

    /// Builds the target of a batch at the model's resolution.
    ///
    /// # Errors
    /// If a sample has no annotation of the task, or one of another kind.
    fn target(&self, batch: &AnnotationBatch<'_>) -> Result<Target>;

    /// Brings prediction and target to the scale on which `loss` compares them.
    fn comparable(
        &self,
        _loss: &SupervisedLoss,
        prediction: Prediction,
        target: SupervisedTarget,
    ) -> (Prediction, SupervisedTarget) {
        (prediction, target)
    }

    /// The steps of [`Self::decode`] for maps.
    fn decoding(&self) -> Vec<DecodingStep> {
        Vec::new()
    }

    /// Converts a head's output to values in the task's unit, or to logits of its classes;
    /// `None` if the output is of another kind.
    ///
    /// # Shapes
    /// `(B, C, H, W)` or `(B, classes)`; the number of channels may shrink.
    fn decode(&self, prediction: Prediction) -> Option<Prediction> {
        let Prediction::Maps(maps) = prediction else { return None };
        let steps = self.decoding();
        Some(Prediction::Maps(steps.iter().fold(maps, |maps, step| step.apply(maps))))
    }

    /// Brings decoded values to a frame's own size. For tasks per image, `maps.values` are the
    /// mean logits.
    fn at_frame_size(&self, maps: &Maps<'_>, size: Size) -> TaskPrediction;

    /// Returns the head's output (one number per channel) for the best prediction that does not
    /// look at the image; `None` if the statistics are of another kind.
    fn constant(&self, constant: &Constant) -> Option<Vec<f32>>;

    /// The rules by which a run scores the task, and `evaluate` without a named protocol.
    fn rules(&self) -> Arc<dyn ScoreRules>;

    /// The extensions of the files that [`Self::encode`] can write.
    fn extensions(&self) -> &'static [&'static str];

    /// Encodes a prediction as a file.
    ///
    /// # Errors
    /// If the prediction does not fit the size, or its values no file.
    fn encode(
        &self,
        prediction: &TaskPrediction,
        size: (usize, usize),
        extension: &str,
    ) -> Result<Vec<u8>>;

    /// The entry under `modalities:` of a recipe by which files of [`Self::encode`] are read; null of
    /// tasks per image.
    fn stored_as(&self, extension: &str) -> Value;

    /// Whether [`Self::overlay`] draws something.
    fn has_overlay(&self) -> bool {
        false
    }

    /// Draws a prediction over the frame that it is for, with a legend.
    ///
    /// # Errors
    /// If the prediction does not fit the size.
    fn overlay(
        &self,
        _prediction: &TaskPrediction,
        _frame: Option<&Picture>,
        _size: (usize, usize),
    ) -> Result<Option<Picture>> {
        Ok(None)
    }

    /// Draws a map of annotations, or of decoded values at the same size.
    ///
    /// # Errors
    /// If the map does not fit the size.
    fn draw(&self, map: &Values, size: (usize, usize), range: ValueRange) -> Result<Picture>;

    /// Draws the legend of the task's pictures, if they need one.
    fn legend(
        &self,
        _name: &str,
        _annotations: &[&Values],
        _range: ValueRange,
        _width: usize,
    ) -> Option<Picture> {
        None
    }
}
