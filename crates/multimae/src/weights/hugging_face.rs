//! The vision transformer under the names of Hugging Face's transformers (`ViTModel`,
//! `ViTMAEModel`, `DeiTModel` and the backbone of `DPTForDepthEstimation`).
//!
//! Queries, keys and values are linear layers of their own there; timm has them in one, in this
//! order.

use burn::tensor::TensorData;
use indexmap::IndexSet;

use super::timm::Converted;
use crate::state::StateDict;
use crate::{Error, Result};

const LAYER: &str = "encoder.layer.";
/// Tensors outside the blocks, first as transformers calls them.
const OUTSIDE: [(&str, &str); 7] = [
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.distillation_token", "dist_token"),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.patch_embeddings.projection.weight", "patch_embed.proj.weight"),
    ("embeddings.patch_embeddings.projection.bias", "patch_embed.proj.bias"),
    ("layernorm.weight", "norm.weight"),
    ("layernorm.bias", "norm.bias"),
];
/// Modules of a block, likewise; each has a weight and a bias.
const MODULES: [(&str, &str); 5] = [
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("attention.output.dense", "attn.proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
];
/// The classifier, which is timm's.
const CLASSIFIER: (&str, &str) = ("classifier.", "head.");
/// Tensors that timm's ViT has no place for: the pooler, the decoders of `ViTMAE` and
/// `ViTForMaskedImageModeling`, and the random mask that these may store.
const DROPPED: [&str; 3] = ["pooler.", "decoder.", "embeddings.mask_token"];

/// Renames the weights of a ViT from the names of transformers to those of timm.
///
/// # Errors
/// If a block lacks queries, keys or values, or a tensor is not one of a plain ViT.
pub fn hugging_face_to_timm(weights: &StateDict) -> Result<Converted> {
    let (mut timm, mut dropped) = (StateDict::new(), Vec::new());
    let mut used: IndexSet<String> = IndexSet::new();
    for (theirs, ours) in OUTSIDE {
        if let Some(data) = weights.get(theirs) {
            timm.insert(ours.to_owned(), data.clone());
            used.insert(theirs.to_owned());
        }
    }
    for index in 0.. {
        let layer = format!("{LAYER}{index}.");
        if !weights.keys().any(|name| name.starts_with(&layer)) {
            break;
        }
        block(weights, &layer, &format!("blocks.{index}."), &mut timm, &mut used)?;
    }
    for (name, data) in weights.iter().filter(|(name, _)| !used.contains(*name)) {
        if let Some(own) = name.strip_prefix(CLASSIFIER.0) {
            timm.insert(format!("{}{own}", CLASSIFIER.1), data.clone());
        } else if DROPPED.iter().any(|prefix| name.starts_with(prefix)) {
            dropped.push(name.clone());
        } else {
            return Err(problem(format!("a plain ViT has no `{name}`")));
        }
    }
    Ok(Converted { weights: timm, dropped, notices: Vec::new() })
}

fn block(
    weights: &StateDict,
    theirs: &str,
    ours: &str,
    timm: &mut StateDict,
    used: &mut IndexSet<String>,
) -> Result<()> {
    for part in ["weight", "bias"] {
        for (from, to) in MODULES {
            let from = format!("{theirs}{from}.{part}");
            let data = weights.get(&from).ok_or_else(|| problem(format!("`{from}` is missing")))?;
            timm.insert(format!("{ours}{to}.{part}"), data.clone());
            used.insert(from);
        }
        let names = ["query", "key", "value"]
            .map(|name| format!("{theirs}attention.attention.{name}.{part}"));
        let three = names.iter().map(|name| weights.get(name)).collect::<Option<Vec<_>>>();
        let three = three
            .ok_or_else(|| problem(format!("`{}` or its key or value is missing", names[0])))?;
        timm.insert(format!("{ours}attn.qkv.{part}"), stacked(&three, &names[0])?);
        used.extend(names);
    }
    Ok(())
}

/// Tensors of one shape, one after the other along their first axis.
fn stacked(three: &[&TensorData], name: &str) -> Result<TensorData> {
    let first = three[0];
    let mut shape = first.shape().to_vec();
    let same =
        three.iter().all(|data| data.shape() == first.shape() && data.dtype() == first.dtype());
    if !same || shape.is_empty() {
        return Err(problem(format!("`{name}` and its key and value differ in shape or type")));
    }
    shape[0] *= three.len();
    let bytes: Vec<u8> = three.iter().flat_map(|data| data.as_bytes()).copied().collect();
    TensorData::try_from_bytes_vec(bytes, shape, first.dtype()).map_err(|e| problem(e.to_string()))
}

fn problem(text: String) -> Error {
    Error::Weights(format!("conversion of a ViT from the names of transformers: {text}"))
}

#[cfg(test)]
mod tests {
    use super::super::{Layout, from_timm};
    use super::*;

    const WIDTH: usize = 2;

    fn vit(distilled: bool) -> StateDict {
        let mut weights = StateDict::new();
        let mut add = |name: &str, shape: &[usize]| {
            let start = weights.len() * 1000;
            let count: usize = shape.iter().product();
            let values: Vec<f32> = (start..start + count).map(|value| value as f32).collect();
            weights.insert(name.to_owned(), TensorData::new(values, shape.to_vec()));
        };
        add("embeddings.cls_token", &[1, 1, WIDTH]);
        let tokens = if distilled { 2 } else { 1 };
        if distilled {
            add("embeddings.distillation_token", &[1, 1, WIDTH]);
        }
        add("embeddings.position_embeddings", &[1, 4 + tokens, WIDTH]);
        add("embeddings.patch_embeddings.projection.weight", &[WIDTH, 3, 2, 2]);
        add("embeddings.patch_embeddings.projection.bias", &[WIDTH]);
        for (name, shape) in [
            ("layernorm_before.weight", &[WIDTH][..]),
            ("layernorm_before.bias", &[WIDTH]),
            ("attention.attention.query.weight", &[WIDTH, WIDTH]),
            ("attention.attention.query.bias", &[WIDTH]),
            ("attention.attention.key.weight", &[WIDTH, WIDTH]),
            ("attention.attention.key.bias", &[WIDTH]),
            ("attention.attention.value.weight", &[WIDTH, WIDTH]),
            ("attention.attention.value.bias", &[WIDTH]),
            ("attention.output.dense.weight", &[WIDTH, WIDTH]),
            ("attention.output.dense.bias", &[WIDTH]),
            ("layernorm_after.weight", &[WIDTH]),
            ("layernorm_after.bias", &[WIDTH]),
            ("intermediate.dense.weight", &[4 * WIDTH, WIDTH]),
            ("intermediate.dense.bias", &[4 * WIDTH]),
            ("output.dense.weight", &[WIDTH, 4 * WIDTH]),
            ("output.dense.bias", &[WIDTH]),
        ] {
            add(&format!("{LAYER}0.{name}"), shape);
        }
        add("layernorm.weight", &[WIDTH]);
        add("layernorm.bias", &[WIDTH]);
        add("pooler.dense.weight", &[WIDTH, WIDTH]);
        weights
    }

    fn values(weights: &StateDict, name: &str) -> Vec<f32> {
        weights[name].iter::<f32>().collect()
    }

    #[test]
    fn queries_keys_and_values_become_one_layer() {
        let theirs = vit(false);
        assert_eq!(Layout::of(&theirs), Layout::HfVit);
        let ours = from_timm(&theirs).unwrap();
        let of = |name: &str| values(&theirs, &format!("{LAYER}0.attention.attention.{name}"));
        let expected = [of("query.weight"), of("key.weight"), of("value.weight")].concat();
        assert_eq!(values(&ours.weights, "encoder.0.attn.qkv.weight"), expected);
        assert_eq!(ours.weights["encoder.0.attn.qkv.weight"].shape().as_slice(), [6, 2]);
        let fc1 = values(&theirs, &format!("{LAYER}0.intermediate.dense.weight"));
        assert_eq!(values(&ours.weights, "encoder.0.mlp.fc1.weight"), fc1);
        assert_eq!(ours.weights.len(), 4 + 12);
        assert_eq!(ours.dropped, ["pooler.dense.weight", "norm.weight", "norm.bias"]);
    }

    #[test]
    fn parts_without_a_place_in_timm_are_listed_and_not_renamed() {
        let mut theirs = vit(false);
        for name in ["decoder.mask_token", "embeddings.mask_token", "classifier.bias"] {
            theirs.insert(name.to_owned(), TensorData::new(vec![1.0_f32], [1]));
        }
        let timm = hugging_face_to_timm(&theirs).unwrap();
        let dropped = ["pooler.dense.weight", "decoder.mask_token", "embeddings.mask_token"];
        assert_eq!(timm.dropped, dropped);
        assert!(timm.weights.contains_key("head.bias"));
        assert!(!timm.weights.keys().any(|name| name.contains("pooler") || name.contains("mask")));
        assert_eq!(timm.weights.len(), 4 + 2 + 12 + 1);
    }

    #[test]
    fn a_distillation_token_is_left_out_with_its_position() {
        let theirs = vit(true);
        let ours = from_timm(&theirs).unwrap();
        let class = values(&theirs, "embeddings.cls_token");
        let positions = values(&theirs, "embeddings.position_embeddings");
        let sum: Vec<f32> = class.iter().zip(&positions).map(|(a, b)| a + b).collect();
        assert_eq!(values(&ours.weights, "global_tokens"), sum);
        // Channels first: of the four patches behind both tokens.
        let patches: Vec<f32> = (0..WIDTH)
            .flat_map(|c| (2..6).map(move |row| (row, c)))
            .map(|(row, c)| positions[row * WIDTH + c])
            .collect();
        assert_eq!(values(&ours.weights, "input_adapters.rgb.pos_emb"), patches);
        assert!(ours.dropped.contains(&"dist_token".to_owned()));
        assert!(ours.notices[0].contains("distillation token"), "{:?}", ours.notices);
    }

    #[test]
    fn parts_of_other_models_are_named() {
        let mut weights = vit(false);
        weights
            .insert(format!("{LAYER}0.layer_scale1.lambda1"), TensorData::new(vec![1.0_f32], [1]));
        let message = hugging_face_to_timm(&weights).unwrap_err().to_string();
        assert!(message.contains("layer_scale1"), "{message}");
        weights = vit(false);
        weights.shift_remove(&format!("{LAYER}0.attention.attention.key.bias"));
        assert!(hugging_face_to_timm(&weights).unwrap_err().to_string().contains("query.bias"));
    }
}
