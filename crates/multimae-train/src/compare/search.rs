//! The search for keys of each cell before it is trained: successive halving on the validation set.
//!
//! Every cell has the same rungs. On the first all its trials are trained for a few epochs, on each further
//! one the better half of them for more; the best of the last rung is the cell's. Trials are runs of their own,
//! with a seed of their own, and are never measured on the test set (Jamieson and Talwalkar, 2016).

use indexmap::IndexMap;
use multimae_config::Override;
use serde_json::{Value, json};

use super::grid::{Grid, check_override};
use super::plan::{ComparisonRequest, PlannedRun, RunOverrides, plan_run, task_scores};
use super::scores::TaskScore;
use crate::run::RunResult;
use crate::{Error, Result};

/// The key of a grid and of its cells.
pub(super) const SEARCH: &str = "search";
const EPOCHS: &str = "epochs";
const SEED: &str = "seed";
/// The seed of trials, unless the grid sets it.
const USUAL_SEED: u64 = 1000;

/// The rules that all cells share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchRules {
    /// Epochs of each rung.
    pub epochs: Vec<u64>,
    /// Of every trial.
    pub seed: u64,
}

impl SearchRules {
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        let problem = || {
            format!(
                "`{SEARCH}`: {value} are no rules, as in {{epochs: [2, 5]}}: those of each rung, more \
                 on each"
            )
        };
        let map = value.as_object().ok_or_else(problem)?;
        if let Some(key) = map.keys().find(|key| ![EPOCHS, SEED].contains(&key.as_str())) {
            let known = [EPOCHS, SEED];
            return Err(format!("`{SEARCH}`: {}", multimae_config::unknown_of("key", key, &known)));
        }
        let epochs = map.get(EPOCHS).and_then(Value::as_array).ok_or_else(problem)?;
        let epochs: Vec<u64> =
            epochs.iter().map(Value::as_u64).collect::<Option<_>>().ok_or_else(problem)?;
        let rises = epochs.windows(2).all(|pair| pair[0] < pair[1]);
        if epochs.is_empty() || epochs[0] == 0 || !rises {
            return Err(problem());
        }
        let seed = match map.get(SEED) {
            Some(seed) => seed.as_u64().ok_or_else(problem)?,
            None => USUAL_SEED,
        };
        Ok(Self { epochs, seed })
    }
}

/// The values that a cell's search takes of some keys.
pub type SearchSpace = IndexMap<String, Vec<Value>>;

/// Reads the search of a cell: keys of the recipe with lists of values.
pub(super) fn read_space(value: &Value) -> Result<SearchSpace, String> {
    let problem = || {
        format!(
            "`{SEARCH}`: {value} names no lists of values, as in {{added_lr_scale: [1, 5, 20]}}"
        )
    };
    let map = value.as_object().filter(|map| !map.is_empty()).ok_or_else(problem)?;
    map.iter()
        .map(|(key, values)| {
            let values = values.as_array().filter(|values| !values.is_empty());
            let values = values.ok_or_else(problem)?.clone();
            for value in &values {
                check_override(&Override::at(key, value.clone())?)
                    .map_err(|problem| format!("`{SEARCH}`: {problem}"))?;
            }
            if values.iter().enumerate().any(|(at, value)| values[..at].contains(value)) {
                return Err(format!("`{SEARCH}`: a value of `{key}` stands there twice"));
            }
            Ok((key.clone(), values))
        })
        .collect()
}

/// All combinations of a space's values, the last key's first.
fn trials(space: &SearchSpace) -> Result<Vec<Vec<Override>>> {
    let mut all: Vec<Vec<Override>> = vec![Vec::new()];
    for (key, values) in space {
        let mut longer = Vec::new();
        for trial in &all {
            for value in values {
                let own = Override::at(key, value.clone()).map_err(Error::Recipe)?;
                longer.push([trial.as_slice(), &[own]].concat());
            }
        }
        all = longer;
    }
    Ok(all)
}

/// Trials that are kept of some.
fn kept(trials: usize) -> usize {
    trials.div_ceil(2)
}

