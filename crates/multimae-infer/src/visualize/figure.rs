//! The figure of a reconstruction: masked input, prediction and original of every task.

use indexmap::IndexMap;
use multimae::losses::{ReconstructionLoss, TaskObjective};
use multimae::masking::TokenMasks;
use multimae::modality::Size;
use multimae_data::{Encoding, Map, Sample, Values};
use multimae_report::colormap::{Colormap, ValueRange};
use multimae_report::palette::Palette;
use multimae_report::picture::{GREY, Grid, Picture, WHITE, color_bar, palette_legend};

use super::PretrainSpec;
use crate::Result;
use multimae_config::TaskModality;
use multimae_tasks::classes::{argmax, palette};

const COLUMNS: [&str; 3] = ["masked input", "prediction", "original"];
/// Pictures smaller than this are enlarged, in pixels.
const SMALLEST: usize = 128;

/// Samples, what was visible of them, and what was predicted.
#[derive(Debug)]
pub struct ReconstructionFigure<'a> {
    /// The model's shape and its modalities.
    pub spec: &'a PretrainSpec,
    /// The samples that are drawn.
    pub samples: &'a [Sample],
    /// The masks of the samples.
    pub masks: &'a TokenMasks,
    /// `(B, C, h, w)` by task.
    pub predictions: &'a IndexMap<String, Vec<f32>>,
    /// Modalities whose values in the samples mean nothing.
    pub unknown: &'a [String],
    /// Paste the visible patches into the predictions.
    pub keep_visible: bool,
}

impl ReconstructionFigure<'_> {
    /// A row per task, three columns per sample, legends below.
    ///
    /// # Errors
    /// If the parts do not fit each other.
    pub fn draw(&self) -> Result<Picture> {
        let groups = self.samples.iter();
        let mut grid =
            groups.fold(Grid::default(), |grid, sample| grid.group(sample.id.clone(), COLUMNS));
        let views: Vec<(TaskView<'_>, &Vec<f32>)> = self.views().collect();
        let mut drawn = Vec::new();
        for (view, values) in &views {
            if let Some(cells) = view.row(self, values)? {
                grid.row(view.task.name.clone(), cells);
                drawn.push((view, values));
            }
        }
        let width = grid.content_width();
        for (view, values) in drawn {
            if let Some(legend) = view.legend(self, values, width) {
                grid.footer(legend);
            }
        }
        Ok(grid.render())
    }

    /// By task, three pictures per sample: what was visible, the prediction, the original.
    ///
    /// # Errors
    /// If the parts do not fit each other.
    pub fn rows(&self) -> Result<Vec<(String, Vec<Option<Picture>>)>> {
        let row = |(view, values): (TaskView<'_>, &Vec<f32>)| {
            Ok(view.row(self, values)?.map(|cells| (view.task.name.clone(), cells)))
        };
        self.views().map(row).filter_map(Result::transpose).collect()
    }

    fn views(&self) -> impl Iterator<Item = (TaskView<'_>, &Vec<f32>)> {
        self.spec.objective.tasks.iter().filter_map(|task| {
            let modality = self.spec.modalities.get(&task.target)?;
            let values = self.predictions.get(&task.name)?;
            Some((TaskView::new(self, task, modality, values), values))
        })
    }

    fn is_known(&self, modality: &str) -> bool {
        !self.unknown.iter().any(|name| name == modality)
    }

    /// The map of a modality in every sample that is known.
    fn originals(&self, modality: &str) -> impl Iterator<Item = &Map> {
        let known = self.is_known(modality);
        self.samples.iter().filter(move |_| known).filter_map(move |s| s.maps.get(modality))
    }
}

/// The drawing of one task.
struct TaskView<'a> {
    task: &'a TaskObjective,
    modality: &'a TaskModality,
    palette: Palette,
    range: ValueRange,
    tokens: Size,
    full: Size,
    scale: usize,
}

