//! Comparing tuning modes from the command line: trained parameters, outputs, resuming, and errors
//! of bad grids with their remedies.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]
#![cfg(unix)]

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::common::{Scratch, fail, stderr, succeed};
use fs_err as fs;
use multimae_train::compare::{CellResult, Comparison, RunStatus};

/// A model of two seconds.
const BASE: &str = "
out_domains: depth-semseg
modalities:
  depth: {divisor: 1000}
  semseg: {folder: label}
num_classes: 5
seg_reduce_zero_label: true
split: train
eval_split: val
test_split: test
model: {width: 32, depth: 2, heads: 2}
patch_size: 8
input_size: [24, 32]
output_adapter: light
heads:
  depth: {width: 8, depth: 1}
  semseg: {width: 8, depth: 1}
batch_size: 4
epochs: 2
warmup_epochs: 0
lr: 0.002
num_workers: 0
log_freq: 1
log_images: 1
";

const GRID: &str = "
base: recipes/base.yaml
set: {epochs: 3}
seeds: [0]
reference: full
scores: {depth: depth_rmse}
cells:
  full:
  head: {tuning: head, seeds: [4, 5], label: only heads}
";

fn scratch(grid: &str) -> Scratch {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("recipes")).unwrap();
    fs::write(scratch.path("recipes/base.yaml"), BASE).unwrap();
    fs::write(scratch.path("grid.yaml"), grid).unwrap();
    fs::write(scratch.data().join("val.txt"), "001\n004\n009\n").unwrap();
    fs::write(scratch.data().join("test.txt"), "002\n006\n").unwrap();
    scratch
}

fn compare(scratch: &Scratch, further: &[&str]) -> Command {
    scratch.train("compare", &scratch.path("grid.yaml"), "out", further)
}

