//! The three stages of predicting a frame, for threads of their own.
//!
//! [`prepare`] brings a frame to the model's size, the forward pass of a
//! [`ModelPredictor`](super::ModelPredictor) or a [`BankPredictor`](super::BankPredictor) makes
//! outputs of it, and [`FrameOutputs::finish`] brings these to the frame's own size. Only the pass
//! needs the model and its device; the other two work in host memory on any thread.

use std::sync::Arc;

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::modality::{ModalityKind, Size};
use multimae::output_adapters::Prediction;
use multimae_data::{Map, RawSample, Sample, Values};

use super::model::{ModelView, check, finish, is_read};
use super::{FramePrediction, PredictOptions};
use crate::saved_model::{InputModality, ModelCard};
use crate::{Error, Result};

/// A frame at the size of a model, normalised, in host memory.
#[derive(Debug, Clone)]
pub struct PreparedFrame {
    view: FrameView,
    /// One, or two with the mirrored frame; maps by the name of the input adapter.
    pub(super) samples: Vec<Sample>,
}

/// The facts about a frame that finishing its prediction needs.
#[derive(Debug, Clone)]
struct FrameView {
    card: Arc<ModelCard>,
    id: String,
    size: Size,
    model_view: ModelView,
}

/// The outputs of a model's heads for one frame, in host memory, at the model's size and not yet
/// in the units of their tasks.
#[derive(Debug, Clone)]
pub struct FrameOutputs {
    view: FrameView,
    heads: IndexMap<String, HostOutput>,
}

/// A [`Prediction`] in host memory.
#[derive(Debug, Clone)]
enum HostOutput {
    Maps(TensorData),
    Classes(TensorData),
}

/// Brings a frame to the size of a model and normalises it. Inputs that are not requested although a
/// head reads them stand at their mean.
///
/// # Errors
/// If the model has no such input or the frame lacks a requested one, or the frame or the requested
/// size do not fit.
pub fn prepare(
    card: &Arc<ModelCard>,
    frame: &RawSample,
    options: &PredictOptions,
) -> Result<PreparedFrame> {
    check(card, options)?;
    if let Some(name) = options.inputs.iter().find(|name| !frame.maps.contains_key(*name)) {
        return Err(Error::Prediction(format!(
            "the input `{name}` is requested, and frame `{}` does not have it",
            frame.id
        )));
    }
    let size = Size::new(frame.height, frame.width);
    let model_view = ModelView::of(card, size, options)?;
    let mirrored: &[bool] = if options.flip { &[false, true] } else { &[false] };
    let sample = |&hflip: &bool| {
        let sample = card.prepared(&model_view.sample(card, frame, options, hflip)?);
        with_stand_ins(card, sample, model_view.canvas)
    };
    let samples = mirrored.iter().map(sample).collect::<Result<_>>()?;
    let view = FrameView { card: Arc::clone(card), id: frame.id.clone(), size, model_view };
    Ok(PreparedFrame { view, samples })
}

impl PreparedFrame {
    /// Height and width of the frame itself.
    #[must_use]
    pub fn size(&self) -> Size {
        self.view.size
    }

    /// Tokens of a forward pass: patches of all inputs, the mirrored frame included and prompts not.
    #[must_use]
    pub fn tokens(&self) -> usize {
        let (patch, canvas) = (self.view.card.model.patch_size.max(1), self.view.model_view.canvas);
        let patches = (canvas.height / patch) * (canvas.width / patch);
        self.samples.iter().map(|sample| patches * sample.maps.len()).sum()
    }

    /// The outputs of the heads for this frame, read back from the model's device.
    ///
    /// # Shapes
    /// Predictions with a batch of one, or of two with the mirrored frame.
    #[must_use]
    pub fn outputs(&self, predictions: IndexMap<String, Prediction>) -> FrameOutputs {
        let heads = predictions.into_iter().map(|(name, head)| (name, HostOutput::read(head)));
        FrameOutputs { view: self.view.clone(), heads: heads.collect() }
    }

    pub(super) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// # Errors
    /// If the frame was prepared for a model with another card.
    pub(super) fn check_model(&self, card: &Arc<ModelCard>) -> Result<()> {
        if Arc::ptr_eq(&self.view.card, card) || self.view.card == *card {
            return Ok(());
        }
        Err(Error::Prediction(format!(
            "frame `{}` was prepared for another model, which was replaced since; send it again",
            self.view.id
        )))
    }
}

