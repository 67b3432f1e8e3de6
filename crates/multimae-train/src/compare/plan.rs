//! The runs of a comparison: resolved, checked, and how far each of them is.

use std::fmt::Write as _;
use std::path::{Path, PathBuf, absolute};

use indexmap::IndexMap;
use multimae_data::is_stored;
use serde_json::{Map, Value, json};

use super::grid::{Grid, GridCell, check_override};
use super::scores::TaskScore;
use super::search::Search;
use crate::run::{RunFolder, RunResult};
use crate::{Error, Result};
use multimae_config::keys::Keys as _;
use multimae_config::{FinetuneRecipe, Override, Resolved};

/// Keys that change nothing about a run's result but for chance and speed of the machine.
const WITHOUT_EFFECT: [&str; 11] = [
    "output_dir",
    "cache_dir",
    "auto_resume",
    "num_workers",
    "prefetch",
    "save_ckpt_freq",
    "save_ckpt_steps",
    "keep_ckpt",
    "log_freq",
    "log_images_freq",
    "log_images",
];

/// The folder of outputs of frozen blocks, in that of the comparison.
const PREFIX_CACHE: &str = "prefix-cache";

/// A request for a comparison.
#[derive(Debug, Clone, Default)]
pub struct ComparisonRequest {
    /// The grid's file.
    pub grid: PathBuf,
    /// The folder of the comparison.
    pub out: PathBuf,
    /// The folder of the data, over the recipes'.
    pub data: Option<PathBuf>,
    /// Changes of all cells, over those of the grid.
    pub set: Vec<Override>,
    /// The cells to train; all if empty.
    pub only: Vec<String>,
}

/// All runs of a comparison.
#[derive(Debug)]
pub struct ComparisonPlan {
    /// The grid.
    pub grid: Grid,
    /// The folder of the comparison.
    pub out: PathBuf,
    /// The score that stands for each task.
    pub scores: Vec<TaskScore>,
    /// The changes that a search has chosen, by cell.
    pub searched: IndexMap<String, Vec<Override>>,
    /// The budget of the search in words, if there is one.
    pub search_budget: Option<String>,
    /// Every cell with every seed, in the order of the grid.
    pub runs: Vec<PlannedRun>,
}

/// A cell with a seed.
#[derive(Debug)]
pub struct PlannedRun {
    /// The cell's name.
    pub cell: String,
    /// The seed.
    pub seed: u64,
    /// The run's folder.
    pub dir: PathBuf,
    /// Whether it is to be trained.
    pub chosen: bool,
    /// The file that its recipe begins with.
    pub base: PathBuf,
    /// The changes of the cell.
    pub overrides: Vec<Override>,
    /// Its recipe.
    pub recipe: FinetuneRecipe,
    /// The state of the run.
    pub state: RunState,
}

/// The state of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum RunState {
    /// Not begun.
    Absent,
    /// It can be resumed from a checkpoint.
    Unfinished,
    /// With what it reached.
    Finished(Box<RunResult>),
    /// With the end of its error output.
    Failed(String),
}

impl ComparisonPlan {
    /// Resolves the recipes of all cells, checks them, and looks at what is in the folders.
    ///
    /// # Errors
    /// If the grid or a recipe is not as it should be, what a recipe names is not there, or a
    /// folder holds a run of another recipe.
    pub fn new(request: &ComparisonRequest) -> Result<Self> {
        let grid = Grid::read(&request.grid)?;
        let chosen: Vec<String> =
            grid.chosen(&request.only)?.into_iter().map(str::to_owned).collect();
        for change in &request.set {
            check_override(change).map_err(|problem| Error::Recipe(format!("--set: {problem}")))?;
        }
        let search = Search::new(request)?;
        let searched = match &search {
            Some(search) => search.chosen()?,
            None => IndexMap::new(),
        };
        let search_budget = search.as_ref().map(Search::describe);
        let mut runs = Vec::new();
        for (name, cell) in &grid.cells {
            for &seed in &cell.seeds {
                let of_cell = searched.get(name).map_or(&[][..], Vec::as_slice);
                let dir = request.out.join("cells").join(format!("{name}-seed{seed}"));
                let own = RunOverrides { of_cell, last: &[], seed };
                let run = plan_run(&grid, name, (request, own), dir)?;
                runs.push(PlannedRun { chosen: chosen.contains(name), ..run });
            }
        }
        let scores = task_scores(&grid, &runs)?;
        let mut plan =
            Self { grid, out: request.out.clone(), scores, searched, search_budget, runs };
        for run in &mut plan.runs {
            run.look()?;
        }
        Ok(plan)
    }

