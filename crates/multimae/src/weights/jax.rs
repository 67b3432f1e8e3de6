//! The vision transformer under its JAX names (Dosovitskiy et al., 2021; Steiner et al., 2022), as
//! its `.npz` files have it.
//!
//! Kernels are stored inputs first, the projections of attention with their heads as axes of their
//! own, and the patch embedding channels last. Here they become what timm calls them.

use burn::tensor::TensorData;
use indexmap::IndexSet;

use super::timm::Converted;
use crate::state::StateDict;
use crate::{Error, Result};

/// A prefix that some files put before every name.
const PREFIXES: [&str; 2] = ["opt/target/", "params/"];
const ENCODER: &str = "Transformer/encoderblock_";
const ATTENTION: &str = "MultiHeadDotProductAttention_1";

/// A block's parameters that only change their name: first as JAX calls them.
const VECTORS: [(&str, &str); 7] = [
    ("LayerNorm_0/scale", "norm1.weight"),
    ("LayerNorm_0/bias", "norm1.bias"),
    ("LayerNorm_2/scale", "norm2.weight"),
    ("LayerNorm_2/bias", "norm2.bias"),
    ("MultiHeadDotProductAttention_1/out/bias", "attn.proj.bias"),
    ("MlpBlock_3/Dense_0/bias", "mlp.fc1.bias"),
    ("MlpBlock_3/Dense_1/bias", "mlp.fc2.bias"),
];
/// A block's matrices, stored inputs first.
const MATRICES: [(&str, &str); 2] = [
    ("MlpBlock_3/Dense_0/kernel", "mlp.fc1.weight"),
    ("MlpBlock_3/Dense_1/kernel", "mlp.fc2.weight"),
];
/// Parameters outside the blocks that only change their name.
const OUTSIDE: [(&str, &str); 4] = [
    ("cls", "cls_token"),
    ("Transformer/posembed_input/pos_embedding", "pos_embed"),
    ("Transformer/encoder_norm/scale", "norm.weight"),
    ("Transformer/encoder_norm/bias", "norm.bias"),
];
/// The classifier's tensors, which are dropped.
const DROPPED: [&str; 2] = ["head/", "pre_logits/"];

/// Renames and rearranges the weights of a ViT from its JAX names to those of timm. The classifier
/// is left out and listed.
///
/// # Errors
/// If a tensor is missing, is not known, or does not have the axes it should have.
pub fn jax_to_timm(weights: &StateDict) -> Result<Converted> {
    let source = Source(weights.iter().map(|(name, data)| (bare(name), data)).collect());
    let mut used = IndexSet::new();
    let mut timm = StateDict::new();
    let (kernel, bias) = ("embedding/kernel", "embedding/bias");
    timm.insert("patch_embed.proj.weight".to_owned(), patches(&source, kernel)?);
    timm.insert("patch_embed.proj.bias".to_owned(), source.flat(bias)?);
    used.extend([kernel.to_owned(), bias.to_owned()]);
    for (theirs, ours) in OUTSIDE {
        if let Some(data) = source.0.get(theirs) {
            timm.insert(ours.to_owned(), (*data).clone());
            used.insert(theirs.to_owned());
        }
    }
    for index in 0.. {
        let prefix = format!("{ENCODER}{index}/");
        if !source.0.keys().any(|name| name.starts_with(&prefix)) {
            break;
        }
        block(&source, &prefix, &format!("blocks.{index}."), &mut timm, &mut used)?;
    }
    let rest = source.0.keys().filter(|name| !used.contains(**name));
    let (dropped, unknown): (Vec<&str>, Vec<&str>) =
        rest.copied().partition(|name| DROPPED.iter().any(|prefix| name.starts_with(prefix)));
    if let Some(name) = unknown.first() {
        return Err(problem(format!("a plain ViT has no `{name}`")));
    }
    let dropped = dropped.into_iter().map(str::to_owned).collect();
    Ok(Converted { weights: timm, dropped, notices: Vec::new() })
}

