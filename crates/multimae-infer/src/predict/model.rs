//! A saved model as a predictor.

use std::sync::Arc;

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Tensor};
use multimae::modality::Size;
use multimae_data::resize::CropBox;
use multimae_data::{DataModality, Geometry, Placement, RawSample, Sample};

use multimae::output_adapters::Prediction;
use multimae::state::prepare as prepare_weights;
use multimae_kernels::precision::Precision;
use multimae_kernels::prepared::PreparedWeights;
use multimae_tasks::HeadOutput;
use multimae_tasks::maps::Maps;

use super::{
    FrameOutputs, FramePrediction, PredictOptions, Predictor, PreparedFrame, TaskPrediction,
    prepare,
};
use crate::saved_model::{ModelCard, SavedModel, TaskCard};
use crate::{Error, Result};

/// A saved model that predicts whole frames.
#[derive(Debug)]
pub struct ModelPredictor {
    saved: SavedModel,
    /// That of `saved`, for other threads.
    card: Arc<ModelCard>,
    device: Device,
    inputs: Vec<String>,
    prepared: PreparedWeights,
}

/// The part of a frame that a model sees, and its place in the model's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelView {
    /// The part of the frame.
    pub crop: CropBox,
    /// The size of the model's input.
    pub canvas: Size,
    /// The part of it at the top left that is no padding.
    pub shown: Size,
}

impl ModelPredictor {
    /// A predictor on the device that the model is on, in the model's precision.
    #[must_use]
    pub fn new(saved: SavedModel, device: Device) -> Self {
        let inputs = saved.card.inputs.iter().map(|input| input.data.name.clone()).collect();
        let card = Arc::new(saved.card.clone());
        let prepared = PreparedWeights::new();
        prepare_weights(&saved.model, &prepared);
        Self { saved, card, device, inputs, prepared }
    }

    /// The model.
    #[must_use]
    pub fn saved(&self) -> &SavedModel {
        &self.saved
    }

    /// The forward pass for a frame that was [prepared](super::prepare) with the model's card.
    ///
    /// # Errors
    /// If the frame was prepared for another model or does not fit.
    pub fn forward(&self, frame: &PreparedFrame) -> Result<FrameOutputs> {
        frame.check_model(&self.card)?;
        let inputs = self.card.stacked(frame.samples(), &self.device)?;
        Ok(frame.outputs(self.prepared.scope(|| self.saved.forward(inputs))?))
    }

    /// Inputs that are not requested although a head reads them.
    fn stand_ins<'a>(&'a self, options: &'a PredictOptions) -> impl Iterator<Item = &'a String> {
        let inputs = self.saved.card.inputs.iter();
        let missing = |name: &str| !options.inputs.iter().any(|input| input == name);
        inputs
            .filter(move |input| missing(&input.data.name) && is_read(&self.card, &input.adapter))
            .map(|input| &input.data.name)
    }
}

/// Whether a head reads the tokens of an input adapter.
pub(super) fn is_read(card: &ModelCard, adapter: &str) -> bool {
    card.model.heads.iter().any(|head| head.main_tasks.iter().any(|m| m == adapter))
}

/// # Errors
/// If a request names no input, or one that the model does not have.
pub(super) fn check(card: &ModelCard, options: &PredictOptions) -> Result<()> {
    let names = || card.inputs.iter().map(|input| &input.data.name);
    let known = || names().cloned().collect::<Vec<_>>().join(", ");
    if let Some(other) = options.inputs.iter().find(|input| !names().any(|name| name == *input)) {
        let text = format!("the model has no input `{other}`; it has {}", known());
        return Err(Error::Prediction(text));
    }
    if options.inputs.is_empty() {
        return Err(Error::Prediction(format!("no input is given; the model has {}", known())));
    }
    Ok(())
}

