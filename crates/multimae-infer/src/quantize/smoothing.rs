//! A part of the size of large channels, moved from a layer's input into its weight.

use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae::state::StateDict;
use multimae_kernels::ops;
use multimae_kernels::precision::Precision;

use super::LayerError;
use super::calibration::{Calibration, LayerInput};
use crate::{Error, Result};

/// The shares of a channel's size that are tried: a channel of the input is divided by `x^a / w^(1 - a)`,
/// of its largest value and that of its weights.
const SHARES: [f32; 4] = [0.25, 0.5, 0.65, 0.8];
/// The smallest size of a channel, so that those that are always zero divide by no zero.
const SMALLEST: f32 = 1e-5;

/// The endings of a layer's weight and, in the same module, of the norm before it.
const NORMS: [(&str, &str); 3] =
    [("attn.qkv.weight", "norm1"), ("mlp.fc1.weight", "norm2"), ("pwconv1.weight", "norm")];

/// Smoothed weights, and the errors of the layers in 8 bits.
#[derive(Debug)]
pub struct Smoothed {
    /// All weights.
    pub weights: StateDict,
    /// The layers in the order in which they compute.
    pub layers: Vec<LayerError>,
}

/// Smooths the input of every layer behind a norm, as far as it lowers its error. Norms of the encoder
/// that are modulated before they are multiplied are left as they are.
///
/// # Errors
/// If a weight is not fp32.
pub fn smoothed(
    mut weights: StateDict,
    calibration: &Calibration,
    norms_are_modulated: bool,
) -> Result<Smoothed> {
    let mut layers = Vec::new();
    for name in calibration.layers() {
        let (Some(input), Some(weight)) = (calibration.get(&name), weights.get(&name)) else {
            continue;
        };
        let plain = error(&input, weight)?;
        let mut layer = LayerError { name: name.clone(), plain, stored: plain };
        let is_free = !(norms_are_modulated && name.starts_with("encoder."));
        if let Some(norm) = norm_before(&name, &weights).filter(|_| is_free)
            && let Some((error, divisors)) = best(&input, weight, plain)?
        {
            layer.stored = error;
            scale(&mut weights, &name, &divisors)?;
            let inverse: Vec<f32> = divisors.iter().map(|divisor| divisor.recip()).collect();
            for part in ["weight", "bias"] {
                scale(&mut weights, &format!("{norm}.{part}"), &inverse)?;
            }
        }
        layers.push(layer);
    }
    Ok(Smoothed { weights, layers })
}

/// The name of the norm whose output is the layer's input.
fn norm_before(name: &str, weights: &StateDict) -> Option<String> {
    NORMS.iter().find_map(|(layer, norm)| {
        let norm = format!("{}{norm}", name.strip_suffix(layer)?);
        let is_there = |part: &str| weights.contains_key(&format!("{norm}.{part}"));
        (is_there("weight") && is_there("bias")).then_some(norm)
    })
}

/// The divisors of the input's channels that leave the smallest error, if it is smaller than `plain`.
fn best(input: &LayerInput, weight: &TensorData, plain: f64) -> Result<Option<(f64, Vec<f32>)>> {
    let of_weight = largest_of_inputs(values(weight)?, input.width);
    let mut best: Option<(f64, Vec<f32>)> = None;
    for share in SHARES {
        let sizes = input.largest.iter().zip(&of_weight);
        let divisor = |(x, w): (&f32, &f32)| {
            (x.max(SMALLEST).powf(share) / w.max(SMALLEST).powf(1.0 - share)).max(SMALLEST)
        };
        let divisors: Vec<f32> = sizes.map(divisor).collect();
        let rows = input.rows.chunks_exact(input.width);
        let divided =
            rows.flat_map(|row| row.iter().zip(&divisors).map(|(x, divisor)| x / divisor));
        let input = LayerInput { rows: divided.collect(), ..input.clone() };
        let error = error(&input, &scaled(weight, &divisors)?)?;
        if error < best.as_ref().map_or(plain, |(least, _)| *least) {
            best = Some((error, divisors));
        }
    }
    Ok(best)
}

