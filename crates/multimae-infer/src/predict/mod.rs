//! Predictions of a fine-tuned model for whole frames, at the frames' own size.
//!
//! A [`Predictor`] predicts one frame; [`ModelPredictor`] is one with a [saved
//! model](crate::saved_model), and a [`BankPredictor`] predicts many frames with several adapters of
//! one backbone. Both go through three stages, which a server runs on threads of their own:
//! [`prepare`], a forward pass, and [`FrameOutputs::finish`]. [`FrameSources`] finds the frames,
//! [`Outputs`] writes what is predicted for them.

mod bank;
mod medians;
mod model;
mod outputs;
mod sources;
mod stages;

use indexmap::IndexMap;
use multimae::modality::Size;
use multimae_data::RawSample;
use multimae_kernels::precision::Precision;

pub use bank::BankPredictor;
pub use medians::Medians;
pub use model::{ModelPredictor, ModelView, finish};
pub use multimae_tasks::{FramePrediction, TaskPrediction};
pub use outputs::{EncodedOutputs, OutputOptions, Outputs, PredictionFile, files_of};
pub use sources::{FrameSources, InputPath};
pub use stages::{FrameOutputs, PreparedFrame, prepare};

use crate::Result;
use crate::saved_model::{ModelCard, TaskCard};

/// The options of predicting a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictOptions {
    /// The modalities that the model gets; it does without the others.
    pub inputs: Vec<String>,
    /// The size of the model's input, if not the model's own choice: the frame as it is, padded
    /// below and to the right.
    pub canvas: Option<Size>,
    /// Take the mean with the prediction for the mirrored frame.
    pub flip: bool,
}

impl PredictOptions {
    /// All inputs of a model, at the scale of its training.
    #[must_use]
    pub fn all_inputs(card: &ModelCard) -> Self {
        let inputs = card.inputs.iter().map(|input| input.data.name.clone()).collect();
        Self { inputs, canvas: None, flip: false }
    }
}

/// A predictor of frames.
pub trait Predictor {
    /// Predicts for a frame that holds at least the requested inputs.
    ///
    /// # Errors
    /// If the frame or the request do not fit the model.
    fn predict(&self, frame: &RawSample, options: &PredictOptions) -> Result<FramePrediction>;

    /// Describes the model's input for a frame of that size.
    ///
    /// # Errors
    /// If it cannot predict from these inputs, or not at this size.
    fn describe_input(&self, size: Size, options: &PredictOptions) -> Result<String>;

    /// The precision of the GEMMs of its predictions.
    fn precision(&self) -> Precision;

    /// The modalities that it can be given.
    fn inputs(&self) -> &[String];

    /// The tasks that it predicts, by name.
    fn tasks(&self) -> &IndexMap<String, TaskCard>;
}
