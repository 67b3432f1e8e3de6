//! The parts of a model that formats of a plain ViT must be able to express.

use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::interpolate::Interpolation;
use multimae::modality::{Modality, ModalityKind, Size};
use multimae::peft::PeftConfig;
use multimae::positions::table_tokens;
use multimae::state::StateDict;
use multimae_data::Encoding;
use multimae_infer::saved_model::{InputModality, SavedModel};
use multimae_tasks::DecodingStep;

use crate::{Error, Result};

/// A format, for its errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format(pub(crate) &'static str);

impl Format {
    /// The error of a part that it has no place for.
    pub(crate) fn lacks(self, part: impl Into<String>, remedy: &str) -> Error {
        Error::Inexpressible { format: self.0, part: part.into(), remedy: remedy.to_owned() }
    }
}

/// The format that has a place for everything.
pub(crate) const ONNX: &str = "export --to onnx";

/// Mean and deviation of an RGB input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColorInput {
    pub(crate) mean: [f32; 3],
    pub(crate) std: [f32; 3],
}

/// The only input, if it is RGB.
pub(crate) fn color_input(saved: &SavedModel, format: Format) -> Result<ColorInput> {
    let names: Vec<&str> = saved.card.inputs.iter().map(|input| input.adapter.as_str()).collect();
    let [InputModality { data, .. }] = saved.card.inputs.as_slice() else {
        return Err(format.lacks(format!("the inputs {}", names.join(", ")), ONNX));
    };
    match data.encoding {
        Encoding::Color { mean, std } => Ok(ColorInput { mean, std }),
        _ => Err(format.lacks(format!("`{}` as the only input", names.join(", ")), ONNX)),
    }
}

/// Exactly one global token, which is the class token there.
pub(crate) fn one_global_token(saved: &SavedModel, format: Format) -> Result<()> {
    match saved.card.model.num_global_tokens {
        1 => Ok(()),
        count => Err(format.lacks(format!("{count} global tokens"), ONNX)),
    }
}

/// No prompts, no side network and no norms in front of heads.
pub(crate) fn plain(peft: &PeftConfig, format: Format) -> Result<()> {
    let PeftConfig { prompts, entry_norms, lora, ssf, side, .. } = peft;
    if prompts.is_some() {
        return Err(format.lacks("prompts", ONNX));
    }
    if *entry_norms {
        return Err(format.lacks("norms in front of heads", ONNX));
    }
    if side.is_some() {
        return Err(format.lacks("a side network", ONNX));
    }
    if *ssf || lora.is_some() {
        return Err(format.lacks("LoRA or SSF that is not merged", ONNX));
    }
    Ok(())
}

/// The positions of the patches of RGB at an image size, `(1, N, width)`.
pub(crate) fn positions(saved: &SavedModel, weights: &StateDict, size: Size) -> Result<Tensor<3>> {
    let table = take(weights, &format!("input_adapters.{}.pos_emb", color_name(saved)))?;
    let grid = size.grid(saved.card.model.patch_size)?;
    let table = Tensor::<4>::from_data(table, &Device::default());
    Ok(table_tokens(table, grid, Interpolation::Bicubic))
}

/// The name of the RGB input in parameters.
pub(crate) fn color_name(saved: &SavedModel) -> &str {
    let color = |input: &&Modality| matches!(input.kind, ModalityKind::Continuous { channels: 3 });
    saved.card.model.inputs.iter().find(color).map_or("rgb", |input| &input.name)
}

/// A weight by its name.
pub(crate) fn take(weights: &StateDict, name: &str) -> Result<TensorData> {
    weights.get(name).cloned().ok_or_else(|| {
        Error::Request(format!("the model has no weight `{name}`; its file is damaged"))
    })
}

/// A last layer, `(C, D)` or `(C, D, 1, 1)` and a bias `(C)`, with the steps behind it inside.
///
/// # Errors
/// Of steps that are no linear map of channels. Limits of values are left out.
pub(crate) fn fold_decoding(
    (weight, bias): (TensorData, TensorData),
    steps: &[DecodingStep],
    format: Format,
) -> Result<(TensorData, TensorData)> {
    let mut shape = weight.shape().to_vec();
    let row = shape.iter().skip(1).product::<usize>();
    let mut weight: Vec<f32> = weight.iter().collect();
    let mut bias: Vec<f32> = bias.iter().collect();
    for step in steps {
        match step {
            DecodingStep::Channels(count) => {
                bias.truncate(*count);
                weight.truncate(bias.len() * row);
            }
            DecodingStep::Affine { scale, shift } => {
                let of = |values: &[f32], channel: usize| values[channel % values.len().max(1)];
                for (channel, bias) in bias.iter_mut().enumerate() {
                    *bias = *bias * of(scale, channel) + of(shift, channel);
                    let rows = weight.iter_mut().skip(channel * row).take(row);
                    rows.for_each(|value| *value *= of(scale, channel));
                }
            }
            DecodingStep::Clamp { .. } => {}
            DecodingStep::Exp => {
                return Err(format.lacks("depth that is predicted as a logarithm", ONNX));
            }
            DecodingStep::UnitLength { .. } => {
                return Err(format.lacks("vectors of unit length", ONNX));
            }
        }
    }
    if let Some(channels) = shape.first_mut() {
        *channels = bias.len();
    }
    let count = bias.len();
    Ok((TensorData::new(weight, shape), TensorData::new(bias, [count])))
}
