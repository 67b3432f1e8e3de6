//! Comparing tuning modes: a grid of runs of fine-tuning from one backbone with one budget, one
//! table.
//!
//! * A [`Grid`] is what a person writes: the recipe of every cell, and what is changed in it.
//! * A [`ComparisonPlan`] is what follows: the runs, resolved and checked, and how far each is.
//! * A [`Comparison`] is what the finished runs say: means and deviations over seeds, ratios to a
//!   reference cell.

mod grid;
mod plan;
pub(crate) mod report;
mod results;
mod scores;
mod statement;
mod statistic;
mod table;

pub use grid::{Grid, GridCell};
pub use plan::{ComparisonPlan, ComparisonRequest, PlannedRun, RunState};
pub use report::write_outputs;
pub use results::{CellResult, CellRun, Comparison, RunStatus, SetStatistics};
pub use scores::{TaskScore, mean_relative_difference};
pub use statistic::Statistic;
pub use table::{Columns, table};
