//! Predictions of a fine-tuned model for whole frames, at the frames' own size.
//!
//! A [`Predictor`] predicts one frame; [`ModelPredictor`] is one with a [saved
//! model](crate::saved_model). [`Sources`] finds the frames, [`Outputs`] writes what is predicted
//! for them.

mod bank;
mod model;
mod outputs;
mod overlay;
mod sources;
mod upsample;

use indexmap::IndexMap;
use multimae::modality::Size;
use multimae_data::RawSample;

pub use bank::BankPredictor;
pub use model::ModelPredictor;
pub use outputs::{OutputOptions, Outputs, files_of};
pub use sources::{Input, Sources};

use crate::Result;
use crate::labels::Labels;

/// How a frame is to be predicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The modalities that the model gets; it does without the others.
    pub inputs: Vec<String>,
    /// The size of the model's input, if not the model's own choice: the frame as it is, padded
    /// below and to the right.
    pub canvas: Option<Size>,
    /// Take the mean with the prediction for the mirrored frame.
    pub flip: bool,
}

/// What a model says of a frame, by task, at the frame's own size.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FramePrediction {
    /// By the name of the task.
    pub tasks: IndexMap<String, TaskPrediction>,
}

/// What a model says of a frame in one task.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskPrediction {
    /// `(H, W)`, metres.
    Depth(Vec<f32>),
    /// `(H, W)`, indices of classes.
    Labels(Vec<i64>),
    /// `(C, H, W)`, in the task's unit.
    Values(Vec<f32>),
    /// The classes' probabilities for the whole frame.
    Classes(Vec<f32>),
}

impl FramePrediction {
    /// The first depth, `(H, W)` in metres.
    #[must_use]
    pub fn depth(&self) -> Option<&[f32]> {
        self.tasks.values().find_map(|task| match task {
            TaskPrediction::Depth(depth) => Some(depth.as_slice()),
            _ => None,
        })
    }

    /// The first labels, `(H, W)`.
    #[must_use]
    pub fn labels(&self) -> Option<&[i64]> {
        self.tasks.values().find_map(|task| match task {
            TaskPrediction::Labels(labels) => Some(labels.as_slice()),
            _ => None,
        })
    }
}

/// Whatever predicts frames.
pub trait Predictor {
    /// What it predicts for a frame that holds at least the requested inputs.
    ///
    /// # Errors
    /// If the frame or the request do not fit the model.
    fn predict(&self, frame: &RawSample, request: &Request) -> Result<FramePrediction>;

    /// What it does with a frame of that size, in words.
    ///
    /// # Errors
    /// If it cannot predict from these inputs, or not at this size.
    fn describe_input(&self, size: Size, request: &Request) -> Result<String>;

    /// The modalities that it can be given.
    fn inputs(&self) -> &[String];

    /// Whether it predicts depth.
    fn predicts_depth(&self) -> bool;

    /// The labels that it predicts, if it does.
    fn labels(&self) -> Option<&Labels>;
}