fn results(scratch: &Scratch) -> Comparison {
    let text = fs::read_to_string(scratch.path("out/results.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn cell<'a>(comparison: &'a Comparison, name: &str) -> &'a CellResult {
    comparison.cell(name).unwrap()
}

fn statuses(cell: &CellResult) -> Vec<RunStatus> {
    cell.runs.iter().map(|run| run.status).collect()
}

fn read(scratch: &Scratch, path: &str) -> String {
    fs::read_to_string(scratch.path("out").join(path)).unwrap()
}

fn modified(scratch: &Scratch, run: &str) -> SystemTime {
    let path = scratch.path("out/cells").join(run).join("result.json");
    fs::metadata(path).unwrap().modified().unwrap()
}

fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn a_grid_is_trained_once_and_compared() {
    let scratch = scratch(GRID);
    let plan = compare(&scratch, &["--dry-run"]).output().unwrap();
    assert!(plan.status.success(), "{}", stderr(&plan));
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert_says(&plan, &["begins", "head-seed5", "tuning=\"head\"", "epochs=3", "semseg_miou"]);
    assert!(!scratch.path("out").exists(), "a plan writes nothing");

    let first = compare(&scratch, &[]).output().unwrap();
    assert!(first.status.success(), "{}", stderr(&first));
    assert_says(&stderr(&first), &["[1 of 3] full, seed 0: done", "[3 of 3] head, seed 5: done"]);
    assert_says(&String::from_utf8_lossy(&first.stdout), &["only heads", "delta m %"]);
    let comparison = results(&scratch);
    let (full, head) = (cell(&comparison, "full"), cell(&comparison, "head"));
    assert_eq!((statuses(full).len(), statuses(head)), (1, vec![RunStatus::Finished; 2]));
    // Full trains all but the position table of 3 x 4 patches, 32 wide.
    let counts = full.parameters.unwrap();
    assert_eq!(counts.of_backbone - counts.backbone, 3 * 4 * 32);
    assert_eq!((head.parameters.unwrap().backbone, head.trained_share), (0, Some(0.0)));
    assert_eq!(full.delta_m.as_ref().unwrap().mean, 0.0);
    assert_eq!(full.step_ratio.as_ref().unwrap().mean, 1.0);
    // By hand, from the scores of the two runs.
    let delta = head.delta_m.as_ref().unwrap();
    assert!(delta.deviation.is_some() && comparison.delta_on_test);
    for (run, delta) in head.runs.iter().zip(&delta.values) {
        let reference = &full.test.as_ref().unwrap().scores;
        let own = &run.result.as_ref().unwrap().test.as_ref().unwrap().model;
        let rmse = 1.0 - own["depth_rmse"] / reference["depth_rmse"].mean;
        let miou = own["semseg_miou"] / reference["semseg_miou"].mean - 1.0;
        assert!((delta - 50.0 * (rmse + miou)).abs() < 1e-9, "{delta} {rmse} {miou}");
    }
    let table = read(&scratch, "table.md");
    assert_says(&table, &["| only heads", " ± ", "depth_rmse test ↓", "semseg_miou val ↑"]);
    let report = read(&scratch, "report.html");
    // Three epochs of three steps.
    let words = ["Quality over cost", "as good as full", "base.yaml", "9 steps", "sign turned"];
    assert_says(&report, &words);
    assert_says(&read(&scratch, "cells/head-seed5/log.txt"), &["$ multimae finetune", "done at"]);
    assert_says(&read(&scratch, "cells/head-seed5.yaml"), &["tuning: \"head\"", "seed: 5"]);

    // The next call trains nothing, from whatever folder.
    let before = ["full-seed0", "head-seed4"].map(|run| modified(&scratch, run));
    let again = succeed(compare(&scratch, &[]).current_dir(scratch.data()));
    assert_says(&again, &["[2 of 3] head, seed 4: finished before"]);
    assert_eq!(["full-seed0", "head-seed4"].map(|run| modified(&scratch, run)), before);
    assert_eq!(results(&scratch), comparison);
    // Another recipe is not what is there.
    let message = fail(&mut compare(&scratch, &["--set", "epochs=4"]));
    assert_says(&message, &["full-seed0", "`epochs` was 3, now 4", "delete the folder"]);
}

#[test]
fn an_interrupted_grid_goes_on() {
    let scratch = scratch(&GRID.replace("seeds: [4, 5], ", ""));
    let longer = ["--set", "epochs=80", "--set", "eval_freq=1000", "--set", "log_images=0"];
    let short = ["--only", "full"];
    // The reference alone, then Ctrl-C in the second cell.
    succeed(&mut compare(&scratch, &[&longer[..], &short].concat()));
    assert_eq!(statuses(cell(&results(&scratch), "head")), [RunStatus::NotRun]);
    let full = modified(&scratch, "full-seed0");
    let mut command = compare(&scratch, &longer);
    // A group of its own, as a shell gives every command.
    let child = command.process_group(0).stderr(Stdio::piped()).stdout(Stdio::piped());
    let child = child.spawn().unwrap();
    let records = scratch.path("out/cells/head-seed0/metrics.jsonl");
    let start = Instant::now();
    while fs::read_to_string(&records).map_or(0, |text| text.lines().count()) < 9 {
        assert!(start.elapsed() < Duration::from_secs(120), "waited in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
    let group = format!("-{}", child.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_says(&stderr(&output), &["stopped at a checkpoint", "the same command resumes"]);
    let stopped = results(&scratch);
    assert_eq!(statuses(cell(&stopped, "head")), [RunStatus::Unfinished]);
    assert_eq!(cell(&stopped, "head").delta_m, None);
    assert_says(&read(&scratch, "table.md"), &["unfinished"]);
    // Another backbone does not continue the comparison, though resuming alone would not mind.
    let other = format!("finetune={}", scratch.path("out/cells/full-seed0").display());
    let other = [&longer[..], &["--set", &other]].concat();
    assert_says(&fail(&mut compare(&scratch, &other)), &["`finetune` was null"]);

    succeed(&mut compare(&scratch, &longer));
    assert_says(&read(&scratch, "cells/head-seed0/log.txt"), &["--resume", "resuming at step"]);
    assert_eq!(statuses(cell(&results(&scratch), "head")), [RunStatus::Finished]);
    assert_eq!(modified(&scratch, "full-seed0"), full, "it was not trained again");
    assert_eq!(read(&scratch, "cells/full-seed0/log.txt").matches("$ multimae").count(), 1);
}

#[test]
fn a_failing_cell_leaves_the_others() {
    // The encoder has two blocks.
    let grid =
        GRID.replace("seeds: [4, 5], ", "").replace("  head:", "  last: {tuning: last-9}\n  head:");
    let scratch = scratch(&grid);
    let message = fail(&mut compare(&scratch, &[]));
    assert_says(&message, &["[2 of 3] last, seed 0: FAILED", "2 blocks", "last, seed 0 failed"]);
    let comparison = results(&scratch);
    let last = cell(&comparison, "last");
    assert_eq!(statuses(last), [RunStatus::Failed]);
    assert_says(last.runs[0].error.as_deref().unwrap(), &["last-9"]);
    assert!(cell(&comparison, "head").delta_m.is_some());
    let table = read(&scratch, "table.md");
    let row = table.lines().find(|line| line.starts_with("| last")).unwrap();
    assert_says(row, &["failed", "–"]);
    assert_says(&read(&scratch, "report.html"), &["Error", "last, seed 0 failed", "2 blocks"]);
}

#[test]
fn bad_grids_are_named_before_anything_is_trained() {
    let scratch = scratch(GRID);
    let with = |from: &str, to: &str| {
        let grid = GRID.replacen(from, to, 1);
        assert_ne!(grid, GRID);
        fs::write(scratch.path("grid.yaml"), grid).unwrap();
        fail(&mut compare(&scratch, &[]))
    };
    for (from, to, words) in [
        ("tuning: head", "tunning: head", &["cell `head`", "did you mean `tuning`"][..]),
        ("tuning: head", "tuning: haed", &["cell `head`", "`haed`", "full | head"]),
        ("tuning: head", "batch_size: 0", &["cell `head`", "`batch_size: 0`", "at least 1"]),
        ("tuning: head", "eval_split: nothing", &["cell `head`", "`eval_split`", "nothing.txt"]),
        ("tuning: head", "finetune: runs/none", &["cell `head`", "`finetune`", "runs/none"]),
        ("tuning: head", "out_domains: depth, heads: {}", &["cell `head`", "same tasks"]),
        ("depth_rmse", "depth_rms", &["`scores`", "did you mean `depth_rmse`"]),
        ("{depth: ", "{dept: ", &["`scores`", "`dept`", "depth, semseg"]),
        ("base.yaml", "bsae.yaml", &["bsae.yaml"]),
    ] {
        assert_says(&with(from, to), words);
    }
    assert!(!scratch.path("out").exists(), "nothing was trained");
    fs::write(scratch.path("grid.yaml"), GRID).unwrap();
    let only = fail(&mut compare(&scratch, &["--only", "heads"]));
    assert_says(&only, &["--only", "did you mean `head`"]);
    assert_says(&fail(&mut compare(&scratch, &["--set", "seed=3"])), &["--set", "`seeds: [...]`"]);
    let elsewhere = scratch.path("elsewhere").display().to_string();
    let set = format!("data_path={elsewhere}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.arg("compare").arg("--config").arg(scratch.path("grid.yaml"));
    command.arg("--out").arg(scratch.path("out")).args(["--set", &set]);
    assert_says(&fail(&mut command), &["elsewhere", "no such folder of data"]);
}

const SEARCHED: &str = "
base: recipes/base.yaml
seeds: [0, 1]
reference: full
scores: {depth: depth_rmse}
search: {epochs: [1, 2]}
cells:
  full: {search: {lr: [0.0001, 0.002]}}
  head: {tuning: head, search: {lr: [0.0001, 0.004]}}
";

#[test]
fn a_search_chooses_on_validation_before_the_cells_are_trained() {
    let scratch = scratch(SEARCHED);
    let output = compare(&scratch, &[]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let budget =
        "2 cells, 2 trials each (2 of 1 epochs, then 1 of 2 epochs); 6 runs, 8 epochs in all";
    assert_says(
        &stderr(&output),
        &[budget, "[4 of 4] trial head-1-epochs1: done", "chosen for head"],
    );
    // Both trials of the first rung, the better one of the second; none has seen the test set.
    let trials = |cell: &str, rung: &str| -> Vec<serde_json::Value> {
        let folders = fs::read_dir(scratch.path("out/search")).unwrap();
        let mut found: Vec<_> = folders.map(|entry| entry.unwrap().path()).collect();
        found.retain(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            path.is_dir() && name.starts_with(cell) && name.ends_with(rung)
        });
        found.sort();
        let result = |path: &std::path::PathBuf| {
            let text = fs::read_to_string(path.join("result.json")).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        found.iter().map(result).collect()
    };
    let comparison = results(&scratch);
    for name in ["full", "head"] {
        let (first, last) = (trials(name, "epochs1"), trials(name, "epochs2"));
        assert_eq!((first.len(), last.len()), (2, 1), "{name}");
        let gain = |trial: &serde_json::Value| {
            let of = |result: &serde_json::Value, score: &str| {
                result["validation"]["model"][score].as_f64().unwrap()
            };
            let ratio = |score| of(trial, score) / of(&first[0], score);
            ratio("semseg_miou") - ratio("depth_rmse")
        };
        let better = if gain(&first[1]) > gain(&first[0]) { &first[1] } else { &first[0] };
        assert_eq!(last[0]["recipe"]["lr"], better["recipe"]["lr"], "{name}");
        assert!(first.iter().chain(&last).all(|trial| trial["test"].is_null()), "{name}");
        // The cells are trained with what was chosen, for the recipe's own epochs.
        let cell = cell(&comparison, name);
        for run in &cell.runs {
            let recipe = &run.result.as_ref().unwrap().recipe;
            assert_eq!((&recipe["lr"], &recipe["epochs"]), (&better["recipe"]["lr"], &2.into()));
        }
        assert!(cell.changes.iter().any(|change| change.ends_with("(searched)")), "{name}");
    }
    assert!(comparison.statement["Search"].contains(budget));
    // Seeds are paired; intervals are around the difference of the means.
    let head = cell(&comparison, "head");
    let intervals = head.intervals.as_ref().unwrap();
    assert_eq!((intervals.seeds.as_slice(), intervals.scenes), (&[0, 1][..], 2));
    assert!(cell(&comparison, "full").intervals.is_none());
    let delta = head.delta_m.as_ref().unwrap().mean;
    let of = intervals.delta_m;
    assert!(of.low <= of.difference && of.difference <= of.high, "{of:?}");
    // Both cells have the same seeds, so that the paired difference is that of the means, but for classes that
    // are predicted and never labelled.
    assert!((of.difference - delta).abs() < 0.2 * delta.abs() + 1.0, "{delta} {of:?}");
    assert_says(&read(&scratch, "table.md"), &["95 % of draws", "of 2 seeds)", "Search"]);

    let again = succeed(&mut compare(&scratch, &[]));
    assert_says(&again, &["[4 of 4] head, seed 1: finished before"]);
    assert!(!again.contains("trial head-0"), "{again}");
}

#[test]
fn a_search_is_fair_or_refused() {
    for (from, to, words) in [
        ("[0.0001, 0.004]", "[0.004]", &["cell `head` has 1 trials and cell `full` 2"][..]),
        ("search: {epochs: [1, 2]}\n", "", &["`search` needs the rules of all cells"]),
        ("{epochs: [1, 2]}", "{epochs: [2, 1]}", &["as in {epochs: [2, 5]}"]),
        ("search: {lr: [0.0001, 0.004]}", "search: {seed: [1]}", &["`seed` is set by"]),
        ("seeds: [0, 1]", "set: {eval_split: null}", &["a search chooses by the validation set"]),
    ] {
        let grid = SEARCHED.replacen(from, to, 1);
        assert_ne!(grid, SEARCHED);
        assert_says(&fail(&mut compare(&scratch(&grid), &[])), words);
    }
    let message = fail(&mut compare(&scratch(SEARCHED), &["--set", "lr=0.1"]));
    assert_says(&message, &["--set lr", "the search of cell `full` sets this key"]);
}

#[test]
fn a_trial_that_diverges_is_the_worst() {
    let grid = SEARCHED.replace("[0.0001, 0.004]", "[1.0e+30, 0.004]");
    let scratch = scratch(&grid);
    let said = succeed(&mut compare(&scratch, &["--only", "head"]));
    assert_says(&said, &["trial head-0-epochs1: FAILED", "chosen for head: lr=0.004"]);
    assert!(scratch.path("out/search/head-0-epochs1/diverged.txt").exists());
    // It is not tried again.
    let again = succeed(&mut compare(&scratch, &["--only", "head"]));
    assert!(!again.contains("trial head-0"), "{again}");
}
