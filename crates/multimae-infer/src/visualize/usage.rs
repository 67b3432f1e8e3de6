//! The use of prompt pools' entries by class.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use multimae::burn::tensor::Device;
use multimae::encoder::Phase;
use multimae::prompts::PoolUsage;
use multimae_data::{DataModality, Dataset, Layout, Pipeline, Sample, Values};
use multimae_report::colormap::{Colormap, ValueRange};
use multimae_report::picture::{Grid, Picture, color_bar};

use crate::saved_model::SavedModel;
use crate::{Error, Result};

/// Side of the square that stands for an entry, in pixels.
const CELL: usize = 28;

/// Labels of the model's frames, and what they mean.
struct Annotation {
    modality: DataModality,
    names: Vec<String>,
    ignore: i64,
}

/// Counts how the frames of a split use the model's pools, by the class that most of a frame's pixels
/// have. `progress` gets the frames done and in all.
///
/// # Errors
/// If the model has no pool or predicts no labels, or a frame cannot be read.
pub fn pool_usage(
    saved: &SavedModel,
    data: (&Path, Option<&str>),
    device: &Device,
    mut progress: impl FnMut(u64, u64),
) -> Result<IndexMap<String, PoolUsage>> {
    let annotation = annotation(saved)?;
    let mut modalities: Vec<DataModality> =
        saved.card.inputs.iter().map(|input| input.data.clone()).collect();
    modalities.retain(|modality| modality.name != annotation.modality.name);
    modalities.push(annotation.modality.clone());
    let dataset = Dataset::open(data.0, &Layout::of(data.1), &modalities)?;
    let count = dataset.len();
    let pipeline = Pipeline::new(Arc::new(dataset), saved.card.geometry, 0)?;
    let mut usage: IndexMap<String, PoolUsage> = IndexMap::new();
    for index in 0..count {
        let sample = pipeline.sample(0, index)?;
        let class = dominant(&sample, &annotation);
        let inputs = saved.card.inputs(std::slice::from_ref(&sample), device)?;
        let pass = || saved.model.forward(inputs, &mut Phase::Evaluation);
        let output = saved.precision.scope(pass)?;
        if output.selections.is_empty() {
            return Err(Error::Prediction(
                "the model has no prompt pool; of `prompts: {kind: l2p | dual | coda}` there is one"
                    .to_owned(),
            ));
        }
        for (source, selection) in &output.selections {
            usage.entry(source.clone()).or_default().record_labelled(selection, &[&class])?;
        }
        progress(index as u64 + 1, count as u64);
    }
    Ok(usage)
}

fn annotation(saved: &SavedModel) -> Result<Annotation> {
    let found = saved.card.tasks.values().find_map(|card| {
        let (target, ignore) = (card.target.clone()?, card.task.ignored_label()?);
        let names = card.task.classes().iter().map(|class| class.name.clone()).collect();
        Some(Annotation { modality: target, names, ignore })
    });
    found.ok_or_else(|| {
        Error::Prediction(
            "the model predicts no labels, so that frames have no class to count by".to_owned(),
        )
    })
}

/// The name of the class of most pixels.
fn dominant(sample: &Sample, annotation: &Annotation) -> String {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    if let Some(Values::Labels(labels)) =
        sample.maps.get(&annotation.modality.name).map(|map| &map.values)
    {
        for label in labels.iter().filter(|label| **label != annotation.ignore) {
            *counts.entry(*label).or_default() += 1;
        }
    }
    // Of equals the first.
    let most = counts.iter().max_by_key(|(label, count)| (**count, -**label));
    let name = most.and_then(|(label, _)| annotation.names.get(usize::try_from(*label).ok()?));
    name.cloned().unwrap_or_else(|| "void".to_owned())
}

/// A row per class, a square per entry: the share of the entry in the class's use of its set of keys.
#[must_use]
pub fn usage_figure(usage: &IndexMap<String, PoolUsage>) -> Picture {
    let mut figure = Grid::new(["entries, from 0"]);
    for (source, pool) in usage {
        let source = if usage.len() > 1 { format!("{source} ") } else { String::new() };
        let mut rows: Vec<(String, u64, Vec<Vec<f64>>)> =
            vec![("all".to_owned(), pool.overall().samples(), pool.overall().histogram())];
        let labels = pool.labels().iter();
        rows.extend(
            labels.map(|(name, use_of)| (name.clone(), use_of.samples(), use_of.histogram())),
        );
        for (name, samples, sets) in rows {
            for (set, shares) in sets.iter().enumerate() {
                let set = if sets.len() > 1 { format!(" keys {set}") } else { String::new() };
                let title = format!("{source}{name} {samples}{set}");
                figure.row(title, [strip(shares)]);
            }
        }
    }
    let width = figure.content_width();
    let range = ValueRange { min: 0.0, max: 100.0 };
    figure.footer(color_bar(
        Colormap::Viridis,
        range,
        "share of the most used, by row",
        "%",
        width,
    ));
    figure.render()
}

/// A square per share, the largest in the last colour.
fn strip(shares: &[f64]) -> Option<Picture> {
    let values: Vec<f32> = shares.iter().map(|share| *share as f32).collect();
    let most = shares.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let range = ValueRange { min: 0.0, max: most };
    let picture = Picture::from_map(&values, (1, values.len()), Colormap::Viridis, range).ok()?;
    Some(picture.upscale(CELL))
}
