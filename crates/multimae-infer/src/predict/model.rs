//! A saved model as a predictor.

use indexmap::IndexMap;
use multimae::burn::tensor::activation::softmax;
use multimae::burn::tensor::{Device, Int, Tensor};
use multimae::input_adapters::ModalityTensor;
use multimae::modality::{ModalityKind, Size};
use multimae::model::Inputs;
use multimae_data::resize::CropBox;
use multimae_data::{DataModality, Geometry, Placement, RawSample, Sample, view};
use multimae_report::Palette;

use super::upsample::Maps;
use super::{FramePrediction, Predictor, Request, TaskPrediction};
use crate::labels::Labels;
use crate::saved_model::{ClassInfo, ModelCard, Output, SavedModel, TaskKind};
use crate::{Error, Result};

/// A saved model that predicts whole frames.
#[derive(Debug)]
pub struct ModelPredictor {
    saved: SavedModel,
    device: Device,
    inputs: Vec<String>,
    labels: Option<Labels>,
}

/// What the model sees of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    crop: CropBox,
    /// The size of the model's input.
    pub(super) canvas: Size,
    /// The part of it at the top left that is no padding.
    shown: Size,
}

impl ModelPredictor {
    /// A predictor on the device that the model is on.
    #[must_use]
    pub fn new(saved: SavedModel, device: Device) -> Self {
        let inputs = saved.card.inputs.iter().map(|input| input.data.name.clone()).collect();
        let labels = saved.card.tasks.values().find_map(|task| match &task.kind {
            TaskKind::Labels { classes, ignore, offset } => {
                let (palette, ignore) = (palette(classes), Some(*ignore));
                Some(Labels { palette, ignore, offset: *offset })
            }
            _ => None,
        });
        Self { saved, device, inputs, labels }
    }

    /// The model.
    #[must_use]
    pub fn saved(&self) -> &SavedModel {
        &self.saved
    }

    /// [`Seen::of`] its card.
    fn seen(&self, frame: Size, request: &Request) -> Result<Seen> {
        Seen::of(&self.saved.card, frame, request)
    }

    /// The inputs in the model's order; those that a head reads and that are not there stand at
    /// their mean.
    fn with_stand_ins(&self, mut inputs: Inputs, canvas: Size, batch: usize) -> Result<Inputs> {
        let mut all = Inputs::new();
        for modality in &self.saved.card.model.inputs {
            let name = &modality.name;
            if let Some(input) = inputs.shift_remove(name) {
                all.insert(name.clone(), input);
            } else if self.is_read(name) {
                let size = [canvas.height / modality.stride, canvas.width / modality.stride];
                let stand_in = stand_in(name, &modality.kind, batch, size, &self.device)?;
                all.insert(name.clone(), stand_in);
            }
        }
        Ok(all)
    }

    /// Whether a head reads the tokens of an input adapter.
    fn is_read(&self, adapter: &str) -> bool {
        self.saved.card.model.heads.iter().any(|head| head.main_tasks.iter().any(|m| m == adapter))
    }

    /// Inputs that are not requested although a head reads them.
    fn stand_ins<'a>(&'a self, request: &'a Request) -> impl Iterator<Item = &'a String> {
        let inputs = self.saved.card.inputs.iter();
        let missing = |name: &str| !request.inputs.iter().any(|input| input == name);
        inputs
            .filter(move |input| missing(&input.data.name) && self.is_read(&input.adapter))
            .map(|input| &input.data.name)
    }

    fn check(&self, request: &Request) -> Result<()> {
        let known = self.inputs.join(", ");
        if let Some(other) = request.inputs.iter().find(|name| !self.inputs.contains(name)) {
            let text = format!("the model has no input `{other}`; it has {known}");
            return Err(Error::Prediction(text));
        }
        if request.inputs.is_empty() {
            return Err(Error::Prediction(format!("no input is given; the model has {known}")));
        }
        Ok(())
    }
}

