//! Conversions between MultiMAE and the vision transformer of timm, which MAE uses too.
//!
//! MultiMAE's global token stands where the ViT has its class token. The ViT adds a position
//! embedding to its class token and MultiMAE does not, so the embedding is added once and for all
//! on the way in, and is zero on the way out. MultiMAE has no final norm: a ViT that was trained
//! with one gives other features here. The rules are those of the published conversion scripts.

use std::collections::BTreeSet;

use burn::tensor::{DType, TensorData};

use super::hugging_face::hugging_face_to_timm;
use super::jax::jax_to_timm;
use super::layout::Layout;
use crate::modality::Size;
use crate::state::StateDict;
use crate::{Error, Result};

/// The parameters of a block, which has the same parts in both models.
const BLOCK_PARAMETERS: [&str; 12] = [
    "norm1.weight",
    "norm1.bias",
    "attn.qkv.weight",
    "attn.qkv.bias",
    "attn.proj.weight",
    "attn.proj.bias",
    "norm2.weight",
    "norm2.bias",
    "mlp.fc1.weight",
    "mlp.fc1.bias",
    "mlp.fc2.weight",
    "mlp.fc2.bias",
];
/// Parameters that have the same values in both models, first as MultiMAE calls them.
const PATCHES: [(&str, &str); 2] = [
    ("input_adapters.rgb.proj.weight", "patch_embed.proj.weight"),
    ("input_adapters.rgb.proj.bias", "patch_embed.proj.bias"),
];
const GLOBAL: &str = "global_tokens";
const POSITIONS: &str = "input_adapters.rgb.pos_emb";
const VIT_CLASS: &str = "cls_token";
const VIT_POSITIONS: &str = "pos_embed";
/// DeiT's second token, whose position follows that of the class token.
const VIT_DISTILLATION: &str = "dist_token";
/// The tensors of a ViT that MultiMAE has no place for: the final norm, the classifiers, DeiT's
/// distillation token and MAE's decoder.
const VIT_DROPPED: [&str; 8] = [
    "norm.",
    "fc_norm.",
    "head.",
    "head_dist.",
    "decoder_",
    "mask_token",
    "pre_logits.",
    VIT_DISTILLATION,
];

/// Converted weights.
#[derive(Debug, Clone)]
pub struct Converted {
    /// The weights under their new names.
    pub weights: StateDict,
    /// The names of those that the other model has no place for.
    pub dropped: Vec<String>,
    /// Notes about the conversion.
    pub notices: Vec<String>,
}

/// Converts MultiMAE or MultiViT weights to a ViT on RGB. The other modalities and all decoders and
/// heads are dropped; the result has no final norm and no classifier.
///
/// # Errors
/// If the weights are no MultiMAE weights with RGB input and exactly one global token.
pub fn to_timm(weights: &StateDict) -> Result<Converted> {
    if !matches!(Layout::of(weights), Layout::MultiMae | Layout::MultiVit) {
        return Err(problem(format!("no MultiMAE weights but: {}", Layout::of(weights))));
    }
    let global = get(weights, GLOBAL)?;
    let &[1, 1, width] = global.shape().as_slice() else {
        let shape = global.shape().as_slice();
        return Err(problem(format!(
            "`{GLOBAL}` has shape {shape:?}, a ViT has exactly one class token"
        )));
    };
    let mut converted = StateDict::new();
    converted.insert(VIT_CLASS.to_owned(), global.clone());
    let positions = positions_to_timm(get(weights, POSITIONS)?, width)?;
    converted.insert(VIT_POSITIONS.to_owned(), positions);
    for (ours, theirs) in PATCHES {
        converted.insert(theirs.to_owned(), get(weights, ours)?.clone());
    }
    let mut dropped = Vec::new();
    for (name, data) in weights {
        if let Some(block) = name.strip_prefix("encoder.") {
            check_block(name, block)?;
            converted.insert(format!("blocks.{block}"), data.clone());
        } else if !used_by_to_timm(name) {
            dropped.push(name.clone());
        }
    }
    Ok(Converted { weights: converted, dropped, notices: Vec::new() })
}

fn used_by_to_timm(name: &str) -> bool {
    name == GLOBAL || name == POSITIONS || PATCHES.iter().any(|(ours, _)| name == *ours)
}

/// Converts the weights of a ViT, of timm or MAE, under its JAX names or those of Hugging Face, to a
/// MultiViT on RGB without heads. Its final norm, its classifier, DeiT's distillation token and MAE's
/// decoder are dropped.
///
/// # Errors
/// If the weights are not those of a plain ViT with a class token and a square position table.
pub fn from_timm(weights: &StateDict) -> Result<Converted> {
    from_timm_grid(weights, None)
}

