//! The figure of predictions: input, prediction and annotation of every task.

use multimae::tuned::TunedMultiVit;
use multimae_data::{Encoding, Map, Sample, Values};
use multimae_report::colormap::{Colormap, ValueRange};
use multimae_report::palette::Palette;
use multimae_report::picture::{Grid, Picture, color_bar, palette_legend};

use super::Setting;
use super::evaluation::model_predictions;
use super::setting::Task;
use super::targets::{class_of, valid_range};
use crate::Result;
use crate::learner::Learner;
use multimae_infer::classes::argmax;
use multimae_infer::saved_model::{InputModality, Output, TaskKind};

const COLUMNS: [&str; 3] = ["input", "prediction", "annotation"];
/// Pictures smaller than this are enlarged, in pixels.
const SMALLEST: usize = 128;
/// The colours span these quantiles of the annotations.
const RANGE: (f64, f64) = (0.01, 0.99);

/// Draws what the model predicts for samples: a row per task, three columns per sample.
///
/// # Errors
/// If the samples do not fit the model.
pub fn predictions(
    setting: &Setting,
    learner: &Learner<TunedMultiVit>,
    samples: &[Sample],
) -> Result<Picture> {
    let outputs = setting.card.outputs(model_predictions(setting, learner, samples)?)?;
    if let Some((TaskKind::Classes { names }, Some(Output::Classes(logits)))) =
        setting.tasks.first().map(|task| (&task.card.kind, outputs.get(&task.name)))
    {
        let logits: Vec<f32> = logits.clone().into_data().iter().collect();
        return classified(setting, names, samples, &logits);
    }
    let mut grid =
        samples.iter().fold(Grid::default(), |grid, sample| grid.group(sample.id.clone(), COLUMNS));
    let mut views = Vec::new();
    for task in &setting.tasks {
        let values: Vec<f32> = match outputs.get(&task.name) {
            Some(Output::Depth(maps) | Output::Labels(maps) | Output::Values(maps)) => {
                maps.clone().into_data().iter().collect()
            }
            _ => continue,
        };
        let view = TaskView::new(setting, task, samples);
        grid.row(task.name.clone(), view.row(setting, samples, &values)?);
        views.push(view);
    }
    let width = grid.content_width();
    for view in views {
        if let Some(legend) = view.legend(samples, width) {
            grid.footer(legend);
        }
    }
    Ok(grid.render())
}

/// Images with their class and the one that was predicted.
fn classified(
    setting: &Setting,
    names: &[String],
    samples: &[Sample],
    logits: &[f32],
) -> Result<Picture> {
    let mut grid = Grid::default();
    let mut cells = Vec::new();
    for (sample, logits) in samples.iter().zip(logits.chunks_exact(names.len().max(1))) {
        let class = argmax(logits, 1).first().copied().unwrap_or_default();
        let predicted = usize::try_from(class).ok().and_then(|class| names.get(class));
        let title = format!("predicted {}", predicted.map_or("nothing", String::as_str));
        let own = &names[class_of(names, &sample.id)?];
        grid = grid.group(own.clone(), [title]);
        cells.push(draw_input(setting, sample)?);
    }
    grid.row("", cells);
    Ok(grid.render())
}

/// The input that people look at: colours, if there are some.
fn draw_input(setting: &Setting, sample: &Sample) -> Result<Option<Picture>> {
    let inputs = &setting.card.inputs;
    let is_color = |input: &&InputModality| matches!(input.data.encoding, Encoding::Color { .. });
    let Some(input) = inputs.iter().find(is_color).or(inputs.first()) else { return Ok(None) };
    let Some(map) = sample.maps.get(&input.data.name) else { return Ok(None) };
    let size = (map.height, map.width);
    let picture = match (&map.values, &input.data.encoding) {
        (Values::Continuous { data, .. }, Encoding::Color { mean, std }) => {
            Picture::from_chw(data, size, *mean, *std)?
        }
        (Values::Continuous { data, .. }, _) => {
            let plane = &data[..map.height * map.width];
            let range = ValueRange::quantiles(plane, RANGE.0, RANGE.1);
            Picture::from_map(plane, size, Colormap::Viridis, range)?
        }
        (Values::Labels(labels), Encoding::Labels { classes, .. }) => {
            Picture::from_labels(labels, size, &Palette::generated(*classes), input.data.stride)?
        }
        (Values::Labels(_), _) => return Ok(None),
    };
    Ok(Some(enlarged(setting, picture)))
}

