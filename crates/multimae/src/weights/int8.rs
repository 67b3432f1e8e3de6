//! Weights as whole numbers of 8 bits with a scale per output channel.
//!
//! A weight `NAME.weight` is stored as integers between -127 and 127, and beside it `NAME.weight_scale`, a
//! number per output channel (its first axis); their product is the weight. The largest value of a channel
//! is 127 times its scale, so that a stored weight, quantised again, is the same.

use burn::tensor::{DType, TensorData};
use multimae_kernels::int8::{conv_is_worth, linear_is_worth};

use crate::state::StateDict;
use crate::{Error, Result};

/// Of the name of a scale, behind that of its weight.
const SCALE: &str = "_scale";
/// The largest whole number.
const LARGEST: f32 = 127.0;
/// Parts of a model whose weights stay as they are: their inputs are pixels, and they are small.
const EXEMPT: &str = "input_adapters.";

/// Whether the weight of this name and shape is stored in 8 bits: those that multiply in them, and those of
/// convolutions that skip pixels, which are computed of the rounded values in fp32.
#[must_use]
pub fn is_quantised(name: &str, shape: &[usize]) -> bool {
    let worth = match *shape {
        [outputs, inputs] => linear_is_worth(outputs, inputs),
        [outputs, inputs, height, width] if height == width => {
            conv_is_worth(outputs, inputs, height)
        }
        _ => false,
    };
    worth && name.ends_with(".weight") && !name.starts_with(EXEMPT)
}

/// All weights, with those that multiply in 8 bits as whole numbers and scales.
///
/// # Errors
/// If one of these is not finite or not fp32.
pub fn quantised(weights: StateDict) -> Result<StateDict> {
    let mut stored = StateDict::with_capacity(2 * weights.len());
    for (name, data) in weights {
        if !is_quantised(&name, data.shape()) {
            stored.insert(name, data);
            continue;
        }
        let problem = |text: &str| Error::Weights(format!("`{name}` cannot be quantised: {text}"));
        let values = data.as_slice::<f32>().map_err(|_| problem("it is not fp32"))?;
        if values.iter().any(|value| !value.is_finite()) {
            return Err(problem("it has values that are not finite"));
        }
        let (shape, outputs) = (data.shape().clone(), data.shape()[0]);
        let channels = values.chunks(values.len() / outputs.max(1));
        let scales: Vec<f32> = channels.clone().map(scale).collect();
        let whole: Vec<i8> = channels
            .zip(&scales)
            .flat_map(|(channel, &scale)| channel.iter().map(move |&value| whole(value, scale)))
            .collect();
        stored.insert(format!("{name}{SCALE}"), TensorData::new(scales, [outputs]));
        stored.insert(name, TensorData::new(whole, shape));
    }
    Ok(stored)
}

/// All weights in fp32 again.
///
/// # Errors
/// If a weight of whole numbers has no scales, or not one per channel.
pub fn dequantised(mut stored: StateDict) -> Result<StateDict> {
    let whole = |data: &TensorData| data.dtype() == DType::I8;
    let names: Vec<String> =
        stored.iter().filter(|(_, data)| whole(data)).map(|(name, _)| name.clone()).collect();
    for name in names {
        let problem = |text: &str| Error::Weights(format!("`{name}`, of 8-bit numbers, {text}"));
        let scales = stored
            .shift_remove(&format!("{name}{SCALE}"))
            .ok_or_else(|| problem(&format!("has no `{name}{SCALE}`; quantise the model again")))?;
        let Some(data) = stored.get_mut(&name) else { continue };
        let (shape, outputs) = (data.shape().clone(), data.shape().first().copied().unwrap_or(0));
        let scales = scales.as_slice::<f32>().ok().filter(|scales| scales.len() == outputs);
        let scales = scales.ok_or_else(|| problem("has not one scale in fp32 per channel"))?;
        let whole = data.as_slice::<i8>().map_err(|_| problem("cannot be read"))?;
        let width = (whole.len() / outputs.max(1)).max(1);
        let values: Vec<f32> = whole
            .chunks(width)
            .zip(scales)
            .flat_map(|(channel, &scale)| channel.iter().map(move |&q| f32::from(q) * scale))
            .collect();
        *data = TensorData::new(values, shape);
    }
    Ok(stored)
}

fn scale(channel: &[f32]) -> f32 {
    channel.iter().fold(0.0f32, |largest, value| largest.max(value.abs())) / LARGEST
}

fn whole(value: f32, scale: f32) -> i8 {
    if scale == 0.0 { 0 } else { (value / scale).round_ties_even() as i8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize]) -> TensorData {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|at| (at as f32 * 0.37).sin() * 0.1).collect();
        TensorData::new(values, shape.to_vec())
    }

    fn model() -> StateDict {
        let entries = [
            ("encoder.0.attn.qkv.weight", vec![192, 64]),
            ("encoder.0.attn.qkv.bias", vec![192]),
            ("input_adapters.rgb.proj.weight", vec![64, 64]),
            ("output_adapters.depth.conv.weight", vec![32, 32, 3, 3]),
            ("global_tokens", vec![1, 1, 64]),
        ];
        entries.into_iter().map(|(name, shape)| (name.to_owned(), tensor(&shape))).collect()
    }

    #[test]
    fn weights_come_back_within_half_a_step_and_stay() {
        let stored = quantised(model()).unwrap();
        let integers: Vec<&String> =
            stored.iter().filter(|(_, d)| d.dtype() == DType::I8).map(|(name, _)| name).collect();
        assert_eq!(
            integers,
            ["encoder.0.attn.qkv.weight", "output_adapters.depth.conv.weight"],
            "what reads pixels, and what is no weight of a layer, stays"
        );
        let back = dequantised(stored.clone()).unwrap();
        for (name, data) in &model() {
            let (was, is) =
                (data.as_slice::<f32>().unwrap(), back[name].as_slice::<f32>().unwrap());
            assert_eq!(data.shape(), back[name].shape());
            let half = 0.1 / LARGEST / 2.0 * 1.001;
            assert!(was.iter().zip(is).all(|(was, is)| (was - is).abs() <= half), "{name}");
        }
        let again = quantised(back).unwrap();
        for name in integers {
            assert_eq!(again[name], stored[name], "quantised again it is the same");
        }
    }

    #[test]
    fn damage_is_named() {
        let mut stored = quantised(model()).unwrap();
        stored.shift_remove("encoder.0.attn.qkv.weight_scale");
        let error = dequantised(stored.clone()).unwrap_err().to_string();
        assert!(error.contains("no `encoder.0.attn.qkv.weight_scale`"), "{error}");
        stored.insert("encoder.0.attn.qkv.weight_scale".to_owned(), tensor(&[7]));
        let error = dequantised(stored).unwrap_err().to_string();
        assert!(error.contains("one scale in fp32 per channel"), "{error}");
        let mut weights = model();
        let poisoned = TensorData::new(vec![f32::NAN; 192 * 64], [192, 64]);
        weights.insert("encoder.0.attn.qkv.weight".to_owned(), poisoned);
        let error = quantised(weights).unwrap_err().to_string();
        assert!(error.contains("not finite"), "{error}");
    }
}
