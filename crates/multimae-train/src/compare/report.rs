//! `table.md`, `results.json` and `report.html` of a comparison.

use std::path::PathBuf;

use indexmap::IndexMap;
use multimae_io::atomic::write_atomically;
use multimae_report::Report;
use multimae_report::chart::{LineChart, Point, ScatterChart, Series, Svg};
use multimae_report::html::Level;
use multimae_report::metrics_log;

use super::plan::ComparisonPlan;
use super::results::{CellResult, Comparison};
use super::statistic::Statistic;
use super::table::{Columns, table};
use crate::report_parts::series;
use crate::{Error, Result};
use multimae_config::Recipe as _;

/// The number of colours; further curves are dashed.
const COLORS: usize = 7;

/// Writes what the runs say so far; gives the report's path.
///
/// # Errors
/// If a run's records cannot be read, or a file cannot be written.
pub fn write_outputs(plan: &ComparisonPlan, comparison: &Comparison) -> Result<PathBuf> {
    fs_err::create_dir_all(&plan.out)?;
    let json = plan.out.join("results.json");
    let text = serde_json::to_string_pretty(comparison).map_err(|error| Error::RunFolder {
        path: json.clone(),
        problem: format!("the results cannot be written: {error}"),
    })?;
    write_atomically(&json, format!("{text}\n").as_bytes())?;
    write_atomically(&plan.out.join("table.md"), markdown(comparison).as_bytes())?;
    let path = plan.out.join("report.html");
    report(plan, comparison)?.write(&path)?;
    Ok(path)
}

/// The table under what it means.
fn markdown(comparison: &Comparison) -> String {
    let mut text = table(comparison, Columns::All).markdown();
    text.push('\n');
    for notice in &comparison.notices {
        text.push_str(&format!("* Warning: {notice}\n"));
    }
    for (name, meaning) in &comparison.statement {
        text.push_str(&format!("* {name}: {meaning}\n"));
    }
    text
}

fn report(plan: &ComparisonPlan, comparison: &Comparison) -> Result<Report> {
    let mut report = Report::new("Comparison of tuning modes");
    report.definitions(&comparison.statement.iter().collect::<Vec<_>>());
    for notice in &comparison.notices {
        report.notice(Level::Warning, notice);
    }
    for (title, columns) in [("Quality", Columns::Quality), ("Cost", Columns::Cost)] {
        let table = table(comparison, columns);
        report.section(title).table(table.headers(), table.rows());
    }
    failures(&mut report, comparison);
    report.section("Quality over cost");
    report.charts(&scatter_charts(comparison));
    report.section("On the validation set while training");
    report.charts(&validation_curves(plan)?);
    report.section("Changes of the cells");
    let rows: Vec<Vec<String>> = comparison
        .cells
        .iter()
        .map(|cell| {
            let changes = if cell.changes.is_empty() {
                "nothing".to_owned()
            } else {
                cell.changes.join("; ")
            };
            vec![cell.label.clone(), changes]
        })
        .collect();
    report.table(&["cell", "keys of the recipe"], &rows);
    if let Some(run) = plan.runs_of(&plan.grid.reference).next() {
        report.section(format!("Recipe of {}", run.name()));
        report.code(&run.recipe.to_yaml());
    }
    Ok(report)
}

pub(crate) fn failures(report: &mut Report, comparison: &Comparison) {
    for cell in &comparison.cells {
        for run in &cell.runs {
            if let Some(error) = &run.error {
                let text = format!("{}, seed {} failed: {}", cell.label, run.seed, run.folder);
                report.notice(Level::Error, &text).code(error);
            }
        }
    }
}

/// Delta m over what is trained, the time of a step and the memory, each with its Pareto front.
pub(crate) fn scatter_charts(comparison: &Comparison) -> Vec<Svg> {
    let on = if comparison.delta_on_test { "test" } else { "validation" };
    let y = format!("delta m on {on}, %");
    let mut by_share =
        ScatterChart::new("Quality over trained parameters", "trained outside the heads, %", &y);
    by_share.log_x = true;
    let mut by_time = ScatterChart::new("Quality over the time of a step", "median step, ms", &y);
    let mut by_memory = ScatterChart::new("Quality over memory", "peak memory, MiB", &y);
    for (index, cell) in comparison.cells.iter().enumerate() {
        let Some(delta) = &cell.delta_m else { continue };
        let point = |x: f64| point(cell, index, x, delta);
        if let Some(share) = cell.trained_share {
            by_share.push(point(share));
        }
        if let Some(seconds) = &cell.step_seconds {
            by_time.push(point(1e3 * seconds.mean));
        }
        if let Some(bytes) = &cell.peak_memory {
            by_memory.push(point(bytes.mean / 1_048_576.0));
        }
    }
    let mut charts = [by_share, by_time, by_memory];
    for chart in &mut charts {
        chart.front = true;
        let label = comparison.cell(&comparison.reference).map_or("", |cell| cell.label.as_str());
        chart.reference(format!("as good as {label}"), 0.0);
    }
    charts.iter().map(ScatterChart::svg).collect()
}

fn point(cell: &CellResult, index: usize, x: f64, delta: &Statistic) -> Point {
    Point { spread: delta.deviation, color: Some(index), ..Point::new(&cell.label, x, delta.mean) }
}

/// A chart per score, a curve per cell: the mean of its runs that have begun.
pub(crate) fn validation_curves(plan: &ComparisonPlan) -> Result<Vec<Svg>> {
    let mut records = Vec::new();
    for run in &plan.runs {
        let path = run.dir.join("metrics.jsonl");
        let read = if path.exists() { metrics_log::read(&path)? } else { Vec::new() };
        records.push((run.cell.as_str(), read));
    }
    let charts = plan.scores.iter().map(|score| {
        let arrow = if score.higher_is_better { "higher is better" } else { "lower is better" };
        let mut chart = LineChart::new(score.name.replace('_', " "), "step", arrow);
        for (index, (name, cell)) in plan.grid.cells.iter().enumerate() {
            let of_cell = records.iter().filter(|(cell, _)| cell == name);
            let curves: Vec<_> =
                of_cell.map(|(_, records)| series(records, "eval", &score.name)).collect();
            let points = mean_curve(&curves);
            if points.is_empty() {
                continue;
            }
            let curve = Series::new(&cell.label, points).color(index);
            chart.push(if index < COLORS { curve } else { curve.dashed() });
        }
        chart.svg()
    });
    Ok(charts.collect())
}

/// The mean of curves where all of them that have begun have a value.
fn mean_curve(curves: &[Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    let begun = curves.iter().filter(|curve| !curve.is_empty()).count();
    // Steps are whole.
    let mut at: IndexMap<u64, Vec<f64>> = IndexMap::new();
    for (step, value) in curves.iter().flatten() {
        at.entry(*step as u64).or_default().push(*value);
    }
    at.sort_keys();
    at.iter()
        .filter(|(_, values)| values.len() == begun)
        .map(|(step, values)| (*step as f64, values.iter().sum::<f64>() / begun as f64))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_of_seeds_are_averaged_where_all_have_a_value() {
        let curves =
            [vec![(0.0, 1.0), (5.0, 3.0), (9.0, 7.0)], vec![], vec![(0.0, 3.0), (5.0, 5.0)]];
        assert_eq!(mean_curve(&curves), [(0.0, 2.0), (5.0, 4.0)]);
        assert!(mean_curve(&[]).is_empty());
    }
}
