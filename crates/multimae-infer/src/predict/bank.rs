//! Whole frames through several adapters of one backbone.

use std::sync::Arc;

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Tensor};
use multimae::output_adapters::Prediction;
use multimae_data::{RawSample, Sample};
use multimae_kernels::precision::Precision;

use super::stages::smallest;
use super::{FrameOutputs, FramePrediction, PredictOptions, PreparedFrame, prepare};
use crate::saved_model::{AdapterBank, ModelCard};
use crate::weights_source::WeightsSource;
use crate::{Error, Result};

/// Predicts whole frames, each with an adapter of its own, as few passes through the encoder as can be.
///
/// A clone is cheap and shares all weights, as that of an [`AdapterBank`] does.
#[derive(Debug, Clone)]
pub struct BankPredictor {
    bank: AdapterBank,
}

impl BankPredictor {
    /// A predictor without adapters on the backbone of a file or a run's folder.
    #[must_use]
    pub fn new(backbone: impl Into<WeightsSource>, device: Device) -> Self {
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
        let good: Vec<(&str, &PreparedFrame)> = good.map(|(frame, _)| *frame).collect();
        let mut outputs = self.isolated(&good).into_iter();
        let output = |checked: Result<()>| {
            checked.and_then(|()| outputs.next().unwrap_or_else(|| Err(lost())))
        };
        checked.into_iter().map(output).collect()
    }

    /// Runs the forward pass of an adapter for a frame of four patches, and says whether it computes.
    ///
    /// # Errors
    /// If there is no such adapter, or its outputs cannot be computed or are not finite.
    pub fn probe(&self, adapter: &str) -> Result<()> {
        let sample = smallest(self.known(adapter)?);
        let outputs = self.bank.forward(&[(adapter, sample)])?;
        for (task, output) in outputs.into_iter().flatten() {
            let data = match output {
                Prediction::Maps(maps) => maps.into_data(),
                Prediction::Classes(logits) => logits.into_data(),
            };
            if data.iter::<f32>().any(|value| !value.is_finite()) {
                return Err(Error::Prediction(format!(
                    "adapter `{adapter}`, task `{task}`: the outputs for an empty frame are not \
                     finite; its weights are damaged"
                )));
            }
        }
        Ok(())
    }

    /// The outputs for frames that fit their adapters. Where their pass fails, each has a pass of
    /// its own, so that one fails alone.
    fn isolated(&self, frames: &[(&str, &PreparedFrame)]) -> Vec<Result<FrameOutputs>> {
        match self.pass(frames) {
            Ok(outputs) => outputs.into_iter().map(Ok).collect(),
            Err(error) if frames.len() <= 1 => vec![Err(error)],
            Err(_) => {
                frames.iter().flat_map(|frame| self.isolated(std::slice::from_ref(frame))).collect()
            }
        }
    }

    fn pass(&self, frames: &[(&str, &PreparedFrame)]) -> Result<Vec<FrameOutputs>> {
        let samples: Vec<(&str, &Sample)> = frames
            .iter()
            .flat_map(|(adapter, frame)| frame.samples().iter().map(|own| (*adapter, own)))
            .collect();
        let mut predictions = self.bank.forward(&samples)?.into_iter();
        let outputs = frames.iter().map(|(_, frame)| {
            let own = predictions.by_ref().take(frame.samples().len()).collect();
            Ok(frame.outputs(together(own).ok_or_else(lost)?))
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
    use std::path::Path;

    use multimae::burn::tensor::TensorData;
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
    #[test]
    fn a_frame_that_fails_in_the_pass_fails_alone() {
        let dir = tempfile::tempdir().unwrap();
        let bank = bank(dir.path());
        let card = Arc::clone(bank.card("x").unwrap());
        let options = PredictOptions::all_inputs(&card);
        let ready = |id: &str| prepare(&card, &frame(id, 20, 33), &options).unwrap();
        let (good, mut bad) = (ready("a"), ready("b"));
        // Its maps are lost, of which nothing before the pass knows.
        bad.samples[0].maps.clear();
        let outputs = bank.forward(&[("x", &good), ("x", &bad), ("y", &good)]);
        let failed: Vec<bool> = outputs.iter().map(Result::is_err).collect();
        assert_eq!(failed, [false, true, false]);
        let alone = bank.forward(&[("x", &good)]).remove(0).unwrap().finish().unwrap();
        assert_close(&outputs[0].as_ref().unwrap().clone().finish().unwrap(), &alone);
    }

    #[test]
    fn a_probe_says_whether_an_adapter_computes() {
        let dir = tempfile::tempdir().unwrap();
        let mut bank = bank(dir.path());
        bank.probe("x").unwrap();
        assert!(bank.probe("z").unwrap_err().to_string().contains("no adapter `z`"));
        let mut broken = Adapter::load(&dir.path().join("x.safetensors")).unwrap();
        let bias = broken.tensors.keys().find(|name| name.ends_with(".bias")).unwrap().clone();
        let shape = broken.tensors[&bias].shape().clone();
        let values = vec![f32::NAN; shape.iter().product()];
        broken.tensors.insert(bias, TensorData::new(values, shape));
        let path = dir.path().join("broken.safetensors");
        broken.save(&path).unwrap();
        bank.bank_mut().add("broken", &path).unwrap();
        let error = bank.probe("broken").unwrap_err().to_string();
        assert!(error.contains("`broken`") && error.contains("not finite"), "{error}");
    }
}