/// A name without what some files put before it.
fn bare(name: &str) -> &str {
    PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

fn problem(text: String) -> Error {
    Error::Weights(format!("conversion of a ViT from its JAX names: {text}"))
}

struct Source<'a>(indexmap::IndexMap<&'a str, &'a TensorData>);

impl Source<'_> {
    fn get(&self, name: &str) -> Result<&TensorData> {
        self.0.get(name).copied().ok_or_else(|| problem(format!("`{name}` is missing")))
    }

    /// All values in one axis.
    fn flat(&self, name: &str) -> Result<TensorData> {
        let data = self.get(name)?;
        let values: Vec<f32> = data.iter::<f32>().collect();
        let count = values.len();
        Ok(TensorData::new(values, [count]))
    }

    /// `(inputs..., outputs...)` with `inputs` leading axes to `(outputs, inputs)`, as values and
    /// the two extents.
    fn mirrored(&self, name: &str, inputs: usize) -> Result<(Vec<f32>, [usize; 2])> {
        let data = self.get(name)?;
        let shape = data.shape().as_slice();
        if shape.len() <= inputs {
            return Err(problem(format!("`{name}` has shape {shape:?}")));
        }
        let rows: usize = shape[..inputs].iter().product();
        let columns: usize = shape[inputs..].iter().product();
        let values: Vec<f32> = data.iter::<f32>().collect();
        let mirrored =
            (0..rows * columns).map(|at| values[at % rows * columns + at / rows]).collect();
        Ok((mirrored, [columns, rows]))
    }
}

fn block(
    source: &Source<'_>,
    theirs: &str,
    ours: &str,
    timm: &mut StateDict,
    used: &mut IndexSet<String>,
) -> Result<()> {
    let mut take = |name: &str| {
        let name = format!("{theirs}{name}");
        used.insert(name.clone());
        name
    };
    for (from, to) in VECTORS {
        timm.insert(format!("{ours}{to}"), source.flat(&take(from))?);
    }
    for (from, to) in MATRICES {
        let (values, shape) = source.mirrored(&take(from), 1)?;
        timm.insert(format!("{ours}{to}"), TensorData::new(values, shape));
    }
    let (values, shape) = source.mirrored(&take(&format!("{ATTENTION}/out/kernel")), 2)?;
    timm.insert(format!("{ours}attn.proj.weight"), TensorData::new(values, shape));
    let (mut weight, mut bias, mut width) = (Vec::new(), Vec::new(), 0);
    for part in ["query", "key", "value"] {
        let (values, [outputs, inputs]) =
            source.mirrored(&take(&format!("{ATTENTION}/{part}/kernel")), 1)?;
        if outputs != inputs {
            return Err(problem(format!("{theirs}{ATTENTION}/{part} maps {inputs} to {outputs}")));
        }
        width = inputs;
        weight.extend(values);
        bias.extend(source.flat(&take(&format!("{ATTENTION}/{part}/bias")))?.iter::<f32>());
    }
    if weight.len() != 3 * width * width || bias.len() != 3 * width {
        return Err(problem(format!("{theirs}{ATTENTION}: its parts differ in size")));
    }
    timm.insert(format!("{ours}attn.qkv.weight"), TensorData::new(weight, [3 * width, width]));
    timm.insert(format!("{ours}attn.qkv.bias"), TensorData::new(bias, [3 * width]));
    Ok(())
}

/// `(p, p, channels, width)` to `(width, channels, p, p)`.
fn patches(source: &Source<'_>, name: &str) -> Result<TensorData> {
    let data = source.get(name)?;
    let &[height, columns, channels, width] = data.shape().as_slice() else {
        return Err(problem(format!("`{name}` has shape {:?}", data.shape().as_slice())));
    };
    let values: Vec<f32> = data.iter::<f32>().collect();
    let mut turned = Vec::with_capacity(values.len());
    for out in 0..width {
        for channel in 0..channels {
            for pixel in 0..height * columns {
                turned.push(values[(pixel * channels + channel) * width + out]);
            }
        }
    }
    Ok(TensorData::new(turned, [width, channels, height, columns]))
}

#[cfg(test)]
mod tests {
    use super::super::from_timm;
    use super::*;

    const WIDTH: usize = 6;
    const HEADS: usize = 2;