/// Converts like [`from_timm`] a ViT whose position table is of this grid.
///
/// # Errors
/// As [`from_timm`], and if the table has another number of positions.
pub fn from_timm_grid(weights: &StateDict, grid: Option<Size>) -> Result<Converted> {
    match Layout::of(weights) {
        Layout::TimmVit | Layout::Unknown => {}
        Layout::JaxVit => return renamed(jax_to_timm(weights)?, grid),
        Layout::HfVit => return renamed(hugging_face_to_timm(weights)?, grid),
        other => return Err(problem(format!("no ViT weights but: {other}"))),
    }
    let class = get(weights, VIT_CLASS)?;
    let distilled = weights.contains_key(VIT_DISTILLATION);
    let (first, table) = positions_from_timm(get(weights, VIT_POSITIONS)?, distilled, grid)?;
    let mut converted = StateDict::new();
    converted.insert(GLOBAL.to_owned(), add(class, &first)?);
    converted.insert(POSITIONS.to_owned(), table);
    for (ours, theirs) in PATCHES {
        converted.insert(ours.to_owned(), get(weights, theirs)?.clone());
    }
    let mut dropped = Vec::new();
    for (name, data) in weights {
        if let Some(block) = name.strip_prefix("blocks.") {
            check_block(name, block)?;
            converted.insert(format!("encoder.{block}"), data.clone());
        } else if VIT_DROPPED.iter().any(|prefix| name.starts_with(prefix)) {
            dropped.push(name.clone());
        } else if !used_by_from_timm(name) {
            return Err(problem(format!("a plain ViT has no `{name}`")));
        }
    }
    let distillation = distilled.then(|| {
        "DeiT's distillation token and its position are left out: the class token becomes the \
         global token"
            .to_owned()
    });
    Ok(Converted { weights: converted, dropped, notices: distillation.into_iter().collect() })
}

/// The conversion of a ViT that has been brought under timm's names.
fn renamed(mut timm: Converted, grid: Option<Size>) -> Result<Converted> {
    let converted = from_timm_grid(&timm.weights, grid)?;
    timm.dropped.extend(converted.dropped);
    timm.notices.extend(converted.notices);
    Ok(Converted { weights: converted.weights, ..timm })
}

/// The parameters that the blocks behind this prefix lack: blocks are numbered from 0 without a
/// gap, and have twelve parameters each.
#[must_use]
pub fn missing_parts(weights: &StateDict, prefix: &str) -> Vec<String> {
    let index = |name: &String| name.strip_prefix(prefix)?.split_once('.')?.0.parse().ok();
    let blocks: BTreeSet<usize> = weights.keys().filter_map(index).collect();
    // A gap in the numbers is one block that lacks everything, however far the next one is.
    let gap = blocks.iter().enumerate().find(|(place, index)| place != *index);
    let all = blocks.iter().copied().chain(gap.map(|(place, _)| place));
    let names = all.flat_map(|block| {
        BLOCK_PARAMETERS.iter().map(move |parameter| format!("{prefix}{block}.{parameter}"))
    });
    names.filter(|name| !weights.contains_key(name)).collect()
}

fn used_by_from_timm(name: &str) -> bool {
    name == VIT_CLASS || name == VIT_POSITIONS || PATCHES.iter().any(|(_, theirs)| name == *theirs)
}

fn problem(text: String) -> Error {
    Error::Weights(format!("conversion between MultiMAE and timm: {text}"))
}

fn get<'a>(weights: &'a StateDict, name: &str) -> Result<&'a TensorData> {
    weights.get(name).ok_or_else(|| problem(format!("`{name}` is missing")))
}

/// Refuses parts of a block that the other model would lack, such as layer scales: dropping them
/// would change what the block computes.
fn check_block(name: &str, block: &str) -> Result<()> {
    let known = block.split_once('.').is_some_and(|(index, parameter)| {
        index.parse::<usize>().is_ok() && BLOCK_PARAMETERS.contains(&parameter)
    });
    if known { Ok(()) } else { Err(problem(format!("a plain block has no `{name}`"))) }
}

/// `(1, D, h, w)` to `(1, 1 + h·w, D)`, the first row zero.
fn positions_to_timm(table: &TensorData, width: usize) -> Result<TensorData> {
    let shape = table.shape().as_slice();
    let &[1, channels, height, columns] = shape else {
        return Err(problem(format!("`{POSITIONS}` has shape {shape:?}")));
    };
    if channels != width {
        return Err(problem(format!(
            "`{POSITIONS}` has shape {shape:?}, `{GLOBAL}` {width} values"
        )));
    }
    let cells = height * columns;
    let unit = table.dtype().size();
    let rows = transpose(table.as_bytes(), channels, cells, unit);
    let mut bytes = vec![0; channels * unit];
    bytes.extend(rows);
    tensor_data(bytes, &[1, 1 + cells, channels], table.dtype())
}