/// The search of a comparison's cells.
#[derive(Debug)]
pub struct Search<'a> {
    request: &'a ComparisonRequest,
    grid: Grid,
    rules: SearchRules,
    scores: Vec<TaskScore>,
    /// The trials of the cells that are searched.
    trials: IndexMap<String, Vec<Vec<Override>>>,
    /// The cells that are to be trained.
    wanted: Vec<String>,
}

/// A rung of a cell's search.
struct Rung {
    /// The numbers of its trials.
    numbers: Vec<usize>,
    runs: Vec<PlannedRun>,
}

impl<'a> Search<'a> {
    /// The search of a grid's cells; `None` if it has none.
    ///
    /// # Errors
    /// If the grid or a recipe is not as it should be, or cells have different numbers of trials.
    pub fn new(request: &'a ComparisonRequest) -> Result<Option<Self>> {
        let grid = Grid::read(&request.grid)?;
        let problem = |problem: String| Error::Grid { path: grid.path.clone(), problem };
        let wanted: Vec<String> =
            grid.chosen(&request.only)?.into_iter().map(str::to_owned).collect();
        let mut of_cells = IndexMap::new();
        for (name, cell) in &grid.cells {
            if let Some(space) = &cell.search {
                of_cells.insert(name.clone(), trials(space)?);
            }
        }
        let Some(rules) = grid.search.clone() else {
            if let Some(name) = of_cells.keys().next() {
                return Err(problem(format!(
                    "cell `{name}`: `{SEARCH}` needs the rules of all cells, as in `{SEARCH}: \
                     {{{EPOCHS}: [2, 5]}}` beside `cells`"
                )));
            }
            return Ok(None);
        };
        let mut counts = of_cells.iter().map(|(name, trials)| (name, trials.len()));
        if let Some((first, count)) = counts.next()
            && let Some((other, differing)) = counts.find(|(_, other)| *other != count)
        {
            return Err(problem(format!(
                "cell `{other}` has {differing} trials and cell `{first}` {count}: a fair search gives \
                 every cell as many"
            )));
        }
        if of_cells.is_empty() {
            return Ok(None);
        }
        for (cell, key) in searched_keys(&grid) {
            if request.set.iter().any(|change| change.full_key() == key) {
                return Err(problem(format!(
                    "--set {key}: the search of cell `{cell}` sets this key; leave it out, or choose \
                     other cells with --only"
                )));
            }
        }
        let scores = Vec::new();
        let mut search = Self { request, grid, rules, scores, trials: of_cells, wanted };
        let first: Vec<PlannedRun> =
            search.trials.keys().map(|cell| search.run(cell, 0, 0)).collect::<Result<_>>()?;
        for run in &first {
            let data = &run.recipe.data;
            if data.eval_split.is_none() && data.eval_data_path.is_none() {
                return Err(Error::Grid {
                    path: search.grid.path.clone(),
                    problem: format!(
                        "cell `{}`: a search chooses by the validation set; name one with `eval_split`",
                        run.cell
                    ),
                });
            }
        }
        search.scores = task_scores(&search.grid, &first)?;
        Ok(Some(search))
    }