impl ModelView {
    /// All of a frame at the scale that the model was trained for, unless the request says how.
    ///
    /// # Errors
    /// If the request's size does not fit.
    pub fn of(card: &ModelCard, frame: Size, options: &PredictOptions) -> Result<Self> {
        let patch = card.model.patch_size;
        let crop = CropBox::whole((frame.height, frame.width));
        if let Some(canvas) = options.canvas {
            canvas.grid(patch)?;
            if canvas.height < frame.height || canvas.width < frame.width {
                return Err(Error::Prediction(format!(
                    "a frame of {frame} in an input of {canvas}"
                )));
            }
            return Ok(ModelView { crop, canvas, shown: frame });
        }
        let geometry = &card.geometry;
        let (height, width) = geometry.size();
        let canvas = Size::new(height, width);
        let only_classes = |card: &TaskCard| card.task.head_output() == HeadOutput::Classes;
        if card.tasks.values().all(only_classes) {
            let placement = placed(geometry, frame);
            return Ok(ModelView { crop: placement.crop, canvas, shown: canvas });
        }
        if let Geometry::Inside { .. } = geometry {
            let (height, width) = placed(geometry, frame).shown;
            return Ok(ModelView { crop, canvas, shown: Size::new(height, width) });
        }
        let canvas = bounded(frame, covering(frame, canvas, patch), canvas)?;
        Ok(ModelView { crop, canvas, shown: canvas })
    }

    /// The placement of the frame in the model's input, mirrored or not.
    #[must_use]
    pub fn placement(self, hflip: bool) -> Placement {
        let shown = (self.shown.height, self.shown.width);
        Placement { crop: self.crop, hflip, shown, zoom: 1.0 }
    }

    /// A frame as a model sees it.
    ///
    /// # Errors
    /// If the frame's maps are not of their kinds.
    pub fn sample(
        self,
        card: &ModelCard,
        frame: &RawSample,
        options: &PredictOptions,
        hflip: bool,
    ) -> Result<Sample> {
        let wanted = |m: &&DataModality| {
            options.inputs.contains(&m.name) && frame.maps.contains_key(&m.name)
        };
        let mask = card.valid_mask.as_ref().filter(|mask| frame.maps.contains_key(&mask.name));
        let inputs = card.inputs.iter().map(|input| &input.data).filter(wanted);
        let modalities: Vec<&DataModality> = inputs.chain(mask).collect();
        let placement = self.placement(hflip);
        Ok(multimae_data::view(
            frame,
            &modalities,
            placement,
            (self.canvas.height, self.canvas.width),
        )?)
    }
}

impl Predictor for ModelPredictor {
    fn predict(&self, frame: &RawSample, options: &PredictOptions) -> Result<FramePrediction> {
        self.forward(&prepare(&self.card, frame, options)?)?.finish()
    }

    fn describe_input(&self, size: Size, options: &PredictOptions) -> Result<String> {
        check(&self.card, options)?;
        let view = ModelView::of(&self.card, size, options)?;
        let mut text = format!("{} at {}", options.inputs.join(" and "), view.canvas);
        let whole = CropBox::whole((size.height, size.width));
        if view.crop != whole {
            text.push_str(", the frame's centre");
        } else if view.shown == size {
            text.push_str(", the frame as it is");
        } else {
            let aspect = |size: Size| size.width as f64 / size.height as f64;
            let change = 100.0 * (aspect(view.shown) / aspect(size) - 1.0);
            text.push_str(", all of the frame resized");
            if change.abs() >= 0.1 {
                text.push_str(&format!(", {change:+.1} % wider"));
            }
        }
        if view.shown != view.canvas {
            let Size { height, width } = view.shown;
            text.push_str(&format!(" to {height}x{width}, padded below and to the right"));
        }
        let stand_ins: Vec<&str> = self.stand_ins(options).map(String::as_str).collect();
        if !stand_ins.is_empty() {
            text.push_str(&format!("; {} missing, at its mean", stand_ins.join(" and ")));
        }
        Ok(text)
    }

    fn precision(&self) -> Precision {
        self.saved.precision
    }

    fn inputs(&self) -> &[String] {
        &self.inputs
    }

    fn tasks(&self) -> &IndexMap<String, TaskCard> {
        &self.saved.card.tasks
    }
}

