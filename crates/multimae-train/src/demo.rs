//! The report of a first look: pre-training and what was tuned on it, on one page.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use multimae_report::chart::Svg;
use multimae_report::html::Report;
use multimae_report::metrics_log;
use multimae_report::picture::Picture;
use serde_json::Value;

use crate::Result;
use crate::compare::report::{failures, scatter_charts, validation_curves};
use crate::compare::{Columns, Comparison, ComparisonPlan, table};
use crate::report_parts::{Record, last, loss_chart, number, picture_files, value};

/// A stage, and the time it took. A stage that was finished before takes no time again.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    name: String,
    took: Duration,
    frames: usize,
}

impl Stage {
    /// A stage by its name, its time and the number of frames that it went through.
    #[must_use]
    pub fn new(name: &str, took: Duration, frames: usize) -> Self {
        Self { name: name.to_owned(), took, frames }
    }
}

/// Writes `report.html` of a backbone's folder and a comparison on it into `out`; its path.
///
/// # Errors
/// If the records or pictures of a run cannot be read, or the report cannot be written.
pub fn write_report(
    out: &Path,
    stages: &[Stage],
    backbone: &Path,
    plan: &ComparisonPlan,
    comparison: &Comparison,
) -> Result<PathBuf> {
    let mut report = Report::new("From nothing to depth and segmentation");
    report.paragraph(
        "A masked autoencoder sees a few patches of each modality and reconstructs the others. \
         The pre-trained encoder is then used for depth and labels from RGB.",
    );
    summary(&mut report, stages);
    reconstructions(&mut report, backbone)?;
    predictions(&mut report, plan)?;
    results(&mut report, plan, comparison)?;
    further(&mut report);
    let path = out.join("report.html");
    report.write(&path)?;
    Ok(path)
}

fn summary(report: &mut Report, stages: &[Stage]) {
    let row = |stage: &Stage| {
        let minutes = format!("{:.1}", stage.took.as_secs_f64() / 60.0);
        vec![stage.name.clone(), minutes, stage.frames.to_string()]
    };
    let mut rows: Vec<Vec<String>> = stages.iter().map(row).collect();
    let all: Duration = stages.iter().map(|stage| stage.took).sum();
    rows.push(vec![
        "together".to_owned(),
        format!("{:.1}", all.as_secs_f64() / 60.0),
        String::new(),
    ]);
    report.section("Stages");
    report.table(&["stage", "minutes", "frames seen"], &rows);
}

/// The last picture of pre-training and the losses on the way there.
fn reconstructions(report: &mut Report, backbone: &Path) -> Result<()> {
    report.section("Reconstruction of masked patches");
    let caption = "For every modality the visible patches, the prediction, the original. Visible \
                   patches are shown as they are in the prediction.";
    last_picture(report, &backbone.join("pictures"), caption)?;
    let records = metrics_log::read(&backbone.join("metrics.jsonl"))?;
    let tasks = tasks(&records);
    let rows: Vec<Vec<String>> = tasks.iter().map(|task| task.row()).collect();
    report.table(&["task", "loss", "predicting the mean", "loss / mean"], &rows);
    report.paragraph("Losses on masked patches of frames that were not trained on.");
    report.charts(&tasks.iter().map(|task| task.chart(&records)).collect::<Vec<_>>());
    Ok(())
}

/// A reconstructed modality: its loss at the end, and that of predicting the mean.
struct Reconstructions {
    name: String,
    loss: f64,
    mean: Option<f64>,
}

impl Reconstructions {
    fn row(&self) -> Vec<String> {
        let share = self.mean.map(|mean| format!("{:.1} %", 100.0 * self.loss / mean));
        let name = self.name.clone();
        vec![name, number(Some(self.loss)), number(self.mean), share.unwrap_or_default()]
    }

    fn chart(&self, records: &[Record]) -> Svg {
        loss_chart(records, &self.name, ("predicting the mean", self.mean))
    }
}

/// All that were measured.
fn tasks(records: &[Record]) -> Vec<Reconstructions> {
    let mean = last(records, "predict_the_mean");
    let measured = last(records, "eval").into_iter().flatten();
    let loss = |(key, loss): (&String, &Value)| {
        let mean = mean.and_then(|record| value(record, key));
        Some(Reconstructions {
            name: key.strip_suffix("_loss")?.to_owned(),
            loss: loss.as_f64()?,
            mean,
        })
    };
    measured.filter_map(loss).collect()
}

/// Adds the predictions of every cell for the same frames.
fn predictions(report: &mut Report, plan: &ComparisonPlan) -> Result<()> {
    report.section("Depth and labels from RGB");
    for run in &plan.runs {
        let label = plan.grid.cells.get(&run.cell).map_or(run.cell.as_str(), |cell| &cell.label);
        last_picture(report, &run.dir.join("pictures"), &format!("Trained: {label}"))?;
    }
    Ok(())
}

fn last_picture(report: &mut Report, dir: &Path, caption: &str) -> Result<()> {
    if let Some(path) = picture_files(dir)?.last() {
        report.picture(&Picture::from_png(&fs::read(path)?)?, caption)?;
    }
    Ok(())
}

fn results(report: &mut Report, plan: &ComparisonPlan, comparison: &Comparison) -> Result<()> {
    for (title, columns) in [("Scores", Columns::Quality), ("Its cost", Columns::Cost)] {
        let table = table(comparison, columns);
        report.section(title).table(table.headers(), table.rows());
    }
    report.definitions(&comparison.statement.iter().collect::<Vec<_>>());
    failures(report, comparison);
    report.charts(&scatter_charts(comparison));
    report.section("While tuning");
    report.charts(&validation_curves(plan)?);
    Ok(())
}

fn further(report: &mut Report) {
    report.section("Further");
    report.paragraph(
        "A few minutes on a few hundred frames show that all of it works; they say little about \
         which way of tuning is better. Each run's own report is in its folder: \
         pretrain/report.html, compare/report.html, compare/cells/*/report.html. recipes/ holds what \
         was run.",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_stands_beside_the_mean() {
        let text = r#"[{"kind": "predict_the_mean", "step": 0, "rgb_loss": 5.0},
                       {"kind": "train", "step": 1, "loss": 3.0, "rgb_loss": 2.0},
                       {"kind": "eval", "step": 1, "loss": 3.5, "rgb_loss": 2.5, "depth_loss": 1.0}]"#;
        let records: Vec<Record> = serde_json::from_str(text).unwrap();
        let rows: Vec<Vec<String>> = tasks(&records).iter().map(Reconstructions::row).collect();
        assert_eq!(rows, [["rgb", "2.5000", "5.0000", "50.0 %"], ["depth", "1.0000", "–", ""]]);
        assert!(tasks(&records[..2]).is_empty());
    }
}