fn enlarged(setting: &Setting, picture: Picture) -> Picture {
    let size = setting.recipe.input_size;
    picture.upscale(SMALLEST.div_ceil(size.height.min(size.width).max(1)))
}

/// How one task is drawn.
struct TaskView<'a> {
    task: &'a Task,
    palette: Palette,
    range: ValueRange,
}

impl<'a> TaskView<'a> {
    fn new(setting: &Setting, task: &'a Task, samples: &[Sample]) -> Self {
        let (min, max) = valid_range(&task.card.kind);
        let originals: Vec<f32> = samples
            .iter()
            .filter_map(|sample| match &sample.maps.get(&task.name)?.values {
                Values::Continuous { data, .. } => Some(data.as_slice()),
                Values::Labels(_) => None,
            })
            .flatten()
            .copied()
            .filter(|value| value.is_finite() && (min..=max).contains(&f64::from(*value)))
            .collect();
        let palette = match &setting.card.tasks[&task.name].kind {
            TaskKind::Labels { classes, .. } => {
                let entry = |class: &multimae_infer::saved_model::ClassInfo| {
                    (class.name.clone(), class.color)
                };
                Palette::new(classes.iter().map(entry).collect())
            }
            _ => Palette::generated(0),
        };
        Self { task, palette, range: ValueRange::quantiles(&originals, RANGE.0, RANGE.1) }
    }

    /// The cells of all samples, three each.
    fn row(
        &self,
        setting: &Setting,
        samples: &[Sample],
        predictions: &[f32],
    ) -> Result<Vec<Option<Picture>>> {
        let each = (predictions.len() / samples.len().max(1)).max(1);
        let mut cells = Vec::new();
        for (sample, prediction) in samples.iter().zip(predictions.chunks_exact(each)) {
            let Some(map) = sample.maps.get(&self.task.name) else { continue };
            let predicted = match &map.values {
                Values::Labels(labels) => {
                    let mut classes = argmax(prediction, map.height * map.width);
                    self.hide_unlabelled(&mut classes, labels);
                    Values::Labels(classes)
                }
                Values::Continuous { channels, .. } => {
                    Values::Continuous { channels: *channels, data: prediction.to_vec() }
                }
            };
            let predicted = Map { height: map.height, width: map.width, values: predicted };
            let draw = |map| Ok::<_, crate::Error>(enlarged(setting, self.draw(map)?));
            cells.push(draw_input(setting, sample)?);
            cells.extend([Some(draw(&predicted)?), Some(draw(map)?)]);
        }
        Ok(cells)
    }

    fn hide_unlabelled(&self, classes: &mut [i64], labels: &[i64]) {
        let TaskKind::Labels { ignore, .. } = self.task.card.kind else { return };
        for (class, _) in classes.iter_mut().zip(labels).filter(|(_, label)| **label == ignore) {
            *class = ignore;
        }
    }

    fn draw(&self, map: &Map) -> Result<Picture> {
        let size = (map.height, map.width);
        let picture = match &map.values {
            Values::Labels(labels) => Picture::from_labels(labels, size, &self.palette, 1)?,
            Values::Continuous { channels: 3, data } => {
                // Three numbers as the three colours, over the range of the annotations.
                let low = self.range.min as f32;
                let width = ((self.range.max - self.range.min) as f32).max(f32::MIN_POSITIVE);
                Picture::from_chw(data, size, [-low / width; 3], [1.0 / width; 3])?
            }
            Values::Continuous { data, .. } => {
                // What is not valid stays blank.
                let (min, max) = valid_range(&self.task.card.kind);
                let valid = |value: f32| (min..=max).contains(&f64::from(value));
                let plane: Vec<f32> = data[..map.height * map.width]
                    .iter()
                    .map(|&value| if valid(value) { value } else { f32::NAN })
                    .collect();
                Picture::from_map(&plane, size, Colormap::Viridis, self.range)?
            }
        };
        Ok(picture)
    }

    fn legend(&self, samples: &[Sample], width: usize) -> Option<Picture> {
        match &self.task.card.kind {
            TaskKind::Labels { .. } => {
                let labels = samples.iter().filter_map(|sample| {
                    match &sample.maps.get(&self.task.name)?.values {
                        Values::Labels(labels) => Some(labels),
                        Values::Continuous { .. } => None,
                    }
                });
                Some(palette_legend(&self.palette, labels.flatten(), width))
            }
            TaskKind::Depth { .. } => {
                Some(color_bar(Colormap::Viridis, self.range, &self.task.name, "m", width))
            }
            _ => None,
        }
    }
}
