//! The one table: a row per cell.

use multimae_report::Table;

use super::resample::{FEWEST_SEEDS, Interval, Resampled};
use super::results::{CellResult, Comparison, RunStatus};
use super::statistic::Statistic;

/// The columns of a table, besides the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// All.
    All,
    /// The state of the cell, scores and delta m.
    Quality,
    /// Parameters, time, memory, sizes.
    Cost,
}

const NONE: &str = "–";

type Cell<'a> = Box<dyn Fn(&CellResult) -> Option<String> + 'a>;

/// The table of a comparison.
#[must_use]
pub fn table(comparison: &Comparison, which: Columns) -> Table {
    let mut columns: Vec<(String, Cell<'_>)> = Vec::new();
    columns.push(("cell".to_owned(), Box::new(|cell| Some(cell.label.clone()))));
    if which != Columns::Cost {
        columns.push(("runs".to_owned(), Box::new(|cell| Some(runs(cell)))));
    }
    if which != Columns::Quality {
        let adapters = comparison.cells.iter().any(|cell| cell.adapter_bytes.is_some());
        // A page has less room than a file.
        columns.extend(cost(adapters || which == Columns::All));
    }
    if which != Columns::Cost {
        columns.extend(quality(comparison));
    }
    let mut table = Table::new(columns.iter().map(|(header, _)| header.clone()));
    for cell in &comparison.cells {
        table.row(columns.iter().map(|(_, text)| text(cell).unwrap_or_else(|| NONE.to_owned())));
    }
    table
}

/// Describes the number of finished runs, and the state of the others.
fn runs(cell: &CellResult) -> String {
    let count = |status: RunStatus| cell.runs.iter().filter(|run| run.status == status).count();
    let finished = count(RunStatus::Finished);
    let all = cell.runs.len();
    if finished == all {
        return all.to_string();
    }
    let others = [
        (RunStatus::Failed, "failed"),
        (RunStatus::Unfinished, "unfinished"),
        (RunStatus::NotRun, "not run"),
    ];
    let others: Vec<String> = others
        .into_iter()
        .map(|(status, name)| (count(status), name))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| if all == 1 { name.to_owned() } else { format!("{count} {name}") })
        .collect();
    let others = others.join(", ");
    if finished == 0 { others } else { format!("{finished} of {all} ({others})") }
}

fn cost<'a>(adapters: bool) -> Vec<(String, Cell<'a>)> {
    let count = |count: fn(&CellResult) -> Option<usize>| -> Cell<'a> {
        Box::new(move |cell| Some(thousands(count(cell)?)))
    };
    let statistic =
        |of: fn(&CellResult) -> Option<&Statistic>, factor: f64, decimals: usize| -> Cell<'a> {
            Box::new(move |cell| {
                let value = of(cell)?.scaled(factor)?;
                let decimals = if value.mean >= 100.0 { 0 } else { decimals };
                Some(format!("{value:.decimals$}"))
            })
        };
    let mut columns: Vec<(&str, Cell<'a>)> = vec![
        ("backbone", count(|cell| Some(cell.parameters?.backbone))),
        ("added", count(|cell| Some(cell.parameters?.added))),
        ("heads", count(|cell| Some(cell.parameters?.heads))),
        ("share %", Box::new(|cell| Some(share(cell.trained_share?)))),
        ("step ms", statistic(|cell| cell.step_seconds.as_ref(), 1e3, 1)),
        ("step ×", statistic(|cell| cell.step_ratio.as_ref(), 1.0, 2)),
        ("memory MiB", statistic(|cell| cell.peak_memory.as_ref(), 1.0 / 1_048_576.0, 1)),
        ("memory ×", statistic(|cell| cell.memory_ratio.as_ref(), 1.0, 2)),
    ];
    if adapters {
        let size = |cell: &CellResult| Some(format!("{:.3}", cell.adapter_bytes? as f64 / 1e6));
        columns.push(("adapter MB", Box::new(size)));
    }
    columns.into_iter().map(|(header, cell)| (header.to_owned(), cell)).collect()
}

