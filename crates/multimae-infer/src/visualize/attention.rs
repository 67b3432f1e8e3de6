//! Attention of prompts, the global token and prefixes, and of patches to the entries that they read.

use std::sync::Arc;

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Tensor};
use multimae::peft::BlockAttention;
use multimae_data::{Dataset, Encoding, Map, Pipeline, Sample, Values};
use multimae_report::colormap::{Colormap, ValueRange};
use multimae_report::picture::{Grid, Picture, WHITE, color_bar};

use crate::saved_model::SavedModel;
use crate::{Error, Result};

/// Opacity of a heat map over the picture.
const OPACITY: f32 = 0.65;
/// Pictures smaller than this are enlarged, in pixels.
const SMALLEST: usize = 160;
/// The number of entries that are shown unless all are asked for.
const ENTRIES: usize = 8;

/// The queries and keys of an attention map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionKind {
    /// From the tokens of prompts to the patches, the mean over prompts.
    Prompts,
    /// From one of them.
    Prompt(usize),
    /// From the global tokens to the patches.
    Global,
    /// From every patch to the keys of prefixes, all together.
    Prefix,
    /// From every patch to an entry that changes it behind the block; 0 stands for no change.
    Entry(usize),
}

impl AttentionKind {
    fn words(self) -> String {
        match self {
            Self::Prompts => "prompts".to_owned(),
            Self::Prompt(index) => format!("prompt {index}"),
            Self::Global => "global token".to_owned(),
            Self::Prefix => "to the prefix".to_owned(),
            Self::Entry(0) => "to entry 0 (no change)".to_owned(),
            Self::Entry(index) => format!("to entry {index}"),
        }
    }
}

/// The attention of a block over the patches of the inputs.
#[derive(Debug, Clone)]
pub struct AttentionMap {
    /// The block, from 0.
    pub block: usize,
    /// The task, where each has prompts of its own.
    pub task: Option<String>,
    /// The queries and keys.
    pub kind: AttentionKind,
    /// A weight per patch, row by row, by input modality.
    pub patches: IndexMap<String, Vec<f32>>,
}

/// The attention of some blocks for a frame: of prompts, one by one if `each`, and of global tokens; of
/// a prefix, how much the patches attend to it; of the entries that patches read, those that differ most from
/// patch to patch, or all if `each`. The mean over heads, or that of one.
///
/// # Errors
/// If there is no such block or head, or the frame does not fit the model.
pub fn attention_maps(
    saved: &SavedModel,
    sample: &Sample,
    device: &Device,
    (blocks, head, each): (&[usize], Option<usize>, bool),
) -> Result<Vec<AttentionMap>> {
    let inputs = saved.card.inputs(std::slice::from_ref(sample), device)?;
    let pass = || saved.model.attention(inputs, blocks);
    let (attention, layout) = saved.precision.scope(pass)?;
    let area = layout.grid.area();
    let mut maps = Vec::new();
    for one in attention {
        let weights = Weights::new(&one, head)?;
        let patches = layout.num_tokens();
        let prompts = one.own..one.own + one.prompts;
        let mut kinds: Vec<(AttentionKind, Vec<f32>)> = Vec::new();
        if one.prompts > 0 {
            kinds.push((AttentionKind::Prompts, weights.from(prompts.clone(), patches)));
            let single = |at: usize| {
                (AttentionKind::Prompt(at), weights.from(one.own + at..one.own + at + 1, patches))
            };
            kinds.extend((0..one.prompts).filter(|_| each && one.prompts > 1).map(single));
        }
        if one.prefix > 0 {
            kinds.push((AttentionKind::Prefix, weights.to_prefix(&one, patches)));
        }
        if let Some(shares) = &one.regions {
            kinds.extend(entries(shares, each));
        }
        if one.own > patches {
            kinds.push((AttentionKind::Global, weights.from(patches..one.own, patches)));
        }
        for (kind, all) in kinds {
            let of = |task: &multimae::tokens::TaskTokens| {
                (task.name.clone(), all[task.start..task.start + area].to_vec())
            };
            let patches = layout.tasks.iter().map(of).collect();
            maps.push(AttentionMap { block: one.block, task: one.task.clone(), kind, patches });
        }
    }
    Ok(maps)
}

/// The shares of the entries that the patches of one sample read: of those that differ most from patch to
/// patch, in this order, or of all.
fn entries(shares: &Tensor<3>, all: bool) -> Vec<(AttentionKind, Vec<f32>)> {
    let [_, patches, count] = shares.dims();
    let values: Vec<f32> = shares.clone().into_data().iter::<f32>().take(patches * count).collect();
    let of =
        |entry: usize| -> Vec<f32> { values.iter().skip(entry).step_by(count).copied().collect() };
    let spread = |entry: usize| {
        let range = ValueRange::of(&of(entry));
        range.max - range.min
    };
    let mut order: Vec<usize> = (0..count).collect();
    if !all {
        order.sort_by(|&a, &b| spread(b).total_cmp(&spread(a)));
        order.truncate(ENTRIES);
    }
    order.into_iter().map(|entry| (AttentionKind::Entry(entry), of(entry))).collect()
}

/// The attention of one sample, over heads.
struct Weights {
    columns: usize,
    values: Vec<f32>,
}

