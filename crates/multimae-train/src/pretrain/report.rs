//! `report.html`: what people look at.

use std::path::PathBuf;

use fs_err as fs;
use indexmap::IndexMap;
use multimae_report::chart::{LineChart, Series, Svg};
use multimae_report::html::{Level, Report};
use multimae_report::metrics_log;
use multimae_report::picture::Picture;
use serde_json::{Map, Value};

use super::state::State;
use super::{Baseline, Setting};
use crate::Result;
use crate::run::RunFolder;

type Record = Map<String, Value>;

/// Curves of training are smoothed this much.
const SMOOTHING: f64 = 0.9;

/// Writes the report of a run as it stands.
///
/// # Errors
/// If the records cannot be read or the report cannot be written.
pub(super) fn write_report(
    folder: &RunFolder,
    setting: &Setting,
    state: &State,
    baseline: &Baseline,
) -> Result<()> {
    let records = metrics_log::read(&folder.metrics())?;
    let mut report = Report::new("Pre-training");
    summary(&mut report, setting, state);
    losses_table(&mut report, setting, &records, baseline);
    pictures(&mut report, folder)?;
    curves(&mut report, setting, &records, baseline);
    report.section("Recipe");
    report.code(&setting.recipe.to_yaml());
    Ok(report.write(&folder.report())?)
}

fn summary(report: &mut Report, setting: &Setting, state: &State) {
    let position = &state.position;
    let encoder = &setting.model.encoder;
    let parameters = multimae::state::trained_values(&state.learner.model);
    let size = setting.recipe.input_size;
    report.definitions(&[
        (
            "Encoder",
            format!("{} wide, {} blocks, {} heads", encoder.width, encoder.depth, encoder.heads),
        ),
        ("Trained parameters", format!("{:.2} million", parameters as f64 / 1e6)),
        (
            "Images",
            format!(
                "{} x {} (height x width), patches of {}",
                size.height, size.width, setting.recipe.patch_size
            ),
        ),
        (
            "Visible tokens",
            format!("{} of {}", setting.masking.num_encoded_tokens, setting.layout.num_tokens()),
        ),
        (
            "Steps done",
            format!("{} (epoch {} of {})", position.step, position.epoch, setting.recipe.epochs),
        ),
        ("Time of training", format!("{:.1} minutes", position.seconds / 60.0)),
        ("Steps left out by skip_grad", position.skipped_steps.to_string()),
        ("Samples left out as bad", position.rejected.len().to_string()),
    ]);
    if !position.rejected.is_empty() {
        let list = position.rejected.join(", ");
        report.notice(Level::Warning, &format!("Samples that could not be read: {list}"));
    }
}

/// The newest record of a kind.
fn last<'a>(records: &'a [Record], kind: &str) -> Option<&'a Record> {
    records.iter().rev().find(|record| of_kind(record, kind))
}

fn of_kind(record: &Record, kind: &str) -> bool {
    record.get("kind").and_then(Value::as_str) == Some(kind)
}

fn value(record: &Record, key: &str) -> Option<f64> {
    record.get(key).and_then(Value::as_f64)
}

fn losses_table(report: &mut Report, setting: &Setting, records: &[Record], baseline: &Baseline) {
    let kind = if last(records, "eval").is_some() { "eval" } else { "train" };
    let Some(record) = last(records, kind) else { return };
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.4}"));
    let rows: Vec<Vec<String>> = setting
        .objective
        .tasks
        .iter()
        .map(|task| {
            let loss = value(record, &format!("{}_loss", task.name));
            let mean = baseline.losses.get(&task.name).copied();
            let share = loss.zip(mean).map(|(loss, mean)| format!("{:.1} %", 100.0 * loss / mean));
            vec![task.name.clone(), number(loss), number(mean), share.unwrap_or_default()]
        })
        .collect();
    report.section("Losses");
    report.table(&["task", "loss", "predicting the mean", "loss / mean"], &rows);
    let source = match kind {
        "eval" => "evaluation samples, after the last epoch measured",
        _ => "the last training step recorded",
    };
    report.paragraph(&format!(
        "Losses on masked patches: {source}. Predicting the mean of every channel, or the frequency \
         of every class, was measured on {} samples.",
        baseline.on
    ));
}

fn pictures(report: &mut Report, folder: &RunFolder) -> Result<()> {
    let mut files: Vec<PathBuf> = Vec::new();
    if folder.pictures().is_dir() {
        for entry in fs::read_dir(folder.pictures())? {
            files.push(entry?.path());
        }
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "png"));
    files.sort();
    let chosen: Vec<&PathBuf> = match files.as_slice() {
        [] => return Ok(()),
        [only] => vec![only],
        [first, middle @ .., last] => {
            let half = middle.get(middle.len() / 2);
            [Some(last), half, Some(first)].into_iter().flatten().collect()
        }
    };
    report.section("Reconstructions");
    for path in chosen {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        let step = name.and_then(|name| name.strip_prefix("step-")?.parse::<u64>().ok());
        let caption = format!("After {} steps", step.unwrap_or_default());
        report.picture(&Picture::from_png(&fs::read(path)?)?, &caption)?;
    }
    Ok(())
}

fn series(records: &[Record], kind: &str, key: &str) -> Vec<(f64, f64)> {
    records
        .iter()
        .filter(|record| of_kind(record, kind))
        .filter_map(|record| Some((value(record, "step")?, value(record, key)?)))
        .collect()
}

fn curves(report: &mut Report, setting: &Setting, records: &[Record], baseline: &Baseline) {
    report.section("Curves");
    let mut charts: Vec<Svg> = Vec::new();
    for task in &setting.objective.tasks {
        let key = format!("{}_loss", task.name);
        let mut chart = LineChart::new(format!("Loss of {}", task.name), "step", "loss");
        chart.smoothing = SMOOTHING;
        chart.push(Series::new("training", series(records, "train", &key)).color(0));
        let measured = series(records, "eval", &key);
        if !measured.is_empty() {
            chart.push(Series::new("evaluation", measured).color(1));
        }
        if let Some(mean) = baseline.losses.get(&task.name) {
            chart.reference("predicting the mean", *mean);
        }
        charts.push(chart.svg());
    }
    let single: IndexMap<&str, (&str, &str)> = [
        ("lr", ("Learning rate", "")),
        ("grad_norm", ("Gradient norm", "L2")),
        ("samples_per_second", ("Rate", "samples / s")),
        ("wait_share", ("Share of time waiting for data", "")),
    ]
    .into_iter()
    .collect();
    for (key, (title, unit)) in single {
        let mut chart = LineChart::new(title, "step", unit);
        chart.smoothing = if key == "lr" { 0.0 } else { SMOOTHING };
        chart.push(Series::new(title, series(records, "train", key)));
        charts.push(chart.svg());
    }
    report.charts(&charts);
}
