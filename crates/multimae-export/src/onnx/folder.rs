//! A graph with everything that its user needs: weights, an example, a description.

use multimae::input_adapters::ModalityTensor;
use multimae::modality::{ModalityKind, Size};
use multimae::model::Inputs;
use multimae::output_adapters::Prediction;
use multimae_data::Encoding;
use multimae_data::encode::npy;
use multimae_infer::saved_model::{InputModality, SavedModel};

use super::proto::ValueInfoProto;
use super::{OnnxModel, OnnxOptions, OutputForm, PixelInput, WEIGHTS_FILE, WeightStorage};
use super::{export, proto, with_half_weights};
use crate::card::{Card, Library};
use crate::folder::ExportFolder;
use crate::{Error, Result, test_pair};

/// The graph's file.
pub const GRAPH_FILE: &str = "model.onnx";

/// The folder of a fine-tuned model as a graph.
///
/// # Errors
/// If an option does not fit the model.
pub fn export_folder(
    saved: &SavedModel,
    options: &OnnxOptions,
    card: &Card,
) -> Result<ExportFolder> {
    let exported = export(saved, options)?;
    let mut folder = ExportFolder::default();
    folder.add(GRAPH_FILE, exported.bytes());
    if let Some(weights) = &exported.weights {
        folder.add(WEIGHTS_FILE, weights.clone());
    }
    add_test_pair(&mut folder, saved, options)?;
    let tasks: Vec<&str> = saved.card.tasks.keys().map(String::as_str).collect();
    let library = Library { name: "onnx", pipeline: pipeline(saved), opening: opening(&exported) };
    let mut text = card.text(saved, library, &tasks)?;
    text.push_str(&description(saved, options, &exported)?);
    folder.add("README.md", text);
    Ok(folder)
}

/// The hub's name for what the model does.
fn pipeline(saved: &SavedModel) -> &'static str {
    let has_classes = |kind: &str| saved.card.tasks.values().any(|task| task.task.kind() == kind);
    match (has_classes("depth"), has_classes("labels")) {
        (true, _) => "depth-estimation",
        (false, true) => "image-segmentation",
        (false, false) => "image-feature-extraction",
    }
}

/// The example, computed by our own prediction with the weights that the graph has.
fn add_test_pair(
    folder: &mut ExportFolder,
    saved: &SavedModel,
    options: &OnnxOptions,
) -> Result<()> {
    let output_name = |task: &str| options.output_name(&saved.card, task);
    let inputs = example(saved, options);
    test_pair::add_inputs(folder, &inputs, |name| options.renamed(name))?;
    if options.pixels == PixelInput::Bytes {
        for input in &saved.card.inputs {
            if let Some(content) = bytes_of(input, &inputs)? {
                folder.add(&format!("test/input.{}.npy", options.renamed(&input.adapter)), content);
            }
        }
    }
    let inputs = match options.pixels {
        PixelInput::Bytes => rounded_to_bytes(saved, inputs),
        PixelInput::Normalised => inputs,
    };
    let half = options.weights == WeightStorage::Half;
    let saved = if half { with_half_weights(saved)? } else { saved.clone() };
    let outputs = match options.outputs {
        OutputForm::Raw => saved.forward(inputs)?,
        OutputForm::Decoded | OutputForm::ArgMax => saved.predict(inputs)?,
    };
    for (task, prediction) in outputs {
        let classes =
            saved.card.tasks.get(&task).is_some_and(|task| !task.task.classes().is_empty());
        match prediction {
            Prediction::Maps(logits) if options.outputs == OutputForm::ArgMax && classes => {
                let labels = logits.argmax(1).squeeze_dim::<3>(1);
                let shape = labels.dims();
                let values: Vec<i64> = labels.into_data().iter().collect();
                folder
                    .add(&format!("test/output.{}.npy", output_name(&task)), npy(&values, &shape)?);
            }
            prediction => test_pair::add_prediction(folder, &output_name(&task), &prediction)?,
        }
    }
    Ok(())
}

/// The example's inputs, normalised.
fn example(saved: &SavedModel, options: &OnnxOptions) -> Inputs {
    let chosen = |name: &str| options.inputs.is_empty() || options.inputs.iter().any(|n| n == name);
    let modalities = saved.card.model.inputs.iter().filter(|m| chosen(&m.name));
    test_pair::inputs(modalities, options.size.unwrap_or_else(|| saved.card.input_size()))
}

