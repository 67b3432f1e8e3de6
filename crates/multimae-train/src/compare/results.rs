//! The results of a comparison's runs, by cell.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::grid::GridCell;
use super::plan::{ComparisonPlan, PlannedRun, RunState};
use super::resample::{DRAWS, Resampled, resampled};
use super::scores::{TaskScore, mean_relative_difference};
use super::statement::{INTERVALS, notices, statement};
use super::statistic::Statistic;
use crate::Result;
use crate::run::{ParameterCounts, RunResult, SetScores};

/// A comparison as far as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// [`Self::VERSION`].
    pub format_version: u32,
    /// The comparison, in words.
    pub statement: IndexMap<String, String>,
    /// Possible reasons why the comparison is unfair.
    pub notices: Vec<String>,
    /// The cell that others are compared with.
    pub reference: String,
    /// The score of each task.
    pub scores: Vec<TaskScore>,
    /// Whether `delta_m` is on the test set; else on the validation set.
    pub delta_on_test: bool,
    /// In the order of the grid.
    pub cells: Vec<CellResult>,
}

/// A cell: quantities over its finished runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellResult {
    /// Its name.
    pub cell: String,
    /// Its name for people.
    pub label: String,
    /// The parameters that were trained besides the heads.
    pub tuning: Option<String>,
    /// Its recipe where that is not the one of all cells, and what is changed in it.
    pub changes: Vec<String>,
    /// Its runs, one per seed.
    pub runs: Vec<CellRun>,
    /// The number of trained parameters.
    pub parameters: Option<ParameterCounts>,
    /// Trained values outside the heads over all values of the backbone, in percent.
    pub trained_share: Option<f64>,
    /// Median seconds of a step.
    pub step_seconds: Option<Statistic>,
    /// The same over the reference's.
    pub step_ratio: Option<Statistic>,
    /// Peak memory in bytes.
    pub peak_memory: Option<Statistic>,
    /// The same over the reference's.
    pub memory_ratio: Option<Statistic>,
    /// Size of the adapter's file in bytes, where there is one.
    pub adapter_bytes: Option<u64>,
    /// Size of the model's file in bytes.
    pub model_bytes: Option<u64>,
    /// On the validation set.
    pub validation: Option<SetStatistics>,
    /// On the test set.
    pub test: Option<SetStatistics>,
    /// Mean over the tasks of the relative difference to the reference's mean, in percent; positive
    /// is better.
    pub delta_m: Option<Statistic>,
    /// Intervals of the differences to the reference, where both have seeds and frames in common.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Resampled>,
}

/// Scores on a set over the runs of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetStatistics {
    /// The set's name.
    pub set: String,
    /// By the score's name.
    pub scores: IndexMap<String, Statistic>,
}

/// A run of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellRun {
    /// Its seed.
    pub seed: u64,
    /// Its folder.
    pub folder: String,
    /// The state of the run.
    pub status: RunStatus,
    /// The end of its error output, if it failed.
    pub error: Option<String>,
    /// Its result, if it is finished.
    pub result: Option<RunResult>,
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Not begun.
    NotRun,
    /// It can be resumed from a checkpoint.
    Unfinished,
    /// Trained and measured.
    Finished,
    /// Its process ended without a result.
    Failed,
}

impl Comparison {
    /// The version of the file's format.
    pub const VERSION: u32 = 1;

    /// Collects the results of a plan's finished runs, without intervals.
    #[must_use]
    pub fn of(plan: &ComparisonPlan) -> Self {
        let delta_on_test = plan.tests();
        let reference = Reference::of(plan, delta_on_test);
        let cells =
            plan.grid.cells.keys().map(|cell| cell_result(plan, cell, &reference)).collect();
        Self {
            format_version: Self::VERSION,
            statement: statement(plan),
            notices: notices(plan),
            reference: plan.grid.reference.clone(),
            scores: plan.scores.clone(),
            delta_on_test,
            cells,
        }
    }