impl Seen {
    /// All of a frame at the scale that the model was trained for, unless the request says how.
    ///
    /// # Errors
    /// If the request's size does not fit.
    pub(super) fn of(card: &ModelCard, frame: Size, request: &Request) -> Result<Self> {
        let patch = card.model.patch_size;
        let crop = CropBox::whole((frame.height, frame.width));
        if let Some(canvas) = request.canvas {
            canvas.grid(patch)?;
            if canvas.height < frame.height || canvas.width < frame.width {
                return Err(Error::Prediction(format!(
                    "a frame of {frame} in an input of {canvas}"
                )));
            }
            return Ok(Seen { crop, canvas, shown: frame });
        }
        let geometry = &card.geometry;
        let (height, width) = geometry.size();
        let canvas = Size::new(height, width);
        let only_classes =
            |task: &crate::saved_model::TaskCard| matches!(task.kind, TaskKind::Classes { .. });
        if card.tasks.values().all(only_classes) {
            let placement = placed(geometry, frame);
            return Ok(Seen { crop: placement.crop, canvas, shown: canvas });
        }
        if let Geometry::Inside { .. } = geometry {
            let (height, width) = placed(geometry, frame).shown;
            return Ok(Seen { crop, canvas, shown: Size::new(height, width) });
        }
        let canvas = covering(frame, canvas, patch);
        Ok(Seen { crop, canvas, shown: canvas })
    }

    /// A frame as a model sees it.
    ///
    /// # Errors
    /// If the frame's maps are not of their kinds.
    pub(super) fn sample(
        self,
        card: &ModelCard,
        frame: &RawSample,
        request: &Request,
        hflip: bool,
    ) -> Result<Sample> {
        let seen = self;
        let wanted = |m: &&DataModality| {
            request.inputs.contains(&m.name) && frame.maps.contains_key(&m.name)
        };
        let mask = card.valid_mask.as_ref().filter(|mask| frame.maps.contains_key(&mask.name));
        let inputs = card.inputs.iter().map(|input| &input.data).filter(wanted);
        let modalities: Vec<&DataModality> = inputs.chain(mask).collect();
        let placement = Placement {
            crop: seen.crop,
            hflip,
            shown: (seen.shown.height, seen.shown.width),
            zoom: 1.0,
        };
        Ok(view(frame, &modalities, placement, (seen.canvas.height, seen.canvas.width))?)
    }
}

impl Predictor for ModelPredictor {
    fn predict(&self, frame: &RawSample, request: &Request) -> Result<FramePrediction> {
        self.check(request)?;
        let size = Size::new(frame.height, frame.width);
        let seen = self.seen(size, request)?;
        let mut samples = vec![seen.sample(&self.saved.card, frame, request, false)?];
        if request.flip {
            samples.push(seen.sample(&self.saved.card, frame, request, true)?);
        }
        let inputs = self.saved.card.inputs(&samples, &self.device)?;
        let inputs = self.with_stand_ins(inputs, seen.canvas, samples.len())?;
        let outputs = self.saved.predict(inputs)?;
        let task = |(name, output): (String, Output)| {
            let prediction = of_frame(output, seen, size).map_err(|problem| {
                Error::Prediction(format!("task `{name}`, frame `{}`: {problem}", frame.id))
            })?;
            Ok((name, prediction))
        };
        let tasks = outputs.into_iter().map(task).collect::<Result<IndexMap<_, _>>>()?;
        Ok(FramePrediction { tasks })
    }

    fn describe_input(&self, size: Size, request: &Request) -> Result<String> {
        self.check(request)?;
        let seen = self.seen(size, request)?;
        let mut text = format!("{} at {}", request.inputs.join(" and "), seen.canvas);
        let whole = CropBox::whole((size.height, size.width));
        if seen.crop != whole {
            text.push_str(", the frame's centre");
        } else if seen.shown == size {
            text.push_str(", the frame as it is");
        } else {
            let aspect = |size: Size| size.width as f64 / size.height as f64;
            let change = 100.0 * (aspect(seen.shown) / aspect(size) - 1.0);
            text.push_str(", all of the frame resized");
            if change.abs() >= 0.1 {
                text.push_str(&format!(", {change:+.1} % wider"));
            }
        }
        if seen.shown != seen.canvas {
            let Size { height, width } = seen.shown;
            text.push_str(&format!(" to {height}x{width}, padded below and to the right"));
        }
        let stand_ins: Vec<&str> = self.stand_ins(request).map(String::as_str).collect();
        if !stand_ins.is_empty() {
            text.push_str(&format!("; {} missing, at its mean", stand_ins.join(" and ")));
        }
        Ok(text)
    }

    fn inputs(&self) -> &[String] {
        &self.inputs
    }

    fn predicts_depth(&self) -> bool {
        let depth = |task: &TaskKind| matches!(task, TaskKind::Depth { .. });
        self.saved.card.tasks.values().any(|task| depth(&task.kind))
    }

    fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }
}

/// Names and colours of classes.
pub(super) fn palette(classes: &[ClassInfo]) -> Palette {
    Palette::new(classes.iter().map(|class| (class.name.clone(), class.color)).collect())
}

/// A geometry of evaluation draws nothing.
fn placed(geometry: &Geometry, frame: Size) -> Placement {
    let mut rng = multimae_data::stream(0, "predict", 0, 0);
    geometry.place(frame.height, frame.width, &mut rng)
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

/// What stands for a missing modality: its mean, which is 0 after normalisation, or padding.
fn stand_in(
    name: &str,
    kind: &ModalityKind,
    batch: usize,
    [height, width]: [usize; 2],
    device: &Device,
) -> Result<ModalityTensor> {
    match kind {
        ModalityKind::Continuous { channels } => {
            let values = Tensor::zeros([batch, *channels, height, width], device);
            Ok(ModalityTensor::Continuous(values))
        }
        ModalityKind::Categorical { classes, padding: true, .. } => {
            let labels = Tensor::<3, Int>::full([batch, height, width], *classes as i64, device);
            Ok(ModalityTensor::Categorical(labels))
        }
        ModalityKind::Categorical { .. } => Err(Error::Prediction(format!(
            "input `{name}` cannot be left out: a head reads it, and the model knows no label for \
             padding"
        ))),
    }
}

/// A batch of one frame, perhaps with its mirror image, at the frame's size.
pub(super) fn of_frame(output: Output, seen: Seen, size: Size) -> Result<TaskPrediction, String> {
    Ok(match output {
        Output::Depth(maps) => {
            let values = merged(maps, seen)?;
            TaskPrediction::Depth(maps_of(&values, seen).resized(size))
        }
        Output::Labels(maps) => {
            let values = merged(maps, seen)?;
            TaskPrediction::Labels(maps_of(&values, seen).largest(size))
        }
        Output::Values(maps) => {
            let values = merged(maps, seen)?;
            let planes = values.chunks_exact(seen.canvas.area().max(1));
            TaskPrediction::Values(planes.flat_map(|p| maps_of(p, seen).resized(size)).collect())
        }
        Output::Classes(logits) => {
            let [batch, classes] = logits.dims();
            let mean = logits.sum_dim(0).div_scalar(batch as f64);
            let shares: Vec<f32> = softmax(mean, 1).into_data().iter::<f32>().collect();
            debug_assert_eq!(shares.len(), classes);
            TaskPrediction::Classes(shares)
        }
    })
}

fn maps_of(values: &[f32], seen: Seen) -> Maps<'_> {
    Maps { values, canvas: seen.canvas, shown: seen.shown }
}

/// The mean of a frame's maps and those of its mirror image, if there are two: `(C, canvas)`.
fn merged(maps: Tensor<4>, seen: Seen) -> Result<Vec<f32>, String> {
    let [batch, channels, height, width] = maps.dims();
    if (height, width) != (seen.canvas.height, seen.canvas.width) {
        return Err(format!("the head's maps are {height}x{width}, the input is {}", seen.canvas));
    }
    let mut values: Vec<f32> = maps.into_data().iter::<f32>().collect();
    let mirror = values.split_off(channels * height * width);
    if batch > 1 {
        let shown = seen.shown.width;
        for (row, mirrored) in values.chunks_exact_mut(width).zip(mirror.chunks_exact(width)) {
            let backwards = mirrored[..shown].iter().rev();
            row[..shown].iter_mut().zip(backwards).for_each(|(a, b)| *a = 0.5 * (*a + b));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use multimae::burn::tensor::TensorData;

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
    fn mirrored_maps_are_turned_back_within_what_is_shown() {
        let maps = [1.0_f32, 3.0, 9.0, /* mirrored */ 5.0, 7.0, 9.0];
        let maps =
            Tensor::from_data(TensorData::new(maps.to_vec(), [2, 1, 1, 3]), &Device::default());
        let seen =
            Seen { crop: CropBox::whole((1, 2)), canvas: Size::new(1, 3), shown: Size::new(1, 2) };
        assert_eq!(merged(maps.clone(), seen).unwrap(), [4.0, 4.0, 9.0]);
        let other = Seen { canvas: Size::new(1, 4), ..seen };
        assert!(merged(maps, other).is_err());
    }
}