    /// The runs of a cell.
    pub fn runs_of<'a>(&'a self, cell: &'a str) -> impl Iterator<Item = &'a PlannedRun> {
        self.runs.iter().filter(move |run| run.cell == cell)
    }

    /// Whether every cell is measured on a test set.
    #[must_use]
    pub fn tests(&self) -> bool {
        let tests = |recipe: &FinetuneRecipe| {
            recipe.test_split.is_some() || recipe.test_data_path.is_some()
        };
        self.runs.iter().all(|run| tests(&run.recipe))
    }

    /// Describes the plan in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!("reference    {}\n", self.grid.reference);
        let scores: Vec<&str> = self.scores.iter().map(|score| score.name.as_str()).collect();
        let _ = writeln!(text, "scores       {}", scores.join(", "));
        if let Some(budget) = &self.search_budget {
            let _ = writeln!(text, "{budget}");
        }
        text.push('\n');
        for run in &self.runs {
            let state = match (&run.state, run.chosen) {
                (RunState::Finished(_), _) => "finished",
                (_, false) => "left out",
                (RunState::Unfinished, true) => "resumes",
                (RunState::Absent | RunState::Failed(_), true) => "begins",
            };
            let changes: Vec<String> = run.overrides.iter().map(Override::to_string).collect();
            let _ = writeln!(text, "{state:<9} {}", run.dir.display());
            let _ = writeln!(text, "          {} {}", run.base.display(), changes.join(" "));
        }
        text
    }
}

impl PlannedRun {
    /// The cell and the seed, for people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}, seed {}", self.cell, self.seed)
    }

    /// Returns the file for the output of its process.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("log.txt")
    }

    /// Returns the file that says that a loss was not finite, so that training it again would fail again.
    #[must_use]
    pub fn diverged(&self) -> PathBuf {
        self.dir.join("diverged.txt")
    }

    /// Returns its result, if it is finished.
    #[must_use]
    pub fn result(&self) -> Option<&RunResult> {
        match &self.state {
            RunState::Finished(result) => Some(result),
            _ => None,
        }
    }

    /// Looks into its folder how far it is.
    ///
    /// # Errors
    /// If a file there cannot be read, or is that of another recipe.
    pub fn look(&mut self) -> Result<()> {
        let result = RunFolder::result_in(&self.dir);
        if result.exists() {
            let result = RunResult::read(&result)?;
            self.check_same(&result.recipe)?;
            self.state = RunState::Finished(Box::new(result));
        } else if RunFolder::holds_run(&self.dir) {
            let begun = RunFolder::recipe_in(&self.dir);
            let begun = Resolved::<FinetuneRecipe>::load_for_run(Some(&begun), &begun, &[])?;
            self.check_same(&recipe_map(&begun.recipe))?;
            self.state = RunState::Unfinished;
        } else {
            self.state = RunState::Absent;
        }
        Ok(())
    }

    /// Checks that the folder's run was begun with this recipe.
    fn check_same(&self, begun: &Map<String, Value>) -> Result<()> {
        let differing = differing(begun, &self.recipe);
        if differing.is_empty() {
            return Ok(());
        }
        Err(Error::RunFolder {
            path: self.dir.clone(),
            problem: format!(
                "cell `{}` was trained with another recipe: {}. Undo this change, choose another \
                 --out, or delete the folder to train the cell anew",
                self.cell,
                differing.join("; ")
            ),
        })
    }
}

