//! Whole frames through several adapters of one backbone.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Tensor};
use multimae::output_adapters::Prediction;
use multimae_data::{RawSample, Sample};
use multimae_kernels::precision::Precision;

use super::{FrameOutputs, FramePrediction, PredictOptions, PreparedFrame, prepare};
use crate::saved_model::{AdapterBank, ModelCard};
use crate::{Error, Result};

/// Predicts whole frames, each with an adapter of its own, as few passes through the encoder as can be.
#[derive(Debug)]
pub struct BankPredictor {
    bank: AdapterBank,
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

    /// Returns the inputs and tasks of an adapter.
    #[must_use]
    pub fn card(&self, adapter: &str) -> Option<&Arc<ModelCard>> {
        self.bank.card(adapter)
    }

    /// Predicts each frame with its adapter; a frame that does not fit is an error of its own.
    #[must_use]
    pub fn predict(&self, frames: &[(&str, &RawSample)]) -> Vec<Result<FramePrediction>> {
        let prepared = frames.iter().map(|(adapter, frame)| {
            let card = self.known(adapter)?;
            prepare(card, frame, &PredictOptions::all_inputs(card))
        });
        let prepared: Vec<Result<PreparedFrame>> = prepared.collect();
        let good = frames.iter().zip(&prepared);
        let good = good.filter_map(|((adapter, _), frame)| Some((*adapter, frame.as_ref().ok()?)));
        let mut outputs = self.forward(&good.collect::<Vec<_>>()).into_iter();
        let finish = |frame: Result<PreparedFrame>| {
            frame.and_then(|_| outputs.next().unwrap_or_else(|| Err(lost()))?.finish())
        };
        prepared.into_iter().map(finish).collect()
    }

    /// The forward pass for [prepared](prepare) frames, each with the adapter whose card it was
    /// prepared with; a frame that does not fit is an error of its own.
    #[must_use]
    pub fn forward(&self, frames: &[(&str, &PreparedFrame)]) -> Vec<Result<FrameOutputs>> {
        let fits = |(adapter, frame): &(&str, &PreparedFrame)| {
            self.known(adapter).and_then(|card| frame.check_model(card))
        };
        let checked: Vec<Result<()>> = frames.iter().map(fits).collect();
        let good = frames.iter().zip(&checked).filter(|(_, checked)| checked.is_ok());
        let samples: Vec<(&str, &Sample)> = good
            .flat_map(|((adapter, frame), _)| frame.samples().iter().map(|own| (*adapter, own)))
            .collect();
        let mut predictions = match self.bank.forward(&samples) {
            Ok(predictions) => Ok(predictions.into_iter()),
            Err(error) => Err(error.to_string()),
        };
        let mut outputs = |frame: &PreparedFrame| match &mut predictions {
            Ok(predictions) => {
                let own = predictions.by_ref().take(frame.samples().len()).collect();
                Ok(frame.outputs(together(own).ok_or_else(lost)?))
            }
            Err(text) => Err(Error::Prediction(text.clone())),
        };
        let outputs = frames.iter().zip(checked).map(|((_, frame), checked)| {
            checked?;
            outputs(frame)
        });
        outputs.collect()
    }

    fn known(&self, adapter: &str) -> Result<&Arc<ModelCard>> {
        self.card(adapter).ok_or_else(|| self.bank.unknown(adapter))
    }
}

fn lost() -> Error {
    Error::Prediction("a frame was not predicted".to_owned())
}

/// The predictions for a frame, and those for the mirrored frame behind it if it has one.
fn together(of_samples: Vec<IndexMap<String, Prediction>>) -> Option<IndexMap<String, Prediction>> {
    let mut of_samples = of_samples.into_iter();
    let first = of_samples.next()?;
    of_samples.try_fold(first, |mut all, other| {
        for (name, prediction) in other {
            let own = all.get_mut(&name)?;
            *own = match (own.clone(), prediction) {
                (Prediction::Maps(one), Prediction::Maps(other)) => {
                    Prediction::Maps(Tensor::cat(vec![one, other], 0))
                }
                (Prediction::Classes(one), Prediction::Classes(other)) => {
                    Prediction::Classes(Tensor::cat(vec![one, other], 0))
                }
                _ => return None,
            };
        }
        Some(all)
    })
}

