//! Fitting pre-trained input adapters to a model for another image size.

use burn::tensor::TensorData;

use crate::interpolate::{Interpolation, interpolation_matrix};
use crate::state::{ParameterInfo, StateDict};

/// One change made to the weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    /// The tensor.
    pub name: String,
    /// Its shape in the file.
    pub from: Vec<usize>,
    /// Its shape now.
    pub to: Vec<usize>,
}

/// Fits the input adapters to the parameters of a model, as the published fine-tuning does:
///
/// * position tables `input_adapters.*.pos_emb` of another size are resized, bicubic with half-pixel
///   centres;
/// * a class embedding `input_adapters.*.class_emb.weight` that has one row less, because the model
///   has a class for padding, gets a row of zeros.
///
/// Decoder tables and everything else stay as they are, and so does what cannot be made to fit:
/// [`crate::state::load`] reports it. Returns what was changed. Changed tensors are in single
/// precision.
pub fn fit_input_adapters(weights: &mut StateDict, model: &[ParameterInfo]) -> Vec<Fitted> {
    let mut changes = Vec::new();
    for parameter in model {
        let Some(name) = parameter.name.strip_prefix("input_adapters.") else { continue };
        let Some(data) = weights.get_mut(&parameter.name) else { continue };
        let new = if name.ends_with(".pos_emb") {
            resized(data, &parameter.shape)
        } else if name.ends_with(".class_emb.weight") {
            with_padding_row(data, &parameter.shape)
        } else {
            None
        };
        if let Some(new) = new {
            changes.push(Fitted {
                name: parameter.name.clone(),
                from: data.shape().to_vec(),
                to: new.shape().to_vec(),
            });
            *data = new;
        }
    }
    changes
}

/// A table `(1, D, h, w)` in another size; `None` if that is no question of size.
fn resized(table: &TensorData, target: &[usize]) -> Option<TensorData> {
    let (&[1, channels, height, width], &[1, target_channels, rows, columns]) =
        (table.shape().as_slice(), target)
    else {
        return None;
    };
    let same = (height, width) == (rows, columns);
    if channels != target_channels || same || height * width == 0 {
        return None;
    }
    let values: Vec<f32> = table.iter::<f32>().collect();
    let across = interpolation_matrix(width, columns, Interpolation::Bicubic);
    let down = interpolation_matrix(height, rows, Interpolation::Bicubic);
    let mut out = Vec::with_capacity(channels * rows * columns);
    for map in values.chunks_exact(height * width) {
        // (h, w) x (w, columns), kept transposed: every row of `wide` is one column of the result.
        let wide: Vec<f32> = across
            .chunks_exact(width)
            .flat_map(|weights| map.chunks_exact(width).map(|row| dot(weights, row)))
            .collect();
        for weights in down.chunks_exact(height) {
            out.extend(wide.chunks_exact(height).map(|column| dot(weights, column)));
        }
    }
    Some(TensorData::new(out, target.to_vec()))
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A table `(classes, E)` with one more row; `None` if the target has another shape.
fn with_padding_row(table: &TensorData, target: &[usize]) -> Option<TensorData> {
    let (&[classes, width], &[rows, columns]) = (table.shape().as_slice(), target) else {
        return None;
    };
    if rows != classes + 1 || columns != width {
        return None;
    }
    let mut values: Vec<f32> = table.iter::<f32>().collect();
    values.extend(std::iter::repeat_n(0.0, width));
    Some(TensorData::new(values, target.to_vec()))
}