impl<'a> TaskView<'a> {
    fn new(
        figure: &ReconstructionFigure<'a>,
        task: &'a TaskObjective,
        modality: &'a TaskModality,
        predicted: &[f32],
    ) -> Self {
        let spec = figure.spec;
        let mut values: Vec<f32> = figure
            .originals(&task.target)
            .filter_map(|map| match &map.values {
                Values::Continuous { data, .. } => Some(data.as_slice()),
                Values::Labels(_) => None,
            })
            .flatten()
            .copied()
            .collect();
        if values.is_empty() {
            values = predicted.to_vec();
        }
        let full = spec.recipe.arch.input_size;
        let smallest = full.height.min(full.width).max(1);
        Self {
            task,
            modality,
            palette: palette(modality),
            range: ValueRange::quantiles(&values, 0.01, 0.99),
            tokens: spec.layout.grid,
            full,
            scale: SMALLEST.div_ceil(smallest),
        }
    }

    /// The cells of all samples, three each. `None` if the prediction cannot be drawn without the
    /// original.
    fn row(
        &self,
        figure: &ReconstructionFigure<'_>,
        predictions: &[f32],
    ) -> Result<Option<Vec<Option<Picture>>>> {
        let known = figure.is_known(&self.task.target);
        if !known && self.is_normalised() {
            return Ok(None);
        }
        let masks = figure.spec.layout.task_mask(figure.masks, &self.task.target);
        let per_sample = (predictions.len() / figure.samples.len().max(1)).max(1);
        let mut cells = Vec::new();
        let samples = figure.samples.iter().zip(predictions.chunks(per_sample)).enumerate();
        for (index, (sample, prediction)) in samples {
            let Some(map) = sample.maps.get(&self.task.target) else { continue };
            let original = self.draw(map)?;
            let mut predicted = self.draw(&self.predicted_map(prediction, map))?;
            let hidden = match masks.as_ref().map(|masks| masks.sample(index)) {
                Some(masked) => {
                    let grid = (self.tokens.height, self.tokens.width);
                    if figure.keep_visible {
                        predicted.paste_visible_patches(&original, masked, grid)?;
                    }
                    let mut hidden = original.clone();
                    let paper = if matches!(map.values, Values::Labels(_)) { WHITE } else { GREY };
                    hidden.hide_patches(masked, grid, paper)?;
                    Some(hidden)
                }
                None => None,
            };
            cells.extend([hidden, Some(predicted), known.then_some(original)]);
        }
        let enlarge = |cell: Option<Picture>| cell.map(|picture| picture.upscale(self.scale));
        Ok(Some(cells.into_iter().map(enlarge).collect()))
    }

    fn is_normalised(&self) -> bool {
        matches!(
            self.task.loss,
            ReconstructionLoss::Mse { norm_pix: true } | ReconstructionLoss::L1 { norm_pix: true }
        )
    }

    /// A prediction `(C, h, w)` as a map like the target's.
    fn predicted_map(&self, prediction: &[f32], like: &Map) -> Map {
        let values = match &like.values {
            Values::Labels(_) => Values::Labels(argmax(prediction, like.height * like.width)),
            Values::Continuous { channels, data } => {
                let data = if self.is_normalised() {
                    restore_patches(prediction, data, *channels, like, self.task.patch)
                } else {
                    prediction.to_vec()
                };
                Values::Continuous { channels: *channels, data }
            }
        };
        Map { height: like.height, width: like.width, values }
    }

    /// A map at the image's size.
    fn draw(&self, map: &Map) -> Result<Picture> {
        let size = (map.height, map.width);
        let pixels = map.height * map.width;
        let picture = match (&map.values, &self.modality.data.encoding) {
            (Values::Labels(labels), _) => Picture::from_labels(labels, size, &self.palette, 1)?,
            (Values::Continuous { data, .. }, Encoding::Color { mean, std }) => {
                Picture::from_chw(data, size, *mean, *std)?
            }
            (Values::Continuous { channels: 3, data }, _) => {
                // Three numbers as the three colours, over the range of the originals.
                let (low, width) =
                    (self.range.min as f32, (self.range.max - self.range.min) as f32);
                let width = width.max(f32::MIN_POSITIVE);
                Picture::from_chw(data, size, [-low / width; 3], [1.0 / width; 3])?
            }
            (Values::Continuous { data, .. }, _) => {
                Picture::from_map(&data[..pixels], size, Colormap::Viridis, self.range)?
            }
        };
        Ok(picture.upscale((self.full.height / map.height.max(1)).max(1)))
    }

