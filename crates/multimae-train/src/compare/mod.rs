//! Comparing tuning modes: a grid of runs of fine-tuning from one backbone with one budget, one
//! table.
//!
//! * A [`Grid`] is what a person writes: the recipe of every cell, and what is changed in it.
//! * A [`Search`] trains trials of each cell first, with the same budget, where the grid asks for it.
//! * A [`ComparisonPlan`] is what follows: the runs, resolved and checked, and how far each is.
//! * A [`Comparison`] is what the finished runs say: means and deviations over seeds, ratios to a
//!   reference cell, intervals of differences over seeds and scenes.

mod grid;
mod plan;
pub(crate) mod report;
mod resample;
mod results;
mod scores;
mod search;
mod statement;
mod statistic;
mod table;

pub use grid::{Grid, GridCell};
pub use plan::{ComparisonPlan, ComparisonRequest, PlannedRun, RunState};
pub use report::write_outputs;
pub use resample::{Interval, Resampled};
pub use results::{CellResult, CellRun, Comparison, RunStatus, SetStatistics};
pub use scores::{TaskScore, mean_relative_difference};
pub use search::{Search, SearchRules, SearchSpace};
pub use statistic::Statistic;
pub use table::{Columns, table};
