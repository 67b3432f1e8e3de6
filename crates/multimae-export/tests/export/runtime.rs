//! Exported graphs in another program: tract, which is Rust as we are.

use std::path::Path;

use indexmap::IndexMap;
use multimae::input_adapters::ModalityTensor;
use multimae::model::Inputs;
use multimae_export::onnx::OnnxModel;
use tract_onnx::prelude::*;

/// A graph's outputs by name: extents and values.
pub(crate) type Outputs = IndexMap<String, (Vec<usize>, Vec<f32>)>;

/// Runs a graph whose files are written into `dir`.
pub(crate) fn run(dir: &Path, model: &OnnxModel, inputs: &IndexMap<String, Tensor>) -> Outputs {
    let path = dir.join("model.onnx");
    fs_err::write(&path, model.bytes()).unwrap();
    if let Some(weights) = &model.weights {
        fs_err::write(dir.join(multimae_export::onnx::WEIGHTS_FILE), weights).unwrap();
    }
    let graph = model.proto.graph.as_ref().unwrap();
    // A task that has the name of an input has this ending.
    let task = |name: &String| name.strip_suffix("_prediction").unwrap_or(name).to_owned();
    let names: Vec<String> = graph.output.iter().map(|output| task(&output.name)).collect();
    let ordered = graph.input.iter().map(|input| inputs[&input.name].clone().into_tvalue());
    let runnable = tract_onnx::onnx()
        .model_for_path(&path)
        .unwrap()
        .into_optimized()
        .unwrap()
        .into_runnable()
        .unwrap();
    let values = runnable.run(ordered.collect()).unwrap();
    let read = |value: &TValue| {
        let floats = value.cast_to::<f32>().unwrap();
        let values = floats.to_plain_array_view::<f32>().unwrap().iter().copied().collect();
        (value.shape().to_vec(), values)
    };
    names.into_iter().zip(values.iter().map(read)).collect()
}

/// Our inputs as those of a graph.
pub(crate) fn tensors(inputs: &Inputs) -> IndexMap<String, Tensor> {
    let of = |(name, value): (&String, &ModalityTensor)| {
        let tensor = match value.clone() {
            ModalityTensor::Continuous(maps) => {
                let shape = maps.dims();
                let values: Vec<f32> = maps.into_data().iter().collect();
                Tensor::from_shape(&shape, &values).unwrap()
            }
            ModalityTensor::Categorical(labels) => {
                let shape = labels.dims();
                let values: Vec<i64> = labels.into_data().iter().collect();
                Tensor::from_shape(&shape, &values).unwrap()
            }
        };
        (name.clone(), tensor)
    };
    inputs.iter().map(of).collect()
}
