//! `table.md`, `results.json` and `report.html` of measurements.

use std::path::Path;

use fs_err as fs;
use indexmap::IndexMap;
use multimae_io::atomic::write_atomically;
use multimae_report::chart::{LineChart, Series, Svg};
use multimae_report::{Report, Table};
use serde::{Deserialize, Serialize};

use crate::case::BenchmarkKind;
use crate::cells::{NONE, percent};
use crate::flops;
use crate::limits::Limits;
use crate::measure::Measurement;
use crate::statistic::Quartiles;
use crate::{Error, Result};

/// All that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The machine, the programs, the settings.
    pub about: IndexMap<String, String>,
    /// The limits of the machine, and our GEMM.
    pub limits: Limits,
    /// The measurements.
    pub measured: Vec<Measurement>,
    /// The growth curves.
    pub growth: Vec<Growth>,
}

/// The growth of a case's time with one of its sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// The size that grows, e.g. `batch`.
    pub axis: String,
    /// The work that it grows from.
    pub work: String,
    /// The sizes.
    pub values: Vec<f64>,
    /// The measurement at each size.
    pub measured: Vec<Measurement>,
}

impl Growth {
    /// Milliseconds of a step over the size, a curve per program.
    fn chart(&self) -> Svg {
        let title = format!("{} over {}", self.work, self.axis);
        let mut chart = LineChart::new(title, self.axis.clone(), "ms per step");
        chart.from_zero = true;
        let programs = self.measured.first().map(|measured| measured.programs.keys());
        for program in programs.into_iter().flatten() {
            let median =
                |measured: &Measurement| Some(measured.programs.get(program)?.quartiles()?.median);
            let points = self.values.iter().zip(&self.measured);
            let points = points.filter_map(|(&at, measured)| Some((at, 1e3 * median(measured)?)));
            chart.push(Series::new(program.clone(), points.collect()));
        }
        chart.svg()
    }
}

impl Results {
    /// A row per case.
    #[must_use]
    pub fn table(&self) -> Table {
        let ours = "multimae ms";
        let mut table = Table::new(
            ["work", ours, "other", "other ms", "other / multimae", "memory", "share of limit"]
                .map(str::to_owned),
        );
        for measured in &self.measured {
            for row in self.rows(measured) {
                table.row(row);
            }
        }
        table
    }

    fn rows(&self, measured: &Measurement) -> Vec<Vec<String>> {
        let Some((_, ours)) = measured.programs.first() else { return Vec::new() };
        let milliseconds = ours.quartiles().map_or(NONE.to_owned(), in_milliseconds);
        let name = name(measured);
        let share_of_limit = self.share_of_limit(measured).map_or(NONE.to_owned(), percent);
        let ratios = measured.ratios();
        if ratios.is_empty() {
            let none = || NONE.to_owned();
            return vec![vec![
                name,
                milliseconds,
                none(),
                none(),
                none(),
                memory(ours.peak_memory),
                share_of_limit,
            ]];
        }
        let shares = measured.memory_shares();
        let row = |(other, ratios): (&String, &Vec<f64>)| {
            let times = measured.programs.get(other).and_then(|times| times.quartiles());
            let share = shares.get(other).copied().map(percent);
            let memory = match share {
                Some(share) => format!("{}, {share}", memory(ours.peak_memory)),
                None => memory(ours.peak_memory),
            };
            vec![
                name.clone(),
                milliseconds.clone(),
                other.clone(),
                times.map_or(NONE.to_owned(), in_milliseconds),
                Quartiles::of(ratios).map_or(NONE.to_owned(), |ratio| with_spread(ratio, 2)),
                memory,
                share_of_limit.clone(),
            ]
        };
        ratios.iter().map(row).collect()
    }

    /// Returns the rate of a case divided by that of multiply-adds alone.
    #[must_use]
    pub fn share_of_limit(&self, measured: &Measurement) -> Option<f64> {
        let (_, ours) = measured.programs.first()?;
        Some(flops::of(&measured.case)? / ours.quartiles()?.median / self.limits.operations)
    }

    /// Writes all files into a folder.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        let path = dir.join("results.json");
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::CaseFile { path: path.clone(), problem: error.to_string() })?;
        write_atomically(&path, text.as_bytes())?;
        write_atomically(&dir.join("table.md"), self.markdown().as_bytes())?;
        Ok(self.html().write(&dir.join("report.html"))?)
    }

    fn html(&self) -> Report {
        let mut report = Report::new("Benchmark");
        report.definitions(&self.about.iter().collect::<Vec<_>>());
        let table = self.table();
        report.section("Times of the same work").table(table.headers(), table.rows());
        let table = self.limits.table();
        report.section("Limits of the machine").table(table.headers(), table.rows());
        if !self.growth.is_empty() {
            let charts: Vec<Svg> = self.growth.iter().map(Growth::chart).collect();
            report.section("Growth of times").charts(&charts);
        }
        report
    }

    fn markdown(&self) -> String {
        let about: Vec<String> =
            self.about.iter().map(|(key, value)| format!("{key}: {value}.")).collect();
        let (table, limits) = (self.table().markdown(), self.limits.table().markdown());
        format!("{table}\n{limits}\n{}\n", about.join(" "))
    }
}

/// The case and what its batch is.
fn name(measured: &Measurement) -> String {
    let case = &measured.case;
    match case.kind {
        BenchmarkKind::Startup => case.name.clone(),
        _ => format!("{}, batch {}", case.name, case.batch),
    }
}

fn in_milliseconds(seconds: Quartiles) -> String {
    let milliseconds = seconds.scaled(1e3);
    with_spread(milliseconds, if milliseconds.median < 100.0 { 1 } else { 0 })
}

/// `2.10 (2.05 to 2.20)`.
fn with_spread(value: Quartiles, decimals: usize) -> String {
    let Quartiles { low, median, high } = value;
    format!("{median:.decimals$} ({low:.decimals$} to {high:.decimals$})")
}

fn memory(bytes: Option<u64>) -> String {
    bytes.map_or(NONE.to_owned(), |bytes| format!("{:.0} MB", bytes as f64 / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{BenchmarkCase, EncoderSizes};
    use crate::measure::ProgramTimes;

    #[test]
    fn every_other_program_has_a_row() {
        let times = |seconds: f64, peak_memory: u64| ProgramTimes {
            seconds: vec![seconds],
            peak_memory: Some(peak_memory),
            first_loss: Some(1.0),
        };
        let programs = [
            ("multimae", times(1.0, 1_000_000)),
            ("PyTorch", times(2.0, 4_000_000)),
            ("ONNX Runtime", times(1.5, 2_000_000)),
        ];
        let programs = programs.map(|(name, times)| (name.to_owned(), times));
        let case = BenchmarkCase::with_heads("a", BenchmarkKind::Inference, EncoderSizes::BASE, 1);
        let results = Results {
            about: IndexMap::new(),
            limits: Limits { operations: 1e12, triad: 1e9, gemms: Vec::new() },
            measured: vec![Measurement { case, programs: programs.into_iter().collect() }],
            growth: Vec::new(),
        };
        let table = results.table();
        let cells: Vec<_> = table.rows().iter().map(|row| (&*row[2], &*row[4], &*row[5])).collect();
        let expected = [
            ("PyTorch", "2.00 (2.00 to 2.00)", "1 MB, 25 %"),
            ("ONNX Runtime", "1.50 (1.50 to 1.50)", "1 MB, 50 %"),
        ];
        assert_eq!(cells, expected);
    }
}
