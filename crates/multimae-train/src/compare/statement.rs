//! The comparison in words, and possible reasons why it is unfair.

use indexmap::IndexMap;
use serde_json::Value;

use super::plan::{ComparisonPlan, PlannedRun};
use multimae_config::FinetuneRecipe;
use multimae_config::keys::Keys as _;

/// Keys that a fair comparison has alike in all cells.
const BUDGET: [&str; 15] = [
    "in_domains",
    "model",
    "patch_size",
    "input_size",
    "finetune",
    "batch_size",
    "update_freq",
    "epochs",
    "data_path",
    "split",
    "eval_split",
    "test_split",
    "max_train_images",
    "num_classes",
    "cache_views",
];

/// Describes the comparison.
pub(super) fn statement(plan: &ComparisonPlan) -> IndexMap<String, String> {
    let mut entries: IndexMap<&str, String> = IndexMap::new();
    if let Some(base) = &plan.grid.base {
        let whole = base.canonicalize().unwrap_or_else(|_| base.clone());
        entries.insert("Base recipe", whole.display().to_string());
    }
    if let Some(run) = reference(plan) {
        let recipe = &run.recipe;
        entries.insert("Backbone", backbone(recipe));
        entries.insert("Tasks", recipe.tasks.out_domains.0.join(", "));
        entries.insert("Budget", budget(plan, run));
        entries.insert("Sets", sets(recipe));
    }
    entries.extend(plan.search_budget.clone().map(|budget| ("Search", budget)));
    entries.insert("Seeds", seeds(plan));
    entries.insert("Scores", scores(plan));
    entries.insert("Reference", plan.grid.reference.clone());
    entries.insert("Delta m", delta_m(plan));
    entries.insert("Share", SHARE.to_owned());
    entries.insert("Step", STEP.to_owned());
    entries.insert("Memory", MEMORY.to_owned());
    if plan.runs.iter().any(|run| run.recipe.run.seed != plan.runs[0].recipe.run.seed) {
        entries.insert("±", "sample standard deviation over the seeds".to_owned());
    }
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The intervals in words.
pub(super) const INTERVALS: &str = "paired differences to the reference, of the seeds that both have, with 2.5 to \
                                    97.5 % of 10,000 draws with replacement of seeds and of scenes (frames where \
                                    no frames.csv names scenes), the same for both; counts and squared errors are \
                                    summed over a draw before scores are computed, mIoU over the classes that the \
                                    draw is labelled with. A difference is resolved if at least three seeds are \
                                    common and the interval excludes 0; draws of few seeds understate their \
                                    spread, and nothing is corrected for the number of cells";
const SHARE: &str = "trained values outside the heads, those that were added among them, in percent of \
                     the backbone's values; the heads are trained in every cell";
const STEP: &str = "median time of one step of the optimiser, without waiting for data and without \
                    the first two steps; runs are trained one after the other, and other work on the \
                    machine counts";
const MEMORY: &str = "peak resident memory of the run's own process before its first evaluation, \
                      loading of the weights included";

fn reference(plan: &ComparisonPlan) -> Option<&PlannedRun> {
    plan.runs.iter().find(|run| run.cell == plan.grid.reference)
}

fn backbone(recipe: &FinetuneRecipe) -> String {
    let encoder = &recipe.arch.model.config;
    let size = recipe.arch.input_size;
    format!(
        "{}; {} wide, {} blocks, {} heads, on {} of {} x {} (height x width)",
        recipe.weights.finetune.as_deref().unwrap_or("random values"),
        encoder.width,
        encoder.depth,
        encoder.heads,
        recipe.tasks.in_domains.0.join(", "),
        size.height,
        size.width
    )
}

fn budget(plan: &ComparisonPlan, run: &PlannedRun) -> String {
    let recipe = &run.recipe;
    let samples = recipe.optim.batch_size * recipe.optim.update_freq;
    // Only a run knows how many samples there are.
    let result = run.result().or_else(|| plan.runs.iter().find_map(PlannedRun::result));
    let steps = result.map_or(String::new(), |result| format!(", {} steps", result.steps));
    format!("{} epochs{steps} of {samples} samples", recipe.optim.epochs)
}

fn sets(recipe: &FinetuneRecipe) -> String {
    let set = |split: &Option<String>, root: &Option<String>| match (split, root) {
        (Some(split), Some(root)) => format!("{split} of {root}"),
        (Some(split), None) => split.clone(),
        (None, Some(root)) => root.clone(),
        (None, None) => "nothing".to_owned(),
    };
    format!(
        "trained on {}, the best epoch chosen on {}, tested on {}",
        set(&recipe.data.split, &recipe.data.data_path),
        set(&recipe.data.eval_split, &recipe.data.eval_data_path),
        set(&recipe.test_split, &recipe.test_data_path)
    )
}

fn seeds(plan: &ComparisonPlan) -> String {
    let mut by_seeds: IndexMap<String, Vec<&str>> = IndexMap::new();
    for (name, cell) in &plan.grid.cells {
        let seeds: Vec<String> = cell.seeds.iter().map(ToString::to_string).collect();
        by_seeds.entry(seeds.join(", ")).or_default().push(name);
    }
    match by_seeds.keys().next() {
        Some(seeds) if by_seeds.len() == 1 => seeds.clone(),
        _ => {
            let part =
                |(seeds, cells): (&String, &Vec<&str>)| format!("{seeds} ({})", cells.join(", "));
            by_seeds.iter().map(part).collect::<Vec<_>>().join("; ")
        }
    }
}

fn scores(plan: &ComparisonPlan) -> String {
    let better = |higher: bool| if higher { "higher" } else { "lower" };
    let score = |score: &super::TaskScore| {
        format!("{} ({} is better)", score.name, better(score.higher_is_better))
    };
    plan.scores.iter().map(score).collect::<Vec<_>>().join(", ")
}

fn delta_m(plan: &ComparisonPlan) -> String {
    let on = if plan.tests() {
        "the test set"
    } else {
        "the validation set, which also chose the best epoch, as not every cell has a test set"
    };
    let names: Vec<&str> = plan.scores.iter().map(|score| score.name.as_str()).collect();
    format!(
        "mean over {} of (score - reference) / reference in percent, with the sign turned where \
         lower is better, so that positive is better than the reference; the reference's score is \
         its mean over seeds; on {on}",
        names.join(" and ")
    )
}

/// Differences between cells in what should be alike, and cells without result.
pub(super) fn notices(plan: &ComparisonPlan) -> Vec<String> {
    let mut notices = Vec::new();
    let values = |run: &PlannedRun, key: &str| -> Value {
        let values = run.recipe.values();
        values.into_iter().find(|(name, _)| *name == key).map_or(Value::Null, |(_, value)| value)
    };
    if let Some(reference) = reference(plan) {
        for key in BUDGET {
            let expected = values(reference, key);
            for cell in plan.grid.cells.keys() {
                let own = plan.runs_of(cell).next().map(|run| values(run, key));
                if let Some(own) = own.filter(|own| *own != expected) {
                    notices.push(format!(
                        "`{key}` of cell {cell} is {own}, that of the reference {expected}: they \
                         were not trained alike"
                    ));
                }
            }
        }
        if plan.search_budget.is_some() {
            for (name, _) in plan.grid.cells.iter().filter(|(_, cell)| cell.search.is_none()) {
                notices.push(format!("cell {name} was not searched, and others were"));
            }
        }
        if plan.runs_of(&plan.grid.reference).all(|run| run.result().is_none()) {
            notices.push(format!(
                "the reference {} has no result yet, so that nothing can be compared with it",
                plan.grid.reference
            ));
        }
    }
    notices
}