    /// The same with intervals, which take some tenths of a second per run.
    ///
    /// # Errors
    /// If a finished run's sums of frames are damaged.
    pub fn with_intervals(mut self, plan: &ComparisonPlan) -> Result<Self> {
        let mut intervals = resampled(plan, self.delta_on_test, DRAWS)?;
        if !intervals.is_empty() {
            self.statement.insert("Intervals".to_owned(), INTERVALS.to_owned());
        }
        for cell in &mut self.cells {
            cell.intervals = intervals.swap_remove(&cell.cell);
        }
        Ok(self)
    }

    /// A cell by its name.
    #[must_use]
    pub fn cell(&self, name: &str) -> Option<&CellResult> {
        self.cells.iter().find(|cell| cell.cell == name)
    }
}

/// The means of the reference cell.
struct Reference {
    step_seconds: Option<f64>,
    peak_memory: Option<f64>,
    scores: IndexMap<String, f64>,
    on_test: bool,
}

impl Reference {
    fn of(plan: &ComparisonPlan, on_test: bool) -> Self {
        let results = results(plan, &plan.grid.reference);
        let mean = |statistic: Option<Statistic>| statistic.map(|statistic| statistic.mean);
        let scores = plan.scores.iter().filter_map(|score| {
            let values = results.iter().filter_map(|result| value(result, on_test, &score.name));
            Some((score.name.clone(), mean(Statistic::of(values))?))
        });
        Self {
            step_seconds: mean(step_seconds(&results)),
            peak_memory: mean(peak_memory(&results)),
            scores: scores.collect(),
            on_test,
        }
    }

    /// Delta m of a run, in percent.
    fn delta_m(&self, scores: &[TaskScore], result: &RunResult) -> Option<f64> {
        let tasks: Option<Vec<(&TaskScore, f64, f64)>> = scores
            .iter()
            .map(|score| {
                let own = value(result, self.on_test, &score.name)?;
                Some((score, own, *self.scores.get(&score.name)?))
            })
            .collect();
        Some(100.0 * mean_relative_difference(&tasks?)?)
    }
}

fn results<'a>(plan: &'a ComparisonPlan, cell: &'a str) -> Vec<&'a RunResult> {
    plan.runs_of(cell).filter_map(PlannedRun::result).collect()
}

fn set(result: &RunResult, test: bool) -> Option<&SetScores> {
    if test { result.test.as_ref() } else { result.validation.as_ref() }
}

fn value(result: &RunResult, test: bool, score: &str) -> Option<f64> {
    set(result, test)?.model.get(score).copied()
}

fn step_seconds(results: &[&RunResult]) -> Option<Statistic> {
    Statistic::of(results.iter().filter_map(|result| Some(result.step_seconds?.median)))
}

fn peak_memory(results: &[&RunResult]) -> Option<Statistic> {
    Statistic::of(results.iter().filter_map(|result| Some(result.peak_memory? as f64)))
}

fn set_statistics(results: &[&RunResult], test: bool) -> Option<SetStatistics> {
    let first = results.iter().find_map(|result| set(result, test))?;
    let scores = first.model.keys().filter_map(|score| {
        let values = results.iter().filter_map(|result| value(result, test, score));
        Some((score.clone(), Statistic::of(values)?))
    });
    Some(SetStatistics { set: first.set.clone(), scores: scores.collect() })
}

fn cell_result(plan: &ComparisonPlan, cell: &str, reference: &Reference) -> CellResult {
    let results = results(plan, cell);
    let first = results.first();
    let grid_cell = plan.grid.cells.get(cell);
    let step_seconds = step_seconds(&results);
    let peak_memory = peak_memory(&results);
    let over = |own: &Option<Statistic>, reference: Option<f64>| own.as_ref()?.over(reference?);
    let deltas = results.iter().filter_map(|result| reference.delta_m(&plan.scores, result));
    CellResult {
        cell: cell.to_owned(),
        label: grid_cell.map_or_else(|| cell.to_owned(), |cell| cell.label.clone()),
        tuning: first.map(|result| result.tuning.clone()),
        changes: grid_cell.map(|own| changes(plan, cell, own)).unwrap_or_default(),
        runs: plan.runs_of(cell).map(cell_run).collect(),
        parameters: first.map(|result| result.parameters),
        trained_share: first.map(|result| 100.0 * result.parameters.trained_share()),
        step_ratio: over(&step_seconds, reference.step_seconds),
        step_seconds,
        memory_ratio: over(&peak_memory, reference.peak_memory),
        peak_memory,
        adapter_bytes: first.and_then(|result| result.adapter_bytes),
        model_bytes: first.map(|result| result.model_bytes),
        validation: set_statistics(&results, false),
        test: set_statistics(&results, true),
        delta_m: Statistic::of(deltas),
        intervals: None,
    }
}