impl Weights {
    fn new(attention: &BlockAttention, head: Option<usize>) -> Result<Self> {
        let [_, heads, _, columns] = attention.weights.dims();
        let weights = attention.weights.clone();
        let weights = match head {
            Some(head) if head >= heads => {
                return Err(Error::Prediction(format!(
                    "there is no head {head}: the encoder's {heads} are numbered from 0"
                )));
            }
            Some(head) => weights.narrow(1, head, 1),
            None => weights.mean_dim(1),
        };
        Ok(Self { columns, values: weights.into_data().iter::<f32>().collect() })
    }

    /// The mean of some rows over the first columns.
    fn from(&self, rows: std::ops::Range<usize>, columns: usize) -> Vec<f32> {
        let count = rows.len().max(1) as f32;
        let mut mean = vec![0.0; columns];
        for row in rows {
            let row = &self.values[row * self.columns..][..columns];
            mean.iter_mut().zip(row).for_each(|(mean, weight)| *mean += weight / count);
        }
        mean
    }

    /// Returns the mean attention of the given rows to the last columns.
    fn to_prefix(&self, attention: &BlockAttention, rows: usize) -> Vec<f32> {
        let begin = attention.own + attention.prompts;
        let of = |row: usize| self.values[row * self.columns..][begin..self.columns].iter().sum();
        (0..rows).map(of).collect()
    }
}

/// The frames of a data set as a fine-tuned model sees them, whole and without padding to tasks.
///
/// # Errors
/// If a frame cannot be read or the geometry does not fit.
pub fn sample_of(saved: &SavedModel, dataset: &Arc<Dataset>, index: usize) -> Result<Sample> {
    let pipeline = Pipeline::new(Arc::clone(dataset), saved.card.geometry, 0)?;
    Ok(pipeline.sample(0, index)?)
}

/// A row per map, a column per input; each over the input's picture, on a scale of its own row.
///
/// # Errors
/// If a map does not fit its picture.
pub fn attention_figure(
    saved: &SavedModel,
    sample: &Sample,
    maps: &[AttentionMap],
    grid: (usize, usize),
) -> Result<Picture> {
    let Some(first) = maps.first() else {
        return Err(Error::Prediction("no tokens besides the patches".to_owned()));
    };
    let mut figure = Grid::new(first.patches.keys().cloned());
    let pictures = first.patches.keys().map(|name| picture_of(saved, sample, name));
    let pictures = pictures.collect::<Result<Vec<Picture>>>()?;
    figure.row("input", pictures.clone());
    for map in maps {
        let all: Vec<f32> = map.patches.values().flatten().copied().collect();
        let range = ValueRange::of(&all);
        let mut heats = Vec::new();
        for (weights, picture) in map.patches.values().zip(&pictures) {
            let mut over = picture.clone();
            let heat = Picture::from_map(weights, grid, Colormap::Viridis, range)?;
            let cell = (picture.height() / grid.0.max(1), picture.width() / grid.1.max(1));
            over.blend(&stretched(&heat, (cell.0.max(1), cell.1.max(1)), picture.size()), OPACITY)?;
            heats.push(over);
        }
        let task = map.task.as_ref().map(|task| format!(", {task}")).unwrap_or_default();
        let range = format!("{:.4} to {:.4}", range.min, range.max);
        figure.row(format!("block {}{task}: {} {range}", map.block, map.kind.words()), heats);
    }
    let bar = ValueRange { min: 0.0, max: 1.0 };
    let width = figure.content_width();
    figure.footer(color_bar(
        Colormap::Viridis,
        bar,
        "each row from its least to its greatest",
        "",
        width,
    ));
    Ok(figure.render())
}

/// Every pixel `rows` by `columns` times.
fn stretched(small: &Picture, (rows, columns): (usize, usize), size: (usize, usize)) -> Picture {
    let mut large = Picture::filled(size, WHITE);
    for y in 0..size.0 {
        for x in 0..size.1 {
            let (column, row) =
                ((x / columns).min(small.width() - 1), (y / rows).min(small.height() - 1));
            large.set_pixel(x, y, small.pixel(column, row));
        }
    }
    large
}

/// An input as a picture.
fn picture_of(saved: &SavedModel, sample: &Sample, name: &str) -> Result<Picture> {
    // Tokens are named by their adapter, maps by their modality.
    let input = saved.card.inputs.iter().find(|input| input.adapter == name);
    let name = input.map_or(name, |input| &input.data.name);
    let missing = || Error::Prediction(format!("frame `{}` has no `{name}`", sample.id));
    let map: &Map = sample.maps.get(name).ok_or_else(missing)?;
    let encoding = input.map(|input| &input.data.encoding);
    let size = (map.height, map.width);
    let picture = match (&map.values, encoding) {
        (Values::Continuous { data, .. }, Some(Encoding::Color { mean, std })) => {
            Picture::from_chw(data, size, *mean, *std)?
        }
        (Values::Continuous { data, .. }, _) => {
            let plane = &data[..map.height * map.width];
            let range = ValueRange::quantiles(plane, 0.01, 0.99);
            Picture::from_map(plane, size, Colormap::Viridis, range)?
        }
        (Values::Labels(labels), _) => {
            let most = labels.iter().copied().max().unwrap_or(1).max(1);
            let values: Vec<f32> = labels.iter().map(|label| *label as f32).collect();
            let range = ValueRange { min: 0.0, max: most as f64 };
            Picture::from_map(&values, size, Colormap::Viridis, range)?
        }
    };
    let full = sample.maps.values().map(|map| map.height).max().unwrap_or(1);
    let picture = picture.upscale((full / map.height.max(1)).max(1));
    Ok(picture.upscale(SMALLEST.div_ceil(picture.height().max(1)).max(1)))
}