/// A geometry of evaluation draws nothing.
fn placed(geometry: &Geometry, frame: Size) -> Placement {
    let mut rng = multimae_data::stream(0, "predict", 0, 0);
    geometry.place(frame.height, frame.width, &mut rng)
}

/// The most pixels of a model's input, compared with those that it was trained for. A frame as long
/// as it is wide, 16 times over, is still seen whole.
const MAX_ENLARGEMENT: usize = 16;

/// Checks the size of an input before it takes memory.
fn bounded(frame: Size, canvas: Size, trained: Size) -> Result<Size> {
    let most = MAX_ENLARGEMENT * trained.height * trained.width;
    if canvas.height.checked_mul(canvas.width).is_some_and(|pixels| pixels <= most) {
        return Ok(canvas);
    }
    Err(Error::Prediction(format!(
        "a frame of {frame} would need an input of {canvas}, and at most {MAX_ENLARGEMENT} times the \
         {trained} of training are computed; crop the frame or cut it into parts"
    )))
}

/// The size of whole patches that is nearest to a frame scaled so that it just covers `canvas`.
fn covering(frame: Size, canvas: Size, patch: usize) -> Size {
    let ratio = |to: usize, from: usize| to as f64 / from.max(1) as f64;
    let factor = ratio(canvas.height, frame.height).max(ratio(canvas.width, frame.width));
    let side = |pixels: usize| {
        let patches = pixels as f64 * factor / patch as f64;
        (patches.round() as usize).max(1) * patch
    };
    Size::new(side(frame.height), side(frame.width))
}

/// Brings the decoded outputs for one frame, perhaps with those for its mirror image, to the
/// frame's own size.
///
/// # Shapes
/// Outputs `(1, ...)`, or `(2, ...)` with the mirror image second.
///
/// # Errors
/// If an output does not fit the view.
pub fn finish(
    card: &ModelCard,
    outputs: IndexMap<String, Prediction>,
    view: ModelView,
    size: Size,
) -> Result<FramePrediction, String> {
    let finished = |(name, output): (String, Prediction)| {
        let task = card.tasks.get(&name).ok_or_else(|| format!("no task `{name}`"))?;
        let prediction = of_frame(task, output, view, size)
            .map_err(|problem| format!("task `{name}`: {problem}"))?;
        Ok((name, prediction))
    };
    let tasks = outputs.into_iter().map(finished).collect::<Result<_, String>>()?;
    Ok(FramePrediction { tasks })
}

fn of_frame(
    card: &TaskCard,
    output: Prediction,
    view: ModelView,
    size: Size,
) -> Result<TaskPrediction, String> {
    Ok(match output {
        Prediction::Maps(maps) => {
            let values = merged(card, maps, view)?;
            let maps = Maps { values: &values, canvas: view.canvas, shown: view.shown };
            card.task.at_frame_size(&maps, size)
        }
        Prediction::Classes(logits) => {
            let [batch, _] = logits.dims();
            let mean = logits.sum_dim(0).div_scalar(batch as f64);
            let values: Vec<f32> = mean.into_data().iter::<f32>().collect();
            let single = Size::new(1, 1);
            card.task.at_frame_size(&Maps { values: &values, canvas: single, shown: single }, size)
        }
    })
}