/// The recipe of a cell where it is not that of all, and what is changed in it.
fn changes(plan: &ComparisonPlan, name: &str, cell: &GridCell) -> Vec<String> {
    let own = Some(&cell.recipe).filter(|recipe| Some(*recipe) != plan.grid.base.as_ref());
    let recipe = own.and_then(|recipe| recipe.file_name()).map(|file| file.display().to_string());
    let searched = plan.searched.get(name).into_iter().flatten();
    let searched = searched.map(|change| format!("{change} (searched)"));
    recipe.into_iter().chain(cell.set.iter().map(ToString::to_string)).chain(searched).collect()
}

fn cell_run(run: &PlannedRun) -> CellRun {
    let (status, error) = match &run.state {
        RunState::Absent => (RunStatus::NotRun, None),
        RunState::Unfinished => (RunStatus::Unfinished, None),
        RunState::Finished(_) => (RunStatus::Finished, None),
        RunState::Failed(error) => (RunStatus::Failed, Some(error.clone())),
    };
    CellRun {
        seed: run.seed,
        folder: run.dir.display().to_string(),
        status,
        error,
        result: run.result().cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(rmse: f64, miou: f64) -> RunResult {
        let model = [("depth_rmse".to_owned(), rmse), ("semseg_miou".to_owned(), miou)];
        let test = SetScores {
            set: "test".to_owned(),
            model: model.into_iter().collect(),
            constant: IndexMap::new(),
        };
        RunResult {
            format_version: RunResult::VERSION,
            tuning: "full".to_owned(),
            seed: 0,
            steps: 1,
            training_seconds: 1.0,
            step_seconds: None,
            peak_memory: None,
            parameters: ParameterCounts::default(),
            model_bytes: 1,
            adapter_bytes: None,
            validation: None,
            test: Some(test),
            recipe: serde_json::Map::new(),
        }
    }

    #[test]
    fn seeds_are_compared_with_the_mean_of_the_reference() {
        let usual = |task: &str, name: &str| {
            TaskScore::usual(task, multimae_tasks::kind(name).unwrap()).unwrap()
        };
        let scores = [usual("depth", "depth"), usual("semseg", "labels")];
        // The means of two runs of the reference: 1 m and 0.4.
        let reference = Reference {
            step_seconds: None,
            peak_memory: None,
            scores: [("depth_rmse".to_owned(), 1.0), ("semseg_miou".to_owned(), 0.4)].into(),
            on_test: true,
        };
        // (+10 % + 0 %) / 2 and (-30 % + 10 %) / 2; their mean is -2.5.
        let deltas = [result(0.9, 0.4), result(1.3, 0.44)]
            .map(|result| reference.delta_m(&scores, &result).unwrap());
        assert!((deltas[0] - 5.0).abs() < 1e-9 && (deltas[1] + 10.0).abs() < 1e-9, "{deltas:?}");
        let statistic = Statistic::of(deltas).unwrap();
        assert!((statistic.mean + 2.5).abs() < 1e-9);
        // A score that is missing leaves no difference, not one of fewer tasks.
        let mut incomplete = result(0.9, 0.4);
        incomplete.test.as_mut().unwrap().model.shift_remove("semseg_miou");
        assert_eq!(reference.delta_m(&scores, &incomplete), None);
    }
}