    fn legend(
        &self,
        figure: &ReconstructionFigure<'_>,
        predicted: &[f32],
        width: usize,
    ) -> Option<Picture> {
        match &self.modality.data.encoding {
            Encoding::Labels { .. } => {
                let mut labels: Vec<i64> = figure
                    .originals(&self.task.target)
                    .filter_map(|map| match &map.values {
                        Values::Labels(labels) => Some(labels),
                        Values::Continuous { .. } => None,
                    })
                    .flatten()
                    .copied()
                    .collect();
                if labels.is_empty() {
                    let each = (predicted.len() / figure.samples.len().max(1)).max(1);
                    let maps = figure.samples.iter().map(|s| s.maps.get(&self.task.target));
                    for (map, prediction) in maps.zip(predicted.chunks(each)) {
                        let pixels = map.map_or(0, |map| map.height * map.width);
                        labels.extend(argmax(prediction, pixels));
                    }
                }
                Some(palette_legend(&self.palette, &labels, width))
            }
            Encoding::Continuous { channels: 1, standardize, .. } => {
                let unit = match (&self.modality.unit, standardize) {
                    (_, true) => "standard deviations",
                    (Some(unit), false) => unit,
                    (None, false) => "",
                };
                Some(color_bar(Colormap::Viridis, self.range, &self.task.name, unit, width))
            }
            _ => None,
        }
    }
}

/// Undoes the standardisation of patches with the mean and deviation of the valid values of the
/// target's patches.
fn restore_patches(
    prediction: &[f32],
    target: &[f32],
    channels: usize,
    map: &Map,
    patch: usize,
) -> Vec<f32> {
    let mut restored = prediction.to_vec();
    let (height, width) = (map.height, map.width);
    let corners = (0..height / patch).flat_map(|r| (0..width / patch).map(move |c| (r, c)));
    for (row, column) in corners {
        let cells: Vec<usize> = (0..channels * patch * patch)
            .map(|i| {
                let (channel, rest) = (i / (patch * patch), i % (patch * patch));
                let (y, x) = (row * patch + rest / patch, column * patch + rest % patch);
                (channel * height + y) * width + x
            })
            .collect();
        let valid: Vec<f32> =
            cells.iter().map(|&cell| target[cell]).filter(|value| !value.is_nan()).collect();
        let n = (valid.len() as f32).max(1.0);
        let mean = valid.iter().sum::<f32>() / n;
        let squares: f32 = valid.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (n - 1.0).max(1.0) + 1e-6).sqrt();
        for cell in cells {
            restored[cell] = prediction[cell] * deviation + mean;
        }
    }
    restored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restoring_undoes_the_standardisation() {
        let target: Vec<f32> = (0..32).map(|i| ((i * 7) % 11) as f32).collect();
        let map = Map { height: 4, width: 4, values: Values::Labels(Vec::new()) };
        // Standardise by hand, patch side 2, two channels together.
        let mut standardised = target.clone();
        for (row, column) in [(0, 0), (0, 2), (2, 0), (2, 2)] {
            let cells: Vec<usize> = [0, 16]
                .iter()
                .flat_map(|c| {
                    [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(y, x)| c + (row + y) * 4 + column + x)
                })
                .collect();
            let mean = cells.iter().map(|&i| target[i]).sum::<f32>() / 8.0;
            let variance = cells.iter().map(|&i| (target[i] - mean).powi(2)).sum::<f32>() / 7.0;
            for i in cells {
                standardised[i] = (target[i] - mean) / (variance + 1e-6).sqrt();
            }
        }
        for (got, expected) in
            restore_patches(&standardised, &target, 2, &map, 2).iter().zip(&target)
        {
            assert!((got - expected).abs() < 1e-4);
        }
    }
}
