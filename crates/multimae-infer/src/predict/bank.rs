//! Whole frames through several adapters of one backbone.

use std::path::Path;

use multimae::burn::tensor::Device;
use multimae::modality::Size;
use multimae_data::{RawSample, Sample};
use multimae_kernels::precision::Precision;

use super::model::{ModelView, finish};
use super::{FramePrediction, PredictOptions};
use crate::saved_model::{AdapterBank, ModelCard};
use crate::{Error, Result};

/// Predicts whole frames, each with an adapter of its own, as few passes through the encoder as can be.
#[derive(Debug)]
pub struct BankPredictor {
    bank: AdapterBank,
}

/// A frame as its adapter sees it.
struct ViewedFrame<'a> {
    place: usize,
    adapter: &'a str,
    size: Size,
    view: ModelView,
    sample: Sample,
}

impl BankPredictor {
    /// A predictor without adapters on the backbone of a file or a run's folder.
    #[must_use]
    pub fn new(backbone: &Path, device: Device) -> Self {
        Self { bank: AdapterBank::new(backbone, device) }
    }

    /// The same predictor in another precision than 32 bits, which its device must
    /// [have](Precision::check).
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { bank: self.bank.with_precision(precision) }
    }

    /// The adapters.
    #[must_use]
    pub fn bank(&self) -> &AdapterBank {
        &self.bank
    }

    /// The adapters, to add or remove some.
    pub fn bank_mut(&mut self) -> &mut AdapterBank {
        &mut self.bank
    }

    /// What an adapter's tasks are.
    #[must_use]
    pub fn card(&self, adapter: &str) -> Option<&ModelCard> {
        self.bank.get(adapter).map(|saved| &saved.card)
    }

    /// Tokens that a frame of that size is for an adapter: patches of all inputs, prompts not counted.
    ///
    /// # Errors
    /// If there is no such adapter.
    pub fn tokens(&self, adapter: &str, size: Size) -> Result<usize> {
        let card = self.known(adapter)?;
        let view = ModelView::of(card, size, &options_of(card))?;
        Ok(view.canvas.grid(card.model.patch_size)?.area() * card.model.inputs.len())
    }

    /// What each adapter says of its frame; a frame that does not fit is an error of its own.
    #[must_use]
    pub fn predict(&self, frames: &[(&str, &RawSample)]) -> Vec<Result<FramePrediction>> {
        let mut results: Vec<Option<Result<FramePrediction>>> =
            frames.iter().map(|_| None).collect();
        let mut all = Vec::with_capacity(frames.len());
        for (place, (adapter, frame)) in frames.iter().enumerate() {
            match self.view(place, adapter, frame) {
                Ok(viewed) => all.push(viewed),
                Err(error) => results[place] = Some(Err(error)),
            }
        }
        for (place, result) in self.pass(all) {
            results[place] = Some(result);
        }
        let lost = || Err(Error::Prediction("a frame was not predicted".to_owned()));
        results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
    }

    fn known(&self, adapter: &str) -> Result<&ModelCard> {
        self.card(adapter).ok_or_else(|| {
            let names: Vec<&str> = self.bank.names().collect();
            Error::Prediction(format!(
                "there is no adapter `{adapter}`; there are {}",
                names.join(", ")
            ))
        })
    }

    fn view<'a>(
        &self,
        place: usize,
        adapter: &'a str,
        frame: &RawSample,
    ) -> Result<ViewedFrame<'a>> {
        let card = self.known(adapter)?;
        let options = options_of(card);
        if let Some(name) = options.inputs.iter().find(|name| !frame.maps.contains_key(*name)) {
            return Err(Error::Prediction(format!(
                "adapter `{adapter}` needs the input `{name}`, which the frame does not have"
            )));
        }
        let size = Size::new(frame.height, frame.width);
        let view = ModelView::of(card, size, &options)?;
        let sample = view.sample(card, frame, &options, false)?;
        Ok(ViewedFrame { place, adapter, size, view, sample })
    }

    fn pass(&self, frames: Vec<ViewedFrame<'_>>) -> Vec<(usize, Result<FramePrediction>)> {
        let mut samples = Vec::with_capacity(frames.len());
        let mut places = Vec::with_capacity(frames.len());
        for ViewedFrame { place, adapter, size, view, sample } in frames {
            samples.push((adapter, sample));
            places.push((place, size, view));
        }
        match self.bank.predict(&samples) {
            Ok(outputs) => places
                .into_iter()
                .zip(outputs)
                .zip(&samples)
                .map(|(((place, size, view), outputs), (adapter, _))| {
                    let finished = self.known(adapter).and_then(|card| {
                        finish(card, outputs, view, size).map_err(Error::Prediction)
                    });
                    (place, finished)
                })
                .collect(),
            Err(error) => {
                let text = error.to_string();
                let failed = |(place, ..): (usize, Size, ModelView)| {
                    (place, Err(Error::Prediction(text.clone())))
                };
                places.into_iter().map(failed).collect()
            }
        }
    }
}

/// All inputs of a model, at the scale of its training.
fn options_of(card: &ModelCard) -> PredictOptions {
    let inputs = card.inputs.iter().map(|input| input.data.name.clone()).collect();
    PredictOptions { inputs, canvas: None, flip: false }
}
