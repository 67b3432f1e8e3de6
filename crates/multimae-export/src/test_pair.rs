//! An example of inputs and outputs beside an exported model.
//!
//! Most reports of "my output is black" are a layout or a normalisation; a pair to compare with finds them.

use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::encoder::Phase;
use multimae::input_adapters::ModalityTensor;
use multimae::modality::{Modality, ModalityKind, Size};
use multimae::model::Inputs;
use multimae::output_adapters::Prediction;
use multimae_data::encode::npy;
use multimae_infer::saved_model::SavedModel;

use crate::folder::ExportFolder;
use crate::{Error, Result};

/// The folder of the pair.
const FOLDER: &str = "test";

/// Inputs that differ everywhere: waves over the image, another one for each channel.
pub(crate) fn inputs<'a>(modalities: impl IntoIterator<Item = &'a Modality>, size: Size) -> Inputs {
    let of = |(place, modality): (usize, &Modality)| {
        let (height, width) = (size.height / modality.stride, size.width / modality.stride);
        let value = match modality.kind {
            ModalityKind::Continuous { channels } => {
                let values = wave([channels, height, width], place);
                let data = TensorData::new(values, [1, channels, height, width]);
                ModalityTensor::Continuous(Tensor::from_data(data, &Device::default()))
            }
            ModalityKind::Categorical { classes, .. } => {
                let labels: Vec<i64> = (0..height * width)
                    .map(|pixel| ((pixel / width / 3 + pixel % width / 4) % classes) as i64)
                    .collect();
                let data = TensorData::new(labels, [1, height, width]);
                ModalityTensor::Categorical(Tensor::from_data(data, &Device::default()))
            }
        };
        (modality.name.clone(), value)
    };
    modalities.into_iter().enumerate().map(of).collect()
}

/// Values in -1 to 1.
fn wave([channels, height, width]: [usize; 3], place: usize) -> Vec<f32> {
    let value = |channel: usize, row: usize, column: usize| {
        let phase = (place + channel) as f32;
        (0.11 * row as f32 + phase).sin() * (0.07 * column as f32 - phase).cos()
    };
    let mut values = Vec::with_capacity(channels * height * width);
    for channel in 0..channels {
        for row in 0..height {
            values.extend((0..width).map(|column| value(channel, row, column)));
        }
    }
    values
}

/// Adds the inputs as they go into a graph.
pub(crate) fn add_inputs(
    folder: &mut ExportFolder,
    inputs: &Inputs,
    name: impl Fn(&str) -> String,
) -> Result<()> {
    for (modality, value) in inputs {
        let path = format!("{FOLDER}/input.{}.npy", name(modality));
        let content = match value.clone() {
            ModalityTensor::Continuous(maps) => array(&maps)?,
            ModalityTensor::Categorical(labels) => {
                let shape = labels.dims();
                let values: Vec<i64> = labels.into_data().iter().collect();
                npy(&values, &shape)?
            }
        };
        folder.add(&path, content);
    }
    Ok(())
}

/// Adds an output.
pub(crate) fn add_output<const D: usize>(
    folder: &mut ExportFolder,
    name: &str,
    value: &Tensor<D>,
) -> Result<()> {
    folder.add(&format!("{FOLDER}/output.{name}.npy"), array(value)?);
    Ok(())
}

/// Adds a prediction.
pub(crate) fn add_prediction(
    folder: &mut ExportFolder,
    name: &str,
    prediction: &Prediction,
) -> Result<()> {
    match prediction {
        Prediction::Maps(maps) => add_output(folder, name, maps),
        Prediction::Classes(logits) => add_output(folder, name, logits),
    }
}

/// The outputs of all blocks for inputs, `(B, S + G, width)` each.
pub(crate) fn layers(saved: &SavedModel, inputs: Inputs) -> Result<Vec<Tensor<3>>> {
    Ok(saved.model.vit.forward(inputs, &mut Phase::Evaluation)?.layers)
}

fn array<const D: usize>(tensor: &Tensor<D>) -> Result<Vec<u8>> {
    let shape = tensor.dims();
    let values: Vec<f32> = tensor.clone().into_data().iter().collect();
    npy(&values, &shape).map_err(Error::from)
}
