//! The names of DPT in transformers for our parameters.

use multimae::burn::tensor::{Tensor, TensorData};
use multimae::modality::Size;
use multimae::state::StateDict;
use multimae_infer::saved_model::SavedModel;

use super::full;
use crate::Result;
use crate::fit::{self, take};

/// The epsilon of their BatchNorm.
const BATCH_NORM_EPS: f32 = 1e-5;
/// Parts of a linear layer or convolution.
const PARTS: [&str; 2] = ["weight", "bias"];

/// The encoder with its embeddings.
pub(super) fn backbone(saved: &SavedModel, own: &StateDict, size: Size) -> Result<StateDict> {
    let mut theirs = StateDict::new();
    let width = saved.card.model.encoder.width;
    theirs.insert("dpt.embeddings.cls_token".to_owned(), take(own, "global_tokens")?);
    // Their class token has a position of its own, ours has none.
    let patches = fit::positions(saved, own, size)?;
    let none = Tensor::<3>::zeros([1, 1, width], &patches.device());
    let positions = Tensor::cat(vec![none, patches], 1).into_data();
    theirs.insert("dpt.embeddings.position_embeddings".to_owned(), positions);
    let rgb = format!("input_adapters.{}.proj", fit::color_name(saved));
    renamed(own, &rgb, &mut theirs, "dpt.embeddings.patch_embeddings.projection")?;
    for index in 0..saved.card.model.encoder.depth {
        block(own, index, width, &mut theirs)?;
    }
    // The heads read blocks, not what is behind this norm.
    theirs.insert("dpt.layernorm.weight".to_owned(), full(1.0, width));
    theirs.insert("dpt.layernorm.bias".to_owned(), full(0.0, width));
    Ok(theirs)
}

fn block(own: &StateDict, index: usize, width: usize, theirs: &mut StateDict) -> Result<()> {
    let (ours, layer) = (format!("encoder.{index}"), format!("dpt.encoder.layer.{index}"));
    for part in PARTS {
        let fused = take(own, &format!("{ours}.attn.qkv.{part}"))?;
        for (third, name) in ["query", "key", "value"].into_iter().enumerate() {
            let name = format!("{layer}.attention.attention.{name}.{part}");
            theirs.insert(name, rows(&fused, third * width, width));
        }
    }
    let pairs = [
        ("attn.proj", "attention.output.dense"),
        ("mlp.fc1", "intermediate.dense"),
        ("mlp.fc2", "output.dense"),
        ("norm1", "layernorm_before"),
        ("norm2", "layernorm_after"),
    ];
    pairs.into_iter().try_for_each(|(from, to)| {
        renamed(own, &format!("{ours}.{from}"), theirs, &format!("{layer}.{to}"))
    })
}

/// Reassembly and fusion.
pub(super) fn neck(own: &StateDict, head: &str, theirs: &mut StateDict) -> Result<()> {
    for index in 0..4 {
        let ours = format!("{head}.act_{}_postprocess", index + 1);
        let stage = format!("neck.reassemble_stage.layers.{index}");
        renamed(own, &format!("{ours}.0"), theirs, &format!("{stage}.projection"))?;
        // The third is at its resolution already.
        if index != 2 {
            renamed(own, &format!("{ours}.1"), theirs, &format!("{stage}.resize"))?;
        }
        let layer = format!("{head}.scratch.layer{}_rn.weight", index + 1);
        theirs.insert(format!("neck.convs.{index}.weight"), take(own, &layer)?);
        // Theirs are counted from the coarsest.
        let ours = format!("{head}.scratch.refinenet{}", 4 - index);
        let stage = format!("neck.fusion_stage.layers.{index}");
        renamed(own, &format!("{ours}.out_conv"), theirs, &format!("{stage}.projection"))?;
        for (unit, convolution) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let from = format!("{ours}.resConfUnit{unit}.conv{convolution}");
            let to = format!("{stage}.residual_layer{unit}.convolution{convolution}");
            renamed(own, &from, theirs, &to)?;
        }
    }
    Ok(())
}

/// All but the last layer of a head of values.
pub(super) fn depth_head(own: &StateDict, head: &str, theirs: &mut StateDict) -> Result<()> {
    ["0", "2"].into_iter().try_for_each(|layer| {
        renamed(own, &format!("{head}.head.{layer}"), theirs, &format!("head.head.{layer}"))
    })
}

/// All but the last layer of a head of classes; their BatchNorm does nothing.
pub(super) fn semseg_head(
    own: &StateDict,
    head: &str,
    theirs: &mut StateDict,
    features: usize,
) -> Result<()> {
    theirs.insert("head.head.0.weight".to_owned(), take(own, &format!("{head}.head.0.weight"))?);
    let norm = [
        ("weight", (1.0 + BATCH_NORM_EPS).sqrt()),
        ("bias", 0.0),
        ("running_mean", 0.0),
        ("running_var", 1.0),
    ];
    for (part, value) in norm {
        theirs.insert(format!("head.head.1.{part}"), full(value, features));
    }
    let seen = TensorData::new(vec![0_i64], [0_usize; 0]);
    theirs.insert("head.head.1.num_batches_tracked".to_owned(), seen);
    Ok(())
}

/// Weight and bias of a layer under another name.
fn renamed(own: &StateDict, from: &str, theirs: &mut StateDict, to: &str) -> Result<()> {
    for part in PARTS {
        theirs.insert(format!("{to}.{part}"), take(own, &format!("{from}.{part}"))?);
    }
    Ok(())
}

/// `count` rows of the first axis from `start` on.
fn rows(data: &TensorData, start: usize, count: usize) -> TensorData {
    let mut shape = data.shape().to_vec();
    let row: usize = shape.iter().skip(1).product();
    let values: Vec<f32> = data.iter().skip(start * row).take(count * row).collect();
    if let Some(first) = shape.first_mut() {
        *first = count;
    }
    TensorData::new(values, shape)
}