/// The mean of a frame's maps and those of its mirror image, if there are two: `(C, canvas)`.
fn merged(card: &TaskCard, maps: Tensor<4>, view: ModelView) -> Result<Vec<f32>, String> {
    let [batch, channels, height, width] = maps.dims();
    if (height, width) != (view.canvas.height, view.canvas.width) {
        return Err(format!("the head's maps are {height}x{width}, the input is {}", view.canvas));
    }
    let mut values: Vec<f32> = maps.into_data().iter::<f32>().collect();
    let mut mirror = values.split_off(channels * height * width);
    if batch > 1 {
        let shown = view.shown.width;
        mirror.chunks_exact_mut(width).for_each(|row| row[..shown].reverse());
        card.unmirror(&mut mirror, height * width);
        for (row, mirrored) in values.chunks_exact_mut(width).zip(mirror.chunks_exact(width)) {
            let pairs = row[..shown].iter_mut().zip(&mirrored[..shown]);
            pairs.for_each(|(a, b)| *a = 0.5 * (*a + b));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use multimae::burn::tensor::TensorData;
    use multimae_tasks::kinds::depth::{Depth, DepthScale};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_are_seen_whole_at_the_scale_of_training() {
        let canvas = Size::new(96, 128);
        assert_eq!(covering(Size::new(480, 640), canvas, 8), canvas);
        assert_eq!(covering(Size::new(120, 160), canvas, 8), canvas);
        // A square model sees a 4:3 frame wider, in whole patches.
        let square = Size::square(256);
        assert_eq!(covering(Size::new(480, 640), square, 16), Size::new(256, 336));
        assert_eq!(covering(Size::new(1000, 10), square, 16).width, 256);
    }

    #[test]
    fn long_frames_are_seen_whole_up_to_a_bound() {
        let card = ModelCard {
            geometry: Geometry::CenterFit { size: (16, 24) },
            ..crate::saved_model::tests::saved().card
        };
        let view = |height, width| {
            ModelView::of(&card, Size::new(height, width), &PredictOptions::all_inputs(&card))
        };
        assert_eq!(view(100, 1000).unwrap().canvas, Size::new(16, 160));
        for (height, width) in [(1, 65535), (65535, 1), (1, 1 << 28), (100, 10_000)] {
            let error = view(height, width).unwrap_err().to_string();
            assert!(error.contains(&format!("a frame of {height}x{width}")), "{error}");
            assert!(error.contains("at most 16 times"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn inputs_of_any_frame_are_bounded_before_they_take_memory(
            short in 1_usize..=2000,
            ratio in 1.0..1e4_f64,
            portrait: bool,
            (rows, columns) in (1_usize..=40, 1_usize..=40),
        ) {
            let long = ((short as f64 * ratio) as usize).clamp(short, 20_000);
            let (height, width) = if portrait { (long, short) } else { (short, long) };
            let size = (8 * rows, 8 * columns);
            let most = MAX_ENLARGEMENT * size.0 * size.1;
            let saved = crate::saved_model::tests::saved();
            for geometry in [
                Geometry::CenterFit { size },
                Geometry::Inside { size },
                Geometry::CenterCrop { size, share: 0.9 },
            ] {
                let card = ModelCard { geometry, ..saved.card.clone() };
                let options = PredictOptions::all_inputs(&card);
                match ModelView::of(&card, Size::new(height, width), &options) {
                    Ok(view) => {
                        let Size { height, width } = view.canvas;
                        prop_assert!(height * width <= most);
                        prop_assert!(height % 8 == 0 && width % 8 == 0 && height * width > 0);
                        let inside = view.shown.height <= height && view.shown.width <= width;
                        prop_assert!(inside && view.shown.height * view.shown.width > 0);
                    }
                    // Only a frame of a very different aspect is refused.
                    Err(_) => {
                        let aspect = |rows: usize, columns: usize| rows as f64 / columns as f64;
                        let change = aspect(height, width) / aspect(size.0, size.1);
                        prop_assert!(change.max(change.recip()) > 7.0, "{change}");
                    }
                }
            }
        }
    }

    #[test]
    fn mirrored_maps_are_turned_back_within_what_is_shown() {
        let scale = DepthScale::Linear { mean: 0.0, std: 1.0 };
        let card = TaskCard::new(Depth { scale, min: 0.0, max: 10.0 }, None);
        let maps = [1.0_f32, 3.0, 9.0, /* mirrored */ 5.0, 7.0, 9.0];
        let maps =
            Tensor::from_data(TensorData::new(maps.to_vec(), [2, 1, 1, 3]), &Device::default());
        let view = ModelView {
            crop: CropBox::whole((1, 2)),
            canvas: Size::new(1, 3),
            shown: Size::new(1, 2),
        };
        assert_eq!(merged(&card, maps.clone(), view).unwrap(), [4.0, 4.0, 9.0]);
        let other = ModelView { canvas: Size::new(1, 4), ..view };
        assert!(merged(&card, maps, other).is_err());
    }
}