    /// A ViT of one block whose every value says where it is from.
    fn vit() -> StateDict {
        let mut weights = StateDict::new();
        let mut add = |name: &str, shape: &[usize]| {
            let start = weights.len() * 10_000;
            let count: usize = shape.iter().product();
            let values: Vec<f32> = (start..start + count).map(|value| value as f32).collect();
            weights.insert(format!("opt/target/{name}"), TensorData::new(values, shape.to_vec()));
        };
        add("cls", &[1, 1, WIDTH]);
        add("embedding/kernel", &[2, 2, 3, WIDTH]);
        add("embedding/bias", &[WIDTH]);
        add("Transformer/posembed_input/pos_embedding", &[1, 5, WIDTH]);
        add("Transformer/encoder_norm/scale", &[WIDTH]);
        add("Transformer/encoder_norm/bias", &[WIDTH]);
        add("head/kernel", &[WIDTH, 4]);
        add("head/bias", &[4]);
        for norm in ["LayerNorm_0", "LayerNorm_2"] {
            add(&format!("{ENCODER}0/{norm}/scale"), &[WIDTH]);
            add(&format!("{ENCODER}0/{norm}/bias"), &[WIDTH]);
        }
        for part in ["query", "key", "value"] {
            let kernel = [WIDTH, HEADS, WIDTH / HEADS];
            add(&format!("{ENCODER}0/{ATTENTION}/{part}/kernel"), &kernel);
            add(&format!("{ENCODER}0/{ATTENTION}/{part}/bias"), &kernel[1..]);
        }
        add(&format!("{ENCODER}0/{ATTENTION}/out/kernel"), &[HEADS, WIDTH / HEADS, WIDTH]);
        add(&format!("{ENCODER}0/{ATTENTION}/out/bias"), &[WIDTH]);
        add(&format!("{ENCODER}0/MlpBlock_3/Dense_0/kernel"), &[WIDTH, 4 * WIDTH]);
        add(&format!("{ENCODER}0/MlpBlock_3/Dense_0/bias"), &[4 * WIDTH]);
        add(&format!("{ENCODER}0/MlpBlock_3/Dense_1/kernel"), &[4 * WIDTH, WIDTH]);
        add(&format!("{ENCODER}0/MlpBlock_3/Dense_1/bias"), &[WIDTH]);
        weights
    }

    fn value(weights: &StateDict, name: &str, at: &[usize]) -> f32 {
        let data = &weights[name];
        let place = at.iter().zip(data.shape().as_slice()).fold(0, |place, (i, n)| place * n + i);
        data.iter::<f32>().nth(place).unwrap()
    }

    #[test]
    fn every_value_finds_its_place() {
        let jax = vit();
        let timm = jax_to_timm(&jax).unwrap().weights;
        let theirs = |name: &str, at: &[usize]| value(&jax, &format!("opt/target/{name}"), at);
        let attention = format!("{ENCODER}0/{ATTENTION}");
        for (out, input) in [(0, 0), (1, 4), (5, 2), (3, 3)] {
            let (head, dim) = (out / (WIDTH / HEADS), out % (WIDTH / HEADS));
            for (part, name) in ["query", "key", "value"].into_iter().enumerate() {
                assert_eq!(
                    value(&timm, "blocks.0.attn.qkv.weight", &[part * WIDTH + out, input]),
                    theirs(&format!("{attention}/{name}/kernel"), &[input, head, dim])
                );
            }
            let (head, dim) = (input / (WIDTH / HEADS), input % (WIDTH / HEADS));
            assert_eq!(
                value(&timm, "blocks.0.attn.proj.weight", &[out, input]),
                theirs(&format!("{attention}/out/kernel"), &[head, dim, out])
            );
            assert_eq!(
                value(&timm, "blocks.0.mlp.fc2.weight", &[out, 7]),
                theirs(&format!("{ENCODER}0/MlpBlock_3/Dense_1/kernel"), &[7, out])
            );
        }
        assert_eq!(
            value(&timm, "patch_embed.proj.weight", &[4, 2, 1, 0]),
            theirs("embedding/kernel", &[1, 0, 2, 4])
        );
        assert!(!timm.contains_key("head.weight"));
    }

    #[test]
    fn it_goes_on_to_a_multivit() {
        let converted = from_timm(&vit()).unwrap();
        let shape = converted.weights["encoder.0.attn.qkv.weight"].shape().as_slice().to_vec();
        assert_eq!(shape, [3 * WIDTH, WIDTH]);
        let dropped = ["head/kernel", "head/bias", "norm.weight", "norm.bias"];
        assert_eq!(converted.dropped, dropped);
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        let mut weights = vit();
        weights.shift_remove(&format!("opt/target/{ENCODER}0/MlpBlock_3/Dense_1/bias"));
        assert!(jax_to_timm(&weights).unwrap_err().to_string().contains("Dense_1/bias"));
        let mut weights = vit();
        weights.insert("Transformer/extra".to_owned(), TensorData::new(vec![0.0f32], [1]));
        assert!(jax_to_timm(&weights).unwrap_err().to_string().contains("Transformer/extra"));
    }
}