/// The bytes of an RGB input, channels last; `None` for other inputs.
fn bytes_of(input: &InputModality, inputs: &Inputs) -> Result<Option<Vec<u8>>> {
    let (Encoding::Color { mean, std }, Some(ModalityTensor::Continuous(maps))) =
        (&input.data.encoding, inputs.get(&input.adapter))
    else {
        return Ok(None);
    };
    let [batch, channels, height, width] = maps.dims();
    let values: Vec<f32> = maps.clone().permute([0, 2, 3, 1]).into_data().iter().collect();
    let bytes: Vec<u8> = values
        .chunks(channels)
        .flat_map(|pixel| pixel.iter().zip(mean).zip(std))
        .map(|((value, mean), std)| byte(*value, *mean, *std))
        .collect();
    npy(&bytes, &[batch, height, width, channels]).map(Some).map_err(Into::into)
}

/// The byte of a normalised value.
fn byte(value: f32, mean: f32, std: f32) -> u8 {
    ((value * std + mean) * 255.0).round().clamp(0.0, 255.0) as u8
}

/// RGB inputs as their bytes say them.
fn rounded_to_bytes(saved: &SavedModel, inputs: Inputs) -> Inputs {
    use multimae::burn::tensor::{Tensor, TensorData};

    let encoding = |name: &str| {
        saved
            .card
            .inputs
            .iter()
            .find(|i| i.adapter == name)
            .map(|input| input.data.encoding.clone())
    };
    let rounded = |(name, value): (String, ModalityTensor)| {
        let (Some(Encoding::Color { mean, std }), ModalityTensor::Continuous(maps)) =
            (encoding(&name), &value)
        else {
            return (name, value);
        };
        let (dims, device) = (maps.dims(), maps.device());
        let area = dims[2] * dims[3];
        let values: Vec<f32> = maps.clone().into_data().iter().collect();
        let values: Vec<f32> = values
            .into_iter()
            .enumerate()
            .map(|(place, value)| {
                let (mean, std) = (mean[place / area % 3], std[place / area % 3]);
                (f32::from(byte(value, mean, std)) / 255.0 - mean) / std
            })
            .collect();
        let maps = Tensor::<4>::from_data(TensorData::new(values, dims), &device);
        (name, ModalityTensor::Continuous(maps))
    };
    inputs.into_iter().map(rounded).collect()
}

fn opening(exported: &OnnxModel) -> String {
    let graph = exported.proto.graph.as_ref();
    let names = |values: Option<&Vec<ValueInfoProto>>| -> Vec<String> {
        values.into_iter().flatten().map(|value| value.name.clone()).collect()
    };
    let inputs = names(graph.map(|graph| &graph.input));
    let feed: Vec<String> = inputs.iter().map(|name| format!("\"{name}\": {name}")).collect();
    format!(
        "import numpy as np\nimport onnxruntime\n\nsession = onnxruntime.InferenceSession(\"PATH/{GRAPH_FILE}\")\n{}\
         outputs = session.run(None, {{{}}})  # {}\n",
        inputs
            .iter()
            .map(|name| format!("{name} = np.load(\"PATH/test/input.{name}.npy\")\n"))
            .collect::<String>(),
        feed.join(", "),
        names(graph.map(|graph| &graph.output)).join(", ")
    )
}

/// Layout, ranges and units of all inputs and outputs, and the line for TensorRT.
fn description(saved: &SavedModel, options: &OnnxOptions, exported: &OnnxModel) -> Result<String> {
    let Some(graph) = &exported.proto.graph else { return Ok(String::new()) };
    let rows = |values: &[ValueInfoProto]| -> String {
        values
            .iter()
            .map(|value| {
                format!("| `{}` | {} | {} |\n", value.name, shape(value), value.doc_string)
            })
            .collect()
    };
    let mut text = format!(
        "\n## Inputs and outputs\n\n| input | shape, type | values |\n|---|---|---|\n{}\n| output | shape, type | values |\n\
         |---|---|---|\n{}\n",
        rows(&graph.input),
        rows(&graph.output)
    );
    text.push_str(&input_rules(saved, options));
    if saved.card.tasks.values().any(|task| task.task.unit() == Some("m")) {
        text.push_str(ROBOTS);
    }
    let size = options.size.unwrap_or_else(|| saved.card.input_size());
    text.push_str(&tensorrt(graph, size));
    if options.weights == WeightStorage::Half {
        text.push_str(&half_check(saved, options)?);
    }
    if options.weights == WeightStorage::Beside {
        text.push_str(&format!(
            "The weights are in `{WEIGHTS_FILE}`, at the offsets that the graph names: a file that was written anew \
             does not fit. Its CRC-32 is in the graph's metadata.\n"
        ));
    }
    Ok(text)
}