    /// The budget in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let count = self.trials.values().next().map_or(0, Vec::len);
        let mut left = count;
        let (mut runs, mut epochs, mut rungs) = (0, 0, Vec::new());
        for of_rung in &self.rules.epochs {
            runs += left;
            epochs += left as u64 * of_rung;
            rungs.push(format!("{left} of {of_rung} epochs"));
            left = kept(left);
        }
        let cells = self.trials.len();
        format!(
            "search on the validation set: {} cells, {count} trials each ({}); {} runs, {} epochs in all",
            cells,
            rungs.join(", then "),
            cells * runs,
            cells as u64 * epochs
        )
    }

    /// The cells that are searched and to be trained.
    pub fn cells(&self) -> impl Iterator<Item = &str> {
        self.trials
            .keys()
            .map(String::as_str)
            .filter(|cell| self.wanted.iter().any(|own| own == cell))
    }

    /// A trial of a cell on a rung.
    fn run(&self, cell: &str, trial: usize, rung: usize) -> Result<PlannedRun> {
        let own = self.trials.get(cell).and_then(|trials| trials.get(trial));
        let (Some(own), Some(epochs)) = (own, self.rules.epochs.get(rung)) else {
            return Err(Error::Recipe(format!("cell `{cell}` has no trial {trial}")));
        };
        // Nothing is chosen by the test set, and a trial needs no pictures.
        let last = [
            (EPOCHS, json!(epochs)),
            ("test_split", Value::Null),
            ("test_data_path", Value::Null),
            ("log_images", json!(0)),
        ];
        let last = last.map(|(key, value)| Override::new(key, value));
        let dir = self.request.out.join(SEARCH).join(format!("{cell}-{trial}-epochs{epochs}"));
        let overrides = RunOverrides { of_cell: own, last: &last, seed: self.rules.seed };
        plan_run(&self.grid, cell, (self.request, overrides), dir)
    }

    /// The rungs of a cell so far: all finished ones, and the first that is not.
    fn rungs(&self, cell: &str) -> Result<Vec<Rung>> {
        let count = self.trials.get(cell).map_or(0, Vec::len);
        let mut numbers: Vec<usize> = (0..count).collect();
        let mut rungs: Vec<Rung> = Vec::new();
        for rung in 0..self.rules.epochs.len() {
            let runs = numbers
                .iter()
                .map(|number| {
                    let mut run = self.run(cell, *number, rung)?;
                    run.look()?;
                    Ok(run)
                })
                .collect::<Result<Vec<_>>>()?;
            let finished = runs.iter().all(has_ended);
            let of_rung = Rung { numbers: numbers.clone(), runs };
            if finished {
                numbers = self.best_first(&of_rung);
                numbers.truncate(kept(of_rung.numbers.len()));
            }
            rungs.push(of_rung);
            if !finished {
                break;
            }
        }
        Ok(rungs)
    }

    /// The numbers of a finished rung's trials, the best first; of equal ones, the first.
    fn best_first(&self, rung: &Rung) -> Vec<usize> {
        let trials: Vec<Option<Vec<f64>>> =
            rung.runs.iter().map(|run| values(&self.scores, run.result()?)).collect();
        let gains = gains(&self.scores, &trials);
        let mut order: Vec<(usize, f64)> = rung.numbers.iter().copied().zip(gains).collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        order.into_iter().map(|(number, _)| number).collect()
    }

    /// The trials that are to be trained next: of every wanted cell those of its first unfinished rung. None when the
    /// search has ended.
    ///
    /// # Errors
    /// If a trial's folder cannot be read, or holds a run of another recipe.
    pub fn next_runs(&self) -> Result<Vec<PlannedRun>> {
        let mut next = Vec::new();
        for cell in self.trials.keys().filter(|cell| self.wanted.contains(cell)) {
            if let Some(last) = self.rungs(cell)?.pop() {
                next.extend(last.runs.into_iter().filter(|run| !has_ended(run)));
            }
        }
        Ok(next)
    }

    /// The changes that the search has chosen, by cell; of cells whose search has ended.
    ///
    /// # Errors
    /// As [`Self::next_runs`].
    pub fn chosen(&self) -> Result<IndexMap<String, Vec<Override>>> {
        let mut chosen = IndexMap::new();
        for (cell, trials) in &self.trials {
            let rungs = self.rungs(cell)?;
            let Some(last) = rungs.last().filter(|_| rungs.len() == self.rules.epochs.len()) else {
                continue;
            };
            if last.runs.iter().all(has_ended)
                && last.runs.iter().any(|run| run.result().is_some())
                && let Some(best) = self.best_first(last).first().and_then(|best| trials.get(*best))
            {
                chosen.insert(cell.clone(), best.clone());
            }
        }
        Ok(chosen)
    }
}

/// Whether a trial has a result, or diverged, which it would again.
fn has_ended(run: &PlannedRun) -> bool {
    run.result().is_some() || run.diverged().exists()
}

/// The cells that are searched, with each of their keys.
fn searched_keys(grid: &Grid) -> impl Iterator<Item = (&str, &str)> {
    grid.cells.iter().flat_map(|(name, cell)| {
        let keys = cell.search.iter().flat_map(IndexMap::keys);
        keys.map(move |key| (name.as_str(), key.as_str()))
    })
}