impl FrameOutputs {
    /// Height and width of the frame itself.
    #[must_use]
    pub fn size(&self) -> Size {
        self.view.size
    }

    /// Leaves out the tasks for which `keep` is false, so that they are not finished.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.heads.retain(|name, _| keep(name));
    }

    /// The predictions at the frame's own size and in the units of their tasks.
    ///
    /// # Errors
    /// If an output does not fit its task or the size of the model's input.
    pub fn finish(self) -> Result<FramePrediction> {
        let FrameView { card, id, size, model_view } = self.view;
        let host = Device::flex();
        let heads = self.heads.into_iter().map(|(name, head)| (name, head.on(&host)));
        let outputs = card.outputs(heads.collect())?;
        finish(&card, outputs, model_view, size)
            .map_err(|problem| Error::Prediction(format!("frame `{id}`: {problem}")))
    }
}

impl HostOutput {
    fn read(prediction: Prediction) -> Self {
        match prediction {
            Prediction::Maps(maps) => Self::Maps(maps.into_data()),
            Prediction::Classes(logits) => Self::Classes(logits.into_data()),
        }
    }

    fn on(self, device: &Device) -> Prediction {
        match self {
            Self::Maps(data) => Prediction::Maps(Tensor::from_data(data, device)),
            Self::Classes(data) => Prediction::Classes(Tensor::from_data(data, device)),
        }
    }
}

/// The inputs in the model's order; those that a head reads and that are not there stand at their
/// mean.
fn with_stand_ins(card: &ModelCard, mut sample: Sample, canvas: Size) -> Result<Sample> {
    let mut given = std::mem::take(&mut sample.maps);
    for input in &card.inputs {
        let name = &input.adapter;
        if let Some(map) = given.shift_remove(name) {
            sample.maps.insert(name.clone(), map);
        } else if is_read(card, name)
            && let Some(modality) = card.model.inputs.iter().find(|input| input.name == *name)
        {
            let size = [canvas.height / modality.stride, canvas.width / modality.stride];
            sample.maps.insert(name.clone(), stand_in(name, &modality.kind, size)?);
        }
    }
    Ok(sample)
}

/// Returns a sample of two rows of two patches: every input at its mean, labels of class 0.
pub(super) fn smallest(card: &ModelCard) -> Sample {
    let side = 2 * card.model.patch_size;
    let map = |input: &InputModality| {
        let modality = card.model.inputs.iter().find(|own| own.name == input.adapter)?;
        let size = side / modality.stride.max(1);
        let values = match &modality.kind {
            ModalityKind::Continuous { channels } => {
                Values::Continuous { channels: *channels, data: vec![0.0; channels * size * size] }
            }
            ModalityKind::Categorical { .. } => Values::Labels(vec![0; size * size]),
        };
        Some((input.adapter.clone(), Map { height: size, width: size, values }))
    };
    let maps = card.inputs.iter().filter_map(map).collect();
    Sample { id: "empty".to_owned(), index: 0, maps }
}

/// Returns the stand-in of a missing modality: its mean, which is 0 after normalisation, or
/// padding.
fn stand_in(name: &str, kind: &ModalityKind, [height, width]: [usize; 2]) -> Result<Map> {
    let values = match kind {
        ModalityKind::Continuous { channels } => {
            Values::Continuous { channels: *channels, data: vec![0.0; channels * height * width] }
        }
        ModalityKind::Categorical { classes, padding: true, .. } => {
            Values::Labels(vec![*classes as i64; height * width])
        }
        ModalityKind::Categorical { .. } => {
            return Err(Error::Prediction(format!(
                "input `{name}` cannot be left out: a head reads it, and the model knows no label \
                 for padding"
            )));
        }
    };
    Ok(Map { height, width, values })
}

#[cfg(test)]
mod tests {
    use multimae_data::RawMap;

    use super::super::{ModelPredictor, TaskPrediction};
    use super::*;
    use crate::saved_model::tests::saved;

    fn frame(height: usize, width: usize) -> RawSample {
        let rgb = (0..3 * height * width).map(|i| (i * i % 251) as u8).collect();
        let maps = [("rgb".to_owned(), RawMap::Color(rgb))].into_iter().collect();
        RawSample { id: "a".to_owned(), index: 0, height, width, maps }
    }

    fn options(flip: bool) -> PredictOptions {
        PredictOptions { flip, ..PredictOptions::all_inputs(&saved().card) }
    }