/// The change of the example's outputs by weights of 16 bits, measured.
fn half_check(saved: &SavedModel, options: &OnnxOptions) -> Result<String> {
    let (inputs, rounded) = (example(saved, options), with_half_weights(saved)?);
    let (own, half) = (saved.predict(inputs.clone())?, rounded.predict(inputs)?);
    let mut text = "## Weights of 16 bits\n\nThe graph computes with them in 32 bits. Largest change of the example's \
                    outputs by the rounding:\n\n"
        .to_owned();
    for (task, prediction) in own {
        let largest = match (prediction, half.get(&task)) {
            (Prediction::Maps(own), Some(Prediction::Maps(half))) => {
                (own - half.clone()).abs().max().into_scalar::<f32>()
            }
            (Prediction::Classes(own), Some(Prediction::Classes(half))) => {
                (own - half.clone()).abs().max().into_scalar::<f32>()
            }
            _ => continue,
        };
        if !largest.is_finite() {
            return Err(Error::Request(format!(
                "task `{task}` is not finite with weights of 16 bits; export with --weights inside"
            )));
        }
        text.push_str(&format!("* `{task}`: {largest:.1e}\n"));
    }
    Ok(text + "\n")
}

fn shape(value: &ValueInfoProto) -> String {
    use proto::{data_type, dimension};

    let tensor = value.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let dims = tensor.and_then(|tensor| tensor.shape.as_ref()).map(|shape| shape.dim.as_slice());
    let dims: Vec<String> = dims
        .unwrap_or_default()
        .iter()
        .map(|dim| match &dim.value {
            Some(dimension::Value::DimValue(extent)) => extent.to_string(),
            Some(dimension::Value::DimParam(name)) => name.clone(),
            None => "any".to_owned(),
        })
        .collect();
    let kind = match tensor.map(|tensor| tensor.elem_type) {
        Some(data_type::UINT8) => "uint8",
        Some(data_type::INT64) => "int64",
        _ => "float32",
    };
    format!("{} {kind}", dims.join(" x "))
}

/// The rules by which values become inputs, by modality.
fn input_rules(saved: &SavedModel, options: &OnnxOptions) -> String {
    let mut text = String::new();
    for (input, modality) in saved.card.inputs.iter().zip(&saved.card.model.inputs) {
        if !options.inputs.is_empty() && !options.inputs.contains(&modality.name) {
            continue;
        }
        let rule = match (&modality.kind, &input.data.encoding) {
            (ModalityKind::Categorical { classes, .. }, _) => format!(
                "class indices 0 to {}, at 1/{} of the image's size",
                classes.saturating_sub(1),
                modality.stride
            ),
            (_, Encoding::Color { mean, std }) => match options.pixels {
                PixelInput::Bytes => "RGB bytes, channels last".to_owned(),
                PixelInput::Normalised => {
                    format!("RGB, channels first, `(value / 255 - {mean:?}) / {std:?}`")
                }
            },
            (_, encoding) => format!(
                "channels first; stored values as `{}`, then `{}`; invalid pixels are 0",
                serde_json::to_string(encoding).unwrap_or_default(),
                serde_json::to_string(&input.normalisation).unwrap_or_default()
            ),
        };
        text.push_str(&format!("* `{}`: {rule}.\n", modality.name));
    }
    let geometry = serde_json::to_string(&saved.card.geometry).unwrap_or_default();
    text.push_str(&format!(
        "* The geometry of training, by which images were brought to this size: `{geometry}`.\n\n"
    ));
    text
}

const ROBOTS: &str = "\
For ROS (REP 118): depth is `32FC1` in metres along the optical axis. The model predicts a value for every pixel; set
pixels that you do not trust to NaN. For `16UC1`, multiply by 1000, round, and use 0 for invalid pixels.

";

fn tensorrt(graph: &proto::GraphProto, size: Size) -> String {
    let shapes = |batch: usize| -> String {
        let of = |value: &ValueInfoProto| {
            let shape = shape(value);
            let extents = shape.split(' ').filter(|word| *word != "x");
            let extents: Vec<String> = extents
                .take_while(|word| !word.contains("float") && !word.contains("int"))
                .map(|word| if word == "batch" { batch.to_string() } else { word.to_owned() })
                .collect();
            format!("{}:{}", value.name, extents.join("x"))
        };
        graph.input.iter().map(of).collect::<Vec<_>>().join(",")
    };
    format!(
        "## TensorRT\n\nOne size, {} x {} pixels; batches of 1 to 8:\n\n```sh\ntrtexec --onnx={GRAPH_FILE} --saveEngine=model.engine \
         --fp16 \\\n  --minShapes={} --optShapes={} --maxShapes={}\n```\n\nNot run here: TensorRT needs its own GPU. 8.6 \
         is the first version with LayerNormalization as one layer.\n",
        size.height,
        size.width,
        shapes(1),
        shapes(1),
        shapes(8)
    )
}
