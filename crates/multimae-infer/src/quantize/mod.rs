//! Models that multiply in whole numbers of 8 bits.
//!
//! Weights have a scale per output channel, fixed when they are [quantised](quantize); the rows that they
//! multiply have one per token, and the maps of a convolution one per image, found as they come. All are
//! symmetric. Channels of a layer's input that are larger than the others would leave few of the 256
//! numbers to these: smoothing moves a part of their size from behind the norm before the layer into its
//! weight, which changes nothing in fp32 (Xiao et al., 2023), as far as it lowers the error of the layer on
//! the frames of the calibration.

mod agreement;
mod calibration;
mod smoothing;

use multimae::prompts::PromptConfig;
use multimae::state::{AllowedKeys, StateDict, load, state_dict};
use multimae::weights::{dequantised, quantised};
use multimae_data::RawSample;
use multimae_kernels::precision::Precision;

use crate::predict::{ModelPredictor, PredictOptions, prepare};
use crate::saved_model::SavedModel;
use crate::weights_source::QUANTISED;
use crate::{Error, Result};

pub use agreement::{Agreement, AgreementOfTask};
pub use calibration::{Calibration, LayerInput};
pub use smoothing::{Smoothed, smoothed};

/// A quantised model and what became of its layers.
#[derive(Debug)]
pub struct Quantized {
    /// The model, whose weights are those that its file will have.
    pub saved: SavedModel,
    /// Its layers, in the order in which they compute.
    pub layers: Vec<LayerError>,
}

/// The error that 8 bits make in a layer's output, over frames of the calibration: the root of the mean
/// square of the difference over that of the output.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerError {
    /// The weight's name.
    pub name: String,
    /// Without smoothing.
    pub plain: f64,
    /// As stored.
    pub stored: f64,
}

/// Records what the layers of a model, which is merged, multiply for some frames.
///
/// # Errors
/// If a frame does not fit the model, or it has no layers to quantise.
pub fn calibrate(
    predictor: &ModelPredictor,
    frames: impl Iterator<Item = Result<RawSample>>,
    options: &PredictOptions,
    mut done: impl FnMut(),
) -> Result<Calibration> {
    let saved = predictor.saved();
    let calibration = Calibration::of(&saved.model);
    let card = std::sync::Arc::new(saved.card.clone());
    for frame in frames {
        let frame = prepare(&card, &frame?, options)?;
        calibration.record(|| predictor.forward(&frame).map(|_| ()))?;
        done();
    }
    if calibration.is_empty() {
        let text = "the model has no layers that multiply in 8 bits, or no frame is there";
        return Err(Error::Prediction(text.to_owned()));
    }
    Ok(calibration)
}

/// Quantises a model by what its layers multiply.
///
/// # Errors
/// If weights are not finite.
pub fn quantize(saved: &SavedModel, calibration: &Calibration) -> Result<Quantized> {
    let weights = state_dict(&saved.model);
    let peft = &saved.card.peft;
    // Divisors of a norm cancel only where all that reads the layer behind it reads the norm: not with prompts that
    // modulate norms, nor with those that the projections of attention read without one.
    let norms_stay =
        peft.prompt_norms.is_some() || matches!(peft.prompts, Some(PromptConfig::Cross(_)));
    let Smoothed { weights, layers } = smoothed(weights, calibration, norms_stay)?;
    let weights: StateDict = dequantised(quantised(weights)?)?;
    let model = load(saved.model.clone(), weights, &AllowedKeys::default())?;
    let mut notes = saved.notes.clone();
    notes.insert(QUANTISED.0.to_owned(), QUANTISED.1.to_owned());
    let card = saved.card.clone();
    Ok(Quantized { saved: SavedModel { model, card, notes, precision: Precision::Int8 }, layers })
}