    /// The prediction without stages: tensors from the frame to the units of the tasks.
    fn expected(frame: &RawSample, options: &PredictOptions) -> FramePrediction {
        let (saved, size) = (saved(), Size::new(frame.height, frame.width));
        let model_view = ModelView::of(&saved.card, size, options).unwrap();
        let sample = |hflip| model_view.sample(&saved.card, frame, options, hflip).unwrap();
        let mut samples = vec![sample(false)];
        if options.flip {
            samples.push(sample(true));
        }
        let inputs = saved.card.inputs(&samples, &Device::default()).unwrap();
        let outputs = saved.predict(inputs).unwrap();
        finish(&saved.card, outputs, model_view, size).unwrap()
    }

    #[test]
    fn stages_on_other_threads_give_the_same_bits() {
        let predictor = ModelPredictor::new(saved(), Device::default());
        for (flip, (height, width)) in [(false, (20, 33)), (true, (20, 33)), (false, (9, 50))] {
            let (frame, options) = (frame(height, width), options(flip));
            let card = Arc::new(saved().card);
            let prepared = std::thread::scope(|scope| {
                scope.spawn(|| prepare(&card, &frame, &options)).join().unwrap().unwrap()
            });
            assert_eq!(prepared.size(), Size::new(height, width));
            assert_eq!(prepared.tokens(), if flip { 12 } else { 6 });
            let outputs = predictor.forward(&prepared).unwrap();
            let got = std::thread::spawn(|| outputs.finish()).join().unwrap().unwrap();
            assert_eq!(got, expected(&frame, &options));
            assert_eq!(got.tasks["depth"].values().map(<[f32]>::len), Some(height * width));
        }
    }

    #[test]
    fn tasks_that_are_left_out_are_not_finished() {
        let predictor = ModelPredictor::new(saved(), Device::default());
        let prepared = prepare(&Arc::new(saved().card), &frame(20, 33), &options(false)).unwrap();
        let mut outputs = predictor.forward(&prepared).unwrap();
        outputs.retain(|task| task == "semseg");
        let prediction = outputs.finish().unwrap();
        assert_eq!(prediction.tasks.keys().collect::<Vec<_>>(), ["semseg"]);
        assert!(matches!(prediction.tasks["semseg"], TaskPrediction::Labels(_)));
    }

    #[test]
    fn frames_of_other_models_and_without_inputs_are_refused() {
        let predictor = ModelPredictor::new(saved(), Device::default());
        let mut other = saved().card;
        other.inputs[0].unit = Some("sRGB".to_owned());
        let prepared = prepare(&Arc::new(other), &frame(20, 33), &options(false)).unwrap();
        let error = predictor.forward(&prepared).unwrap_err().to_string();
        assert!(error.contains("frame `a` was prepared for another model"), "{error}");
        let empty = RawSample { maps: IndexMap::new(), ..frame(20, 33) };
        let card = Arc::new(saved().card);
        let error = prepare(&card, &empty, &options(false)).unwrap_err().to_string();
        assert!(error.contains("`rgb` is requested, and frame `a`"), "{error}");
        let wanted = PredictOptions { inputs: vec!["depth".to_owned()], ..options(false) };
        let error = prepare(&card, &frame(20, 33), &wanted).unwrap_err().to_string();
        assert!(error.contains("no input `depth`; it has rgb"), "{error}");
    }

    #[test]
    fn missing_inputs_that_a_head_reads_stand_at_their_mean() {
        let values = |kind: &ModalityKind| stand_in("x", kind, [2, 3]).map(|map| map.values);
        let continuous = ModalityKind::Continuous { channels: 2 };
        assert_eq!(
            values(&continuous).unwrap(),
            Values::Continuous { channels: 2, data: vec![0.0; 12] }
        );
        let labels = |padding| ModalityKind::Categorical { classes: 5, dim_class_emb: 4, padding };
        assert_eq!(values(&labels(true)).unwrap(), Values::Labels(vec![5; 6]));
        assert!(values(&labels(false)).unwrap_err().to_string().contains("cannot be left out"));
        // The head of depth reads RGB: without it, a frame still has the tokens of a whole one.
        let card = saved().card;
        let empty = Sample { id: String::new(), index: 0, maps: IndexMap::new() };
        let filled = with_stand_ins(&card, empty, Size::new(16, 24)).unwrap();
        assert_eq!((filled.maps["rgb"].height, filled.maps["rgb"].width), (16, 24));
    }
}