fn quality(comparison: &Comparison) -> Vec<(String, Cell<'_>)> {
    let mut columns: Vec<(String, Cell<'_>)> = Vec::new();
    for test in [false, true] {
        let set = move |cell: &'_ CellResult| {
            if test { cell.test.clone() } else { cell.validation.clone() }
        };
        let Some(name) = comparison.cells.iter().find_map(|cell| Some(set(cell)?.set)) else {
            continue;
        };
        for score in &comparison.scores {
            let arrow = if score.higher_is_better { "↑" } else { "↓" };
            let text =
                move |cell: &CellResult| Some(set(cell)?.scores.get(&score.name)?.to_string());
            columns.push((format!("{} {name} {arrow}", score.name), Box::new(text)));
        }
    }
    let delta = |cell: &CellResult| Some(signed(cell.delta_m.as_ref()?));
    columns.push(("delta m %".to_owned(), Box::new(delta)));
    if comparison.cells.iter().any(|cell| cell.intervals.is_some()) {
        let text = |cell: &CellResult| {
            let resampled = cell.intervals.as_ref()?;
            Some(interval(resampled, resampled.delta_m))
        };
        columns.push(("paired delta m % (95 % of draws)".to_owned(), Box::new(text)));
        for score in &comparison.scores {
            let text = move |cell: &CellResult| {
                let resampled = cell.intervals.as_ref()?;
                Some(interval(resampled, *resampled.scores.get(&score.name)?))
            };
            columns.push((format!("paired {} %", score.name), Box::new(text)));
        }
    }
    columns
}

/// A paired difference with its interval, and why it is not resolved if it is not.
fn interval(resampled: &Resampled, of: Interval) -> String {
    let seeds = resampled.seeds.len();
    let remark = match seeds {
        _ if resampled.resolves(of) => String::new(),
        1 => ", of one seed".to_owned(),
        _ if seeds < FEWEST_SEEDS => format!(", of {seeds} seeds"),
        _ => ", not resolved".to_owned(),
    };
    format!("{:+.1} ({:+.1} to {:+.1}{remark})", of.difference, of.low, of.high)
}

/// With its sign: positive is better.
fn signed(delta: &Statistic) -> String {
    // Not -0.00.
    let mean = if delta.mean.abs() < 0.005 { 0.0 } else { delta.mean };
    let sign = if mean > 0.0 { "+" } else { "" };
    format!("{sign}{:.2}", Statistic { mean, ..delta.clone() })
}

/// A share in percent, with two digits where it is small.
fn share(percent: f64) -> String {
    if percent == 0.0 {
        return "0".to_owned();
    }
    let decimals = (1.0 - percent.log10().floor()).clamp(1.0, 6.0) as usize;
    format!("{percent:.decimals$}")
}

/// Such as `1,204`.
fn thousands(value: usize) -> String {
    let digits = value.to_string();
    let first = digits.len() % 3;
    let (head, rest) = digits.split_at(first);
    let groups: Vec<&str> = std::iter::once(head)
        .filter(|head| !head.is_empty())
        .chain((0..rest.len()).step_by(3).map(|at| &rest[at..at + 3]))
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1204, 85_054_464].map(thousands), ["0", "999", "1,204", "85,054,464"]);
        assert_eq!([0.0, 0.0433, 1.08, 99.31].map(share), ["0", "0.043", "1.1", "99.3"]);
        assert_eq!(signed(&Statistic::of([-0.001]).unwrap()), "0.00");
        assert_eq!(signed(&Statistic::of([1.0, 2.0]).unwrap()), "+1.50 ± 0.71");
        assert_eq!(signed(&Statistic::of([-3.25]).unwrap()), "-3.25");
    }
}
