//! What the reports of all kinds of runs share.

use std::path::PathBuf;

use fs_err as fs;
use indexmap::IndexMap;
use multimae_report::chart::{LineChart, Series, Svg};
use multimae_report::html::Report;
use multimae_report::picture::Picture;
use serde_json::{Map, Value};

use crate::Result;
use crate::run::RunFolder;

/// A record of `metrics.jsonl`.
pub(crate) type Record = Map<String, Value>;

/// Curves of training are smoothed this much.
pub(crate) const SMOOTHING: f64 = 0.9;

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
    report.section(title);
    for path in chosen {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        let step = name.and_then(|name| name.strip_prefix("step-")?.parse::<u64>().ok());
        let caption = format!("After {} steps", step.unwrap_or_default());
        report.picture(&Picture::from_png(&fs::read(path)?)?, &caption)?;
    }
    Ok(())
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
    ]
    .into_iter()
    .collect();
    for (key, (title, unit)) in single {
        let mut chart = LineChart::new(title, "step", unit);
        chart.smoothing = if key == "lr" { 0.0 } else { SMOOTHING };
        chart.push(Series::new(title, series(records, "train", key)));
        charts.push(chart.svg());
    }
    charts
}