#[cfg(test)]
mod tests {
    use multimae::state::state_dict;
    use multimae::tuning::ParameterKind;
    use multimae::weights::write_safetensors;
    use multimae_data::RawMap;

    use super::super::{ModelPredictor, Predictor as _};
    use super::*;
    use crate::saved_model::tests::saved;
    use crate::saved_model::{Adapter, Backbone};

    fn frame(id: &str, height: usize, width: usize) -> RawSample {
        let rgb = (0..3 * height * width).map(|i| (i * (i + id.len()) % 251) as u8).collect();
        let maps = [("rgb".to_owned(), RawMap::Color(rgb))].into_iter().collect();
        RawSample { id: id.to_owned(), index: 0, height, width, maps }
    }

    fn bank(dir: &Path) -> BankPredictor {
        let (saved, backbone) = (saved(), dir.join("backbone.safetensors"));
        let mut weights = state_dict(&saved.model);
        weights.retain(|name, _| ParameterKind::of(name) == ParameterKind::Backbone);
        fs_err::write(&backbone, write_safetensors(&weights, &IndexMap::new()).unwrap()).unwrap();
        let mut bank = BankPredictor::new(&backbone, Device::default());
        for name in ["x", "y"] {
            let path = dir.join(format!("{name}.safetensors"));
            let of = Backbone::of(&saved.model, &[]);
            Adapter::of(&saved, &"head".parse().unwrap(), of).save(&path).unwrap();
            bank.bank_mut().add(name, &path).unwrap();
        }
        bank
    }

    fn assert_close(got: &FramePrediction, expected: &FramePrediction) {
        let (got, expected) =
            (got.tasks["depth"].values().unwrap(), expected.tasks["depth"].values().unwrap());
        assert_eq!(got.len(), expected.len());
        let difference = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
        assert!(difference.fold(0.0, f32::max) < 1e-5);
    }

    #[test]
    fn frames_of_one_batch_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let (bank, alone) = (bank(dir.path()), ModelPredictor::new(saved(), Device::default()));
        let card = Arc::clone(bank.card("x").unwrap());
        let options = PredictOptions::all_inputs(&card);
        let mirrored = PredictOptions { flip: true, ..options.clone() };
        let frames = [frame("a", 20, 33), frame("bc", 9, 50), frame("def", 20, 33)];
        let requests = [&options, &mirrored, &options];
        let prepared: Vec<PreparedFrame> = frames
            .iter()
            .zip(requests)
            .map(|(frame, options)| prepare(&card, frame, options).unwrap())
            .collect();
        let mut other = (*card).clone();
        other.inputs[0].unit = Some("sRGB".to_owned());
        let stale = prepare(&Arc::new(other), &frames[0], &options).unwrap();
        let batch = [
            ("x", &prepared[0]),
            ("y", &stale),
            ("y", &prepared[1]),
            ("z", &prepared[0]),
            ("y", &prepared[2]),
        ];
        let outputs: Vec<Result<FrameOutputs>> = bank.forward(&batch);
        let problem = |place: usize| outputs[place].as_ref().unwrap_err().to_string();
        assert!(problem(1).contains("prepared for another model"), "{}", problem(1));
        assert!(problem(3).contains("no adapter `z`; there are x, y"), "{}", problem(3));
        for (place, own) in [(0, 0), (2, 1), (4, 2)] {
            let got = outputs[place].as_ref().unwrap().clone().finish().unwrap();
            assert_close(&got, &alone.predict(&frames[own], requests[own]).unwrap());
        }
        let whole = bank.predict(&[("y", &frames[2]), ("z", &frames[0]), ("x", &frames[0])]);
        assert!(whole[1].is_err());
        for (place, own) in [(0, 2), (2, 0)] {
            let expected = alone.predict(&frames[own], &options).unwrap();
            assert_close(whole[place].as_ref().unwrap(), &expected);
        }
    }
}