/// The error of a layer in 8 bits, over that of its output in fp32.
fn error(input: &LayerInput, weight: &TensorData) -> Result<f64> {
    let device = Device::flex();
    let rows = input.rows.len() / input.width.max(1);
    let x =
        Tensor::<2>::from_data(TensorData::new(input.rows.clone(), [rows, input.width]), &device);
    let weight = Tensor::<2>::from_data(weight.clone(), &device);
    let product =
        |precision: Precision| precision.scope(|| ops::linear(x.clone(), weight.clone(), None));
    let (exact, whole) = (product(Precision::Fp32), product(Precision::Int8));
    let square = |x: Tensor<2>| -> f64 {
        x.into_data().iter::<f32>().map(|value| f64::from(value).powi(2)).sum()
    };
    let (difference, size) = (square(whole - exact.clone()), square(exact));
    Ok((difference / size.max(f64::MIN_POSITIVE)).sqrt())
}

/// The largest absolute weight of every input.
fn largest_of_inputs(weight: &[f32], inputs: usize) -> Vec<f32> {
    let mut largest = vec![0.0f32; inputs];
    for row in weight.chunks_exact(inputs.max(1)) {
        largest
            .iter_mut()
            .zip(row)
            .for_each(|(largest, value)| *largest = largest.max(value.abs()));
    }
    largest
}

/// A tensor whose last axis is multiplied by factors.
fn scaled(data: &TensorData, factors: &[f32]) -> Result<TensorData> {
    let rows = values(data)?.chunks_exact(factors.len().max(1));
    let values = rows.flat_map(|row| row.iter().zip(factors).map(|(value, factor)| value * factor));
    Ok(TensorData::new(values.collect::<Vec<f32>>(), data.shape().clone()))
}

fn scale(weights: &mut StateDict, name: &str, factors: &[f32]) -> Result<()> {
    if let Some(data) = weights.get_mut(name) {
        *data = scaled(data, factors)?;
    }
    Ok(())
}

fn values(data: &TensorData) -> Result<&[f32]> {
    let text = || multimae::Error::Weights("a weight to quantise is not fp32".to_owned());
    data.as_slice::<f32>().map_err(|_| Error::Model(text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer of 64 inputs, one of which is a hundred times as large as the others.
    fn with_outlier() -> (LayerInput, TensorData) {
        let wave = |at: usize| (at as f32 * 0.731).sin();
        let size = |channel: usize| if channel == 5 { 100.0 } else { 1.0 };
        let rows: Vec<f32> = (0..32 * 64).map(|at| wave(at) * size(at % 64)).collect();
        let largest = (0..64).map(size).collect();
        let weight =
            TensorData::new((0..96 * 64).map(|at| wave(at + 7)).collect::<Vec<_>>(), [96, 64]);
        (LayerInput { width: 64, rows, largest }, weight)
    }

    #[test]
    fn a_large_channel_is_shared_with_the_weight() {
        if Precision::Int8.check(&Device::flex()).is_err() {
            return;
        }
        let (input, weight) = with_outlier();
        let plain = error(&input, &weight).unwrap();
        let (smoothed, divisors) = best(&input, &weight, plain).unwrap().unwrap();
        assert!(smoothed < 0.6 * plain, "{smoothed} of {plain}");
        let others =
            divisors.iter().enumerate().filter(|(at, _)| *at != 5).map(|(_, divisor)| divisor);
        assert!(others.clone().all(|other| divisors[5] > 2.0 * other), "{divisors:?}");
    }

    #[test]
    fn the_norm_before_a_layer_is_its_own() {
        let names = [
            "encoder.3.norm1.weight",
            "encoder.3.norm1.bias",
            "encoder.3.norm2.weight",
            "output_adapters.semseg.blocks.0.norm.weight",
            "output_adapters.semseg.blocks.0.norm.bias",
        ];
        let one = || TensorData::new(vec![1.0f32], [1]);
        let weights: StateDict = names.iter().map(|name| ((*name).to_owned(), one())).collect();
        let of = |name: &str| norm_before(name, &weights);
        assert_eq!(of("encoder.3.attn.qkv.weight").as_deref(), Some("encoder.3.norm1"));
        assert_eq!(of("encoder.3.mlp.fc1.weight"), None, "a norm without bias is none");
        let convnext = "output_adapters.semseg.blocks.0";
        assert_eq!(of(&format!("{convnext}.pwconv1.weight")), Some(format!("{convnext}.norm")));
        assert_eq!(of("encoder.3.attn.proj.weight"), None);
    }
}
