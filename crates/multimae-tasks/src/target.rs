//! Supervised targets of a batch, with one validity mask.

use multimae::burn::tensor::{Device, Int, Tensor, TensorData};
use multimae::input_adapters::ModalityTensor;
use multimae::losses::SupervisedTarget;
use multimae_data::{Map, Sample, Values};

use crate::tensors::{stack, stack_maps};
use crate::{Error, Result, valid_values};

/// The annotations of a batch of samples, at the model's resolution.
#[derive(Debug)]
pub struct AnnotationBatch<'a> {
    /// The task's name, under which samples carry its annotations.
    pub task: &'a str,
    /// The samples.
    pub samples: &'a [Sample],
    /// Per sample, the pixels that its mask calls valid, if there is a mask.
    pub valid: &'a [Option<Vec<bool>>],
    /// The device of the target.
    pub device: &'a Device,
}

/// The target of a batch, and how much of it counts.
#[derive(Debug, Clone)]
pub struct Target {
    /// The annotations as tensors.
    pub target: SupervisedTarget,
    /// The number of valid pixels, or of images for classes of images.
    pub counted: f64,
}

impl AnnotationBatch<'_> {
    fn problem(&self) -> Error {
        Error::task(self.task, "its annotations are missing or of another kind")
    }

    /// Builds a target of labels, of which `ignore` does not count.
    ///
    /// # Shapes
    /// `(B, H, W)`.
    ///
    /// # Errors
    /// If a sample has no labels.
    pub fn labels(&self, ignore: Option<i64>) -> Result<Target> {
        let mut counted = 0;
        for sample in self.samples {
            let map = sample.maps.get(self.task).ok_or_else(|| self.problem())?;
            let Values::Labels(labels) = &map.values else { return Err(self.problem()) };
            counted += labels.iter().filter(|label| Some(**label) != ignore).count();
        }
        match stack(self.samples, self.task, self.device)? {
            ModalityTensor::Categorical(labels) => {
                Ok(Target { target: SupervisedTarget::Labels(labels), counted: counted as f64 })
            }
            ModalityTensor::Continuous(_) => Err(self.problem()),
        }
    }

    /// Builds a target of real values, of which those in `range` and valid by the mask count. With
    /// `shortest`, a pixel counts only if the vector of its channels is at least that long.
    ///
    /// # Shapes
    /// `(B, C, H, W)`, and a mask of the same shape.
    ///
    /// # Errors
    /// If a sample has no real values, or samples differ in size.
    pub fn values(&self, range: (f64, f64), shortest: Option<f32>) -> Result<Target> {
        let mut flags = Vec::new();
        let mut filled = Vec::with_capacity(self.samples.len());
        let mut counted = 0.0;
        for (sample, mask) in self.samples.iter().zip(self.valid) {
            let map = sample.maps.get(self.task).ok_or_else(|| self.problem())?;
            let Values::Continuous { channels, data } = &map.values else {
                return Err(self.problem());
            };
            let pixels = map.height * map.width;
            let mut valid = valid_values(data, pixels, range, mask.as_deref());
            if let Some(shortest) = shortest {
                leave_out_short(&mut valid, data, pixels, shortest);
            }
            // Any valid value: it does not count, but it must not be a NaN.
            let data = data.iter().zip(&valid).map(|(&v, &ok)| if ok { v } else { 1.0 }).collect();
            let own = valid.iter().filter(|ok| **ok).count();
            counted += own as f64 / (*channels).max(1) as f64;
            flags.extend(valid.iter().map(|&ok| f32::from(u8::from(ok))));
            let values = Values::Continuous { channels: *channels, data };
            filled.push((sample.id.as_str(), Map { height: map.height, width: map.width, values }));
        }
        let ModalityTensor::Continuous(values) = stack_maps(&filled, self.task, self.device)?
        else {
            return Err(self.problem());
        };
        let valid = Tensor::<4>::from_data(TensorData::new(flags, values.dims()), self.device);
        let valid = Some(valid.greater_elem(0.5));
        Ok(Target { target: SupervisedTarget::Values { values, valid }, counted })
    }

    /// Builds a target of one class per image, the first folder of the sample's id.
    ///
    /// # Shapes
    /// `(B)`.
    ///
    /// # Errors
    /// If a folder is no class of the training samples.
    pub fn classes(&self, names: &[String]) -> Result<Target> {
        let classes = self
            .samples
            .iter()
            .map(|sample| Ok(class_of(names, &sample.id)? as i64))
            .collect::<Result<Vec<_>>>()?;
        let data = TensorData::new(classes, [self.samples.len()]);
        let target = SupervisedTarget::Classes(Tensor::<1, Int>::from_data(data, self.device));
        Ok(Target { target, counted: self.samples.len() as f64 })
    }
}

/// Clears the flags of pixels whose vectors are shorter than `shortest`, or not finite.
fn leave_out_short(valid: &mut [bool], data: &[f32], pixels: usize, shortest: f32) {
    for pixel in 0..pixels {
        let channels = || data.iter().skip(pixel).step_by(pixels);
        let squares: f32 = channels().map(|x| x * x).sum();
        let whole = valid.iter().skip(pixel).step_by(pixels).all(|ok| *ok);
        if !(whole && squares >= shortest * shortest) {
            valid.iter_mut().skip(pixel).step_by(pixels).for_each(|ok| *ok = false);
        }
    }
}

/// The class of a sample: its first folder.
///
/// # Errors
/// If that is no class of the training samples.
pub fn class_of(names: &[String], id: &str) -> Result<usize> {
    let folder = id.split_once('/').map(|(folder, _)| folder);
    let class = folder.and_then(|folder| names.iter().position(|name| name == folder));
    class.ok_or_else(|| Error::Sample {
        sample: id.to_owned(),
        modality: "class".to_owned(),
        problem: format!(
            "is in no folder of a class that was trained; there are {}",
            names.join(", ")
        ),
    })
}