/// All keys with their values.
fn recipe_map(recipe: &FinetuneRecipe) -> Map<String, Value> {
    recipe.values().into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The keys that make a difference and differ, with both values.
fn differing(begun: &Map<String, Value>, recipe: &FinetuneRecipe) -> Vec<String> {
    multimae_config::differing::<FinetuneRecipe>(begun, &recipe_map(recipe))
        .iter()
        .filter(|difference| !WITHOUT_EFFECT.contains(&difference.key.as_str()))
        .map(ToString::to_string)
        .collect()
}

/// The changes of a run besides those of its cell and of the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunOverrides<'a> {
    /// Over those of the cell, under those of the request.
    pub(super) of_cell: &'a [Override],
    /// Over all others.
    pub(super) last: &'a [Override],
    /// The seed.
    pub(super) seed: u64,
}

/// A run of a cell in a folder, of which nothing is known yet; chosen.
///
/// # Errors
/// If the recipe is not as it should be, or what it names is not there.
pub(super) fn plan_run(
    grid: &Grid,
    name: &str,
    (request, own): (&ComparisonRequest, RunOverrides<'_>),
    dir: PathBuf,
) -> Result<PlannedRun> {
    let in_cell = |problem: String| Error::Grid {
        path: grid.path.clone(),
        problem: format!("cell `{name}`: {problem}"),
    };
    let cell = grid.cells.get(name).ok_or_else(|| in_cell("there is no such cell".to_owned()))?;
    let (overrides, recipe) =
        resolve(grid, cell, own, request).map_err(|error| in_cell(text(error)))?;
    check_files(&recipe).map_err(in_cell)?;
    Ok(PlannedRun {
        cell: name.to_owned(),
        seed: own.seed,
        dir,
        chosen: true,
        base: cell.recipe.clone(),
        overrides,
        recipe,
        state: RunState::Absent,
    })
}

/// Returns the changes of a cell with a seed to its base recipe, and the resulting recipe.
fn resolve(
    grid: &Grid,
    cell: &GridCell,
    RunOverrides { of_cell, last, seed }: RunOverrides<'_>,
    request: &ComparisonRequest,
) -> Result<(Vec<Override>, FinetuneRecipe)> {
    let mut overrides = [&grid.set[..], &cell.set, of_cell, &request.set, last].concat();
    if let Some(data) = &request.data {
        overrides.push(Override::new("data_path", json!(data.to_string_lossy())));
    }
    overrides.push(Override::new("seed", json!(seed)));
    let recipe = Resolved::<FinetuneRecipe>::load(Some(&cell.recipe), &overrides)?.recipe;
    if recipe.cache_views > 0 && recipe.cache_dir.is_none() {
        // Cells on one backbone share what is kept of it.
        let dir = absolute(request.out.join(PREFIX_CACHE))?;
        overrides.push(Override::new("cache_dir", json!(dir.to_string_lossy())));
    }
    let recipe = Resolved::<FinetuneRecipe>::load(Some(&cell.recipe), &overrides)?.recipe;
    // Absolute paths, so that a comparison can be resumed from any folder.
    let paths = [
        ("data_path", &recipe.data.data_path),
        ("eval_data_path", &recipe.data.eval_data_path),
        ("test_data_path", &recipe.test_data_path),
        ("finetune", &recipe.weights.finetune),
    ];
    for (key, path) in paths {
        if let Some(path) = path {
            overrides.retain(|change| change.full_key() != key);
            overrides.push(Override::new(key, json!(absolute(path)?.to_string_lossy())));
        }
    }
    // The recipe is the one that a process resolves from the overrides as text.
    let written: Vec<Override> = overrides
        .iter()
        .map(|change| change.to_string().parse().map_err(Error::Recipe))
        .collect::<Result<_>>()?;
    let recipe = Resolved::<FinetuneRecipe>::load(Some(&cell.recipe), &written)?.recipe;
    Ok((written, recipe))
}

/// An error's text without what is said of it anyway.
fn text(error: Error) -> String {
    match error {
        Error::Recipe(problem) => problem,
        other => other.to_string(),
    }
}

/// Checks that what a recipe names is there: hours may pass until its turn.
fn check_files(recipe: &FinetuneRecipe) -> Result<(), String> {
    let Some(data) = recipe.data.data_path.as_deref() else {
        return Err("no data: give --data DIR, or `data_path` in the recipe".to_owned());
    };
    let sets = [
        ("split", Some(data), &recipe.data.split),
        ("eval_split", recipe.data.eval_data_path.as_deref(), &recipe.data.eval_split),
        ("test_split", recipe.test_data_path.as_deref(), &recipe.test_split),
    ];
    for (key, root, split) in sets {
        let root = Path::new(root.unwrap_or(data));
        if is_stored(root) {
            // A run names its missing files itself when it opens them.
            continue;
        }
        if !root.is_dir() {
            return Err(format!("{}: there is no such folder of data", root.display()));
        }
        let Some(split) = split else { continue };
        let lists = ["txt", "csv"].map(|extension| root.join(format!("{split}.{extension}")));
        if !lists.iter().any(|list| list.is_file()) {
            return Err(format!("`{key}`: there is no list {}", lists[0].display()));
        }
    }
    match &recipe.weights.finetune {
        Some(path) if !Path::new(path).exists() => {
            Err(format!("`finetune`: there is no {path}, neither a run's folder nor a file"))
        }
        _ => Ok(()),
    }
}

/// The score of each task, which all cells must have.
pub(super) fn task_scores(grid: &Grid, runs: &[PlannedRun]) -> Result<Vec<TaskScore>> {
    let problem = |problem: String| Error::Grid { path: grid.path.clone(), problem };
    let of = |run: &PlannedRun| run.recipe.tasks.out_domains.0.clone();
    let tasks = runs.iter().find(|run| run.cell == grid.reference).map(of).unwrap_or_default();
    if let Some(other) = runs.iter().find(|run| of(run) != tasks) {
        return Err(problem(format!(
            "cell `{}`: its tasks are {}, those of the reference {}; only runs of the same tasks \
             can be compared",
            other.cell,
            of(other).join(", "),
            tasks.join(", ")
        )));
    }
    if let Some(task) = grid.scores.keys().find(|task| !tasks.contains(task)) {
        let tasks = tasks.join(", ");
        return Err(problem(format!("`scores`: `{task}` is no task; the tasks are {tasks}")));
    }
    let Some(reference) = runs.iter().find(|run| run.cell == grid.reference) else {
        return Ok(Vec::new());
    };
    let score = |task: &String| {
        let kind = crate::finetune::kind_of_task(&reference.recipe, task)?;
        let named = match grid.scores.get(task) {
            Some(name) => TaskScore::named(task, kind, name),
            None => TaskScore::usual(task, kind).ok_or_else(|| format!("`{task}` has no scores")),
        };
        named.map_err(|error| problem(format!("`scores`: {error}")))
    };
    tasks.iter().map(score).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(overrides: &[&str]) -> FinetuneRecipe {
        let overrides: Vec<Override> = overrides.iter().map(|o| o.parse().unwrap()).collect();
        Resolved::load(None, &overrides).unwrap().recipe
    }

    #[test]
    fn only_keys_that_make_a_difference_count() {
        let begun = recipe_map(&recipe(&["out_domains=depth", "epochs=3", "finetune=a"]));
        let same = recipe(&["out_domains=depth", "epochs=3", "finetune=a", "num_workers=9"]);
        assert_eq!(differing(&begun, &same), [""; 0]);
        // Of this key one resumes whatever it is; here it is what is compared.
        let other = recipe(&["out_domains=depth", "epochs=4", "finetune=b"]);
        let found = differing(&begun, &other).join("; ");
        assert_eq!(found, "`finetune` was \"a\", now \"b\"; `epochs` was 3, now 4");
    }

    #[test]
    fn a_key_that_is_newer_than_the_run_counts_with_its_default() {
        let mut begun = recipe_map(&recipe(&["out_domains=depth"]));
        begun.shift_remove("hflip").unwrap();
        assert_eq!(differing(&begun, &recipe(&["out_domains=depth"])), [""; 0]);
        let changed = differing(&begun, &recipe(&["out_domains=depth", "hflip=0.25"]));
        assert_eq!(changed, ["`hflip` was 0.5, now 0.25"]);
    }
}