/// The scores of a trial on the validation set.
fn values(scores: &[TaskScore], result: &RunResult) -> Option<Vec<f64>> {
    let of = &result.validation.as_ref()?.model;
    scores.iter().map(|score| of.get(&score.name).copied()).collect()
}

/// The mean over the scores of each trial's relative difference to the mean of all trials, so that their order
/// does not matter. A trial without scores has the least of all.
fn gains(scores: &[TaskScore], trials: &[Option<Vec<f64>>]) -> Vec<f64> {
    let known: Vec<&Vec<f64>> = trials.iter().flatten().collect();
    let mean = |score: usize| {
        known.iter().map(|values| values[score]).sum::<f64>() / known.len().max(1) as f64
    };
    let means: Vec<f64> = (0..scores.len()).map(mean).collect();
    let of_trial = |values: &Vec<f64>| {
        let differences = scores.iter().zip(values).zip(&means);
        // Where all are 0 there is no difference.
        let differences = differences
            .map(|((score, value), mean)| score.relative_difference(*value, *mean).unwrap_or(0.0));
        differences.sum::<f64>() / scores.len().max(1) as f64
    };
    trials.iter().map(|trial| trial.as_ref().map_or(f64::NEG_INFINITY, of_trial)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_is_all_combinations() {
        let space = json!({"added_lr_scale": [1, 5, 20], "drop_path_encoder": [0.0, 0.1]});
        let all = trials(&read_space(&space).unwrap()).unwrap();
        assert_eq!(all.len(), 6);
        let texts =
            |trial: &[Override]| -> Vec<String> { trial.iter().map(ToString::to_string).collect() };
        assert_eq!(texts(&all[0]), ["added_lr_scale=1", "drop_path_encoder=0.0"]);
        assert_eq!(texts(&all[5]), ["added_lr_scale=20", "drop_path_encoder=0.1"]);
        for (wrong, words) in [
            (json!({}), "no lists"),
            (json!({"added_lr_scale": 3}), "no lists"),
            (json!({"added_lr_scale": [3, 3]}), "twice"),
            (json!({"added_lr_scael": [3]}), "did you mean `added_lr_scale`"),
            (json!({"seed": [3]}), "`seed` is set by"),
        ] {
            let error = read_space(&wrong).unwrap_err();
            assert!(error.contains(words), "{wrong}: {error}");
        }
    }

    #[test]
    fn gains_do_not_depend_on_the_order_of_trials() {
        let score = |name: &str, higher_is_better| TaskScore {
            task: name.to_owned(),
            name: name.to_owned(),
            higher_is_better,
        };
        let scores = [score("rmse", false), score("miou", true)];
        // The first is poor in mIoU, the last diverged.
        let trials = [Some(vec![1.0, 0.001]), Some(vec![0.9, 0.05]), Some(vec![1.2, 0.05]), None];
        let got = gains(&scores, &trials);
        assert!(got[1] > got[2] && got[2] > got[0] && got[3] == f64::NEG_INFINITY, "{got:?}");
        let mut turned = trials.clone();
        turned.reverse();
        let mut again = gains(&scores, &turned);
        again.reverse();
        for (a, b) in got.iter().zip(&again) {
            assert!(a == b || (a - b).abs() < 1e-12);
        }
        // No class is right in any trial: the other score decides.
        let none = gains(&scores, &[Some(vec![1.0, 0.0]), Some(vec![0.5, 0.0])]);
        assert!(none[1] > none[0]);
    }

    #[test]
    fn rungs_rise() {
        let rules = SearchRules::read(&json!({"epochs": [2, 5], "seed": 7})).unwrap();
        assert_eq!((rules.epochs.as_slice(), rules.seed), (&[2, 5][..], 7));
        for wrong in
            [json!({"epochs": [5, 2]}), json!({"epochs": []}), json!({"epochs": [0]}), json!(3)]
        {
            assert!(SearchRules::read(&wrong).unwrap_err().contains("epochs: [2, 5]"), "{wrong}");
        }
        let unknown = SearchRules::read(&json!({"epohcs": [2]})).unwrap_err();
        assert!(unknown.contains("did you mean `epochs`"), "{unknown}");
    }
}