/// `(1, tokens + h·w, D)` to the first row as `(1, 1, D)` and the last `h·w` as `(1, D, h, w)`. A
/// table of patches alone has zeros for the first row.
fn positions_from_timm(
    table: &TensorData,
    distilled: bool,
    grid: Option<Size>,
) -> Result<(TensorData, TensorData)> {
    let shape = table.shape().as_slice();
    let (rows, width) = match *shape {
        [1, rows, width] if rows > 0 => (rows, width),
        _ => return Err(problem(format!("`{VIT_POSITIONS}` has shape {shape:?}"))),
    };
    let tokens = 1 + usize::from(distilled);
    let (tokens, grid) = match grid {
        Some(grid) => (of_tokens(rows, tokens, grid)?, grid),
        None => square_grid(rows, tokens)?,
    };
    let unit = table.dtype().size();
    let (first, patches) = table.as_bytes().split_at(tokens * width * unit);
    let first = if tokens == 0 { vec![0; width * unit] } else { first[..width * unit].to_vec() };
    let patches = transpose(patches, grid.area(), width, unit);
    Ok((
        tensor_data(first, &[1, 1, width], table.dtype())?,
        tensor_data(patches, &[1, width, grid.height, grid.width], table.dtype())?,
    ))
}

/// The number of rows before those of a grid: one per token, or none.
fn of_tokens(rows: usize, tokens: usize, grid: Size) -> Result<usize> {
    let area = grid.height.checked_mul(grid.width).unwrap_or(0);
    match rows.checked_sub(area) {
        Some(before) if area > 0 && (before == tokens || before == 0) => Ok(before),
        _ => Err(problem(format!(
            "`{VIT_POSITIONS}` has {rows} rows, a grid of {}x{} and {tokens} tokens {}",
            grid.height,
            grid.width,
            area + tokens
        ))),
    }
}

/// The number of rows before those of a square grid, one per token, and the grid.
fn square_grid(rows: usize, tokens: usize) -> Result<(usize, Size)> {
    let patches = rows.saturating_sub(tokens);
    let side = patches.isqrt();
    if side > 0 && side * side + tokens == rows {
        return Ok((tokens, Size::square(side)));
    }
    let side = rows.isqrt();
    // One row alone is that of a token.
    if side < 2 || side * side != rows {
        return Err(problem(format!(
            "`{VIT_POSITIONS}` has {rows} rows, not {tokens} and those of a square grid; give the \
             rows and columns of patches: `multimae convert --grid HxW`"
        )));
    }
    // A square table without a row of the class token, as of DeiT III, or that of an oblong grid.
    let tokens =
        if tokens == 1 { "the class token".to_owned() } else { format!("{tokens} tokens") };
    let Size { height, width } = most_square(patches);
    Err(problem(format!(
        "`{VIT_POSITIONS}` has {rows} rows: those of {side} x {side} patches and none of {tokens} \
         (`multimae convert --grid {side}x{side}`), or of {tokens} and {patches} patches, such as \
         {height} x {width} (`multimae convert --grid {height}x{width}`); give the one that it is"
    )))
}

/// The grid of this number of patches whose sides differ least.
fn most_square(patches: usize) -> Size {
    let rows = (1..=patches.isqrt()).rev().find(|rows| patches.is_multiple_of(*rows)).unwrap_or(1);
    Size::new(rows, patches / rows)
}

/// A row-major matrix of `rows` rows with rows and columns swapped; `unit` bytes per value.
fn transpose(bytes: &[u8], rows: usize, columns: usize, unit: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for column in 0..columns {
        for row in 0..rows {
            let at = (row * columns + column) * unit;
            out.extend_from_slice(&bytes[at..at + unit]);
        }
    }
    out
}

/// The sum of two tensors of real numbers, in the type of the first.
fn add(a: &TensorData, b: &TensorData) -> Result<TensorData> {
    let (shape, dtype) = (a.shape().as_slice(), a.dtype());
    if shape != b.shape().as_slice() {
        return Err(problem(format!(
            "`{VIT_CLASS}` has shape {shape:?}, a row of `{VIT_POSITIONS}` {:?}",
            b.shape().as_slice()
        )));
    }
    // Exact for single and half precision: the sum is rounded once, to the first one's type.
    let sum: Vec<f64> = a.iter::<f64>().zip(b.iter::<f64>()).map(|(a, b)| a + b).collect();
    let sum = TensorData::new(sum, shape.to_vec());
    match dtype {
        DType::F64 | DType::F32 | DType::F16 | DType::BF16 => Ok(sum.convert_dtype(dtype)),
        other => Err(problem(format!("`{VIT_CLASS}` has type {other:?}"))),
    }
}

fn tensor_data(bytes: Vec<u8>, shape: &[usize], dtype: DType) -> Result<TensorData> {
    TensorData::try_from_bytes_vec(bytes, shape.to_vec(), dtype).map_err(|e| problem(e.to_string()))
}
