//! The figure of predictions: input, prediction and annotation of every task.

use indexmap::IndexMap;
use multimae::output_adapters::Prediction;
use multimae::peft::PeftModel;
use multimae_data::{Encoding, Sample, Values};
use multimae_infer::saved_model::InputModality;
use multimae_report::colormap::{Colormap, ValueRange};
use multimae_report::palette::Palette;
use multimae_report::picture::{Grid, Picture};
use multimae_tasks::class_of;
use multimae_tasks::classes::argmax;

use super::FinetuneSetup;
use super::evaluation::model_predictions;
use super::setup::Task;
use crate::Result;
use crate::learner::Learner;

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
    setup: &FinetuneSetup,
    learner: &Learner<PeftModel>,
    samples: &[Sample],
) -> Result<Picture> {
    let mut outputs: Vec<IndexMap<String, Prediction>> = Vec::with_capacity(samples.len());
    for sample in samples {
        // Frames of different shapes are seen at different sizes.
        let predictions = model_predictions(setup, learner, std::slice::from_ref(sample))?;
        outputs.push(setup.card.outputs(predictions)?);
    }
    let of_task = |task: &Task| -> Vec<Vec<f32>> {
        let values = |outputs: &IndexMap<String, Prediction>| match outputs.get(&task.name) {
            Some(Prediction::Maps(maps)) => maps.clone().into_data().iter::<f32>().collect(),
            Some(Prediction::Classes(logits)) => logits.clone().into_data().iter().collect(),
            None => Vec::new(),
        };
        outputs.iter().map(values).collect()
    };
    if let Some(task) =
        setup.tasks.first().filter(|task| !task.card.task.image_classes().is_empty())
    {
        return classified(setup, task.card.task.image_classes(), samples, &of_task(task));
    }
    let mut grid =
        samples.iter().fold(Grid::default(), |grid, sample| grid.group(sample.id.clone(), COLUMNS));
    let mut views = Vec::new();
    for task in &setup.tasks {
        let view = TaskView::new(task, samples);
        grid.row(task.name.clone(), view.row(setup, samples, &of_task(task))?);
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
    setup: &FinetuneSetup,
    names: &[String],
    samples: &[Sample],
    logits: &[Vec<f32>],
) -> Result<Picture> {
    let mut grid = Grid::default();
    let mut cells = Vec::new();
    for (sample, logits) in samples.iter().zip(logits) {
        let class = argmax(logits, 1).first().copied().unwrap_or_default();
        let predicted = usize::try_from(class).ok().and_then(|class| names.get(class));
        let title = format!("predicted {}", predicted.map_or("nothing", String::as_str));
        let own = &names[class_of(names, &sample.id)?];
        grid = grid.group(own.clone(), [title]);
        cells.push(draw_input(setup, sample)?);
    }
    grid.row("", cells);
    Ok(grid.render())
}

/// The input that people look at: colours, if there are some.
fn draw_input(setup: &FinetuneSetup, sample: &Sample) -> Result<Option<Picture>> {
    let inputs = &setup.card.inputs;
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
    Ok(Some(enlarged(setup, picture)))
}

fn enlarged(setup: &FinetuneSetup, picture: Picture) -> Picture {
    let size = setup.recipe.arch.input_size;
    picture.upscale(SMALLEST.div_ceil(size.height.min(size.width).max(1)))
}

/// The drawing of one task.
struct TaskView<'a> {
    task: &'a Task,
    range: ValueRange,
}

impl<'a> TaskView<'a> {
    fn new(task: &'a Task, samples: &[Sample]) -> Self {
        let (min, max) = task.card.task.valid_range();
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
        Self { task, range: ValueRange::quantiles(&originals, RANGE.0, RANGE.1) }
    }

    /// The cells of all samples, three each.
    fn row(
        &self,
        setup: &FinetuneSetup,
        samples: &[Sample],
        predictions: &[Vec<f32>],
    ) -> Result<Vec<Option<Picture>>> {
        let mut cells = Vec::new();
        for (sample, prediction) in samples.iter().zip(predictions) {
            let Some(map) = sample.maps.get(&self.task.name) else { continue };
            let predicted = match &map.values {
                Values::Labels(labels) => {
                    let mut classes = argmax(prediction, map.height * map.width);
                    self.hide_unlabelled(&mut classes, labels);
                    Values::Labels(classes)
                }
                Values::Continuous { channels, .. } => {
                    Values::Continuous { channels: *channels, data: prediction.clone() }
                }
            };
            let draw = |values: &Values| {
                let size = (map.height, map.width);
                let picture = self.task.card.task.draw(values, size, self.range)?;
                Ok::<_, crate::Error>(enlarged(setup, picture))
            };
            cells.push(draw_input(setup, sample)?);
            cells.extend([Some(draw(&predicted)?), Some(draw(&map.values)?)]);
        }
        Ok(cells)
    }

    fn hide_unlabelled(&self, classes: &mut [i64], labels: &[i64]) {
        let Some(ignore) = self.task.card.task.ignored_label() else { return };
        for (class, _) in classes.iter_mut().zip(labels).filter(|(_, label)| **label == ignore) {
            *class = ignore;
        }
    }

    fn legend(&self, samples: &[Sample], width: usize) -> Option<Picture> {
        let maps = samples.iter().filter_map(|sample| sample.maps.get(&self.task.name));
        let annotations: Vec<&Values> = maps.map(|map| &map.values).collect();
        self.task.card.task.legend(&self.task.name, &annotations, self.range, width)
    }
}
