//! Parts of the reports of all kinds of runs.

use std::path::{Path, PathBuf};

use fs_err as fs;
use indexmap::IndexMap;
use multimae_report::chart::{LineChart, Series, Svg};
use multimae_report::html::{Level, Report};
use multimae_report::picture::Picture;
use serde_json::{Map, Value};

use crate::Result;
use crate::run::{Position, RunFolder};

/// A record of `metrics.jsonl`.
pub(crate) type Record = Map<String, Value>;

/// Curves of training are smoothed this much.
const SMOOTHING: f64 = 0.9;

/// The newest record of a kind.
pub(crate) fn last<'a>(records: &'a [Record], kind: &str) -> Option<&'a Record> {
    records.iter().rev().find(|record| of_kind(record, kind))
}

pub(crate) fn of_kind(record: &Record, kind: &str) -> bool {
    record.get("kind").and_then(Value::as_str) == Some(kind)
}

pub(crate) fn value(record: &Record, key: &str) -> Option<f64> {
    record.get(key).and_then(Value::as_f64)
}

/// Adds the last, the middle and the first picture of a run, if there are some.
///
/// # Errors
/// If one cannot be read.
pub(crate) fn pictures(report: &mut Report, folder: &RunFolder, title: &str) -> Result<()> {
    let files = picture_files(&folder.pictures())?;
    let chosen: Vec<&PathBuf> = match files.as_slice() {
        [] => return Ok(()),
        [only] => vec![only],
        [first, middle @ .., last] => {
            let half = middle.get(middle.len() / 2);
            [Some(last), half, Some(first)].into_iter().flatten().collect()
        }
    };
    report.section(title);
    for path in chosen {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        let step = name.and_then(|name| name.strip_prefix("step-")?.parse::<u64>().ok());
        let caption = format!("After {} steps", step.unwrap_or_default());
        report.picture(&Picture::from_png(&fs::read(path)?)?, &caption)?;
    }
    Ok(())
}

/// The pictures of a folder in the order of their names; none if there is no such folder.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn picture_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    if dir.is_dir() {
        for entry in fs::read_dir(dir)? {
            files.push(entry?.path());
        }
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "png"));
    files.sort();
    Ok(files)
}

/// A number in a table, or a dash.
pub(crate) fn number(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.4}"))
}

/// Returns the progress of a run with this number of epochs.
pub(crate) fn progress(position: &Position, epochs: usize) -> [(&'static str, String); 4] {
    [
        ("Steps done", format!("{} (epoch {} of {epochs})", position.step, position.epoch)),
        ("Time of training", format!("{:.1} minutes", position.seconds / 60.0)),
        ("Steps left out by skip_grad", position.skipped_steps.to_string()),
        ("Samples left out as bad", position.rejected.len().to_string()),
    ]
}

/// Names the samples that could not be read, if there are some.
pub(crate) fn rejected(report: &mut Report, position: &Position) {
    if !position.rejected.is_empty() {
        let list = position.rejected.join(", ");
        report.notice(Level::Warning, &format!("Samples that could not be read: {list}"));
    }
}

/// The curves of a task's loss, and that of a constant prediction under its name.
pub(crate) fn loss_chart(
    records: &[Record],
    task: &str,
    (name, constant): (&str, Option<f64>),
) -> Svg {
    let key = format!("{task}_loss");
    let mut chart = LineChart::new(format!("Loss of {task}"), "step", "loss");
    chart.smoothing = SMOOTHING;
    chart.push(Series::new("training", series(records, "train", &key)).color(0));
    let measured = series(records, "eval", &key);
    if !measured.is_empty() {
        chart.push(Series::new("evaluation", measured).color(1));
    }
    if let Some(constant) = constant {
        chart.reference(name, constant);
    }
    chart.svg()
}

/// The values of a key over the steps.
pub(crate) fn series(records: &[Record], kind: &str, key: &str) -> Vec<(f64, f64)> {
    records
        .iter()
        .filter(|record| of_kind(record, kind))
        .filter_map(|record| Some((value(record, "step")?, value(record, key)?)))
        .collect()
}

/// The curves of how training goes: rates and norms.
pub(crate) fn training_charts(records: &[Record]) -> Vec<Svg> {
    let mut charts = Vec::new();
    let single: IndexMap<&str, (&str, &str)> = [
        ("lr", ("Learning rate", "")),
        ("grad_norm", ("Gradient norm", "L2")),
        ("samples_per_second", ("Rate", "samples / s")),
        ("wait_share", ("Share of time waiting for data", "")),
        ("communication_share", ("Share of time summing gradients over processes", "")),
    ]
    .into_iter()
    .collect();
    for (key, (title, unit)) in single {
        let values = series(records, "train", key);
        // One process sums nothing with others.
        if values.is_empty() && key == "communication_share" {
            continue;
        }
        let mut chart = LineChart::new(title, "step", unit);
        chart.smoothing = if key == "lr" { 0.0 } else { SMOOTHING };
        chart.push(Series::new(title, values));
        charts.push(chart.svg());
    }
    charts
}
