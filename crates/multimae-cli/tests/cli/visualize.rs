//! Figures of models.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::PathBuf;
use std::process::Command;

use crate::common::{Scratch, fail, succeed};
use fs_err as fs;

/// A pre-trained run in `run`.
fn trained() -> Scratch {
    let scratch = Scratch::new();
    succeed(&mut scratch.pretrain("run", &[]));
    scratch
}

fn visualize(scratch: &Scratch, out: &str, further: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.arg("visualize").arg("--model").arg(scratch.path("run"));
    command.arg("--out").arg(scratch.path(out)).args(further);
    command
}

fn whole(scratch: &Scratch, out: &str, further: &[&str]) -> Command {
    let mut command = visualize(scratch, out, further);
    command.arg("--input").arg(scratch.data());
    command
}

/// The files of a folder, by name.
fn files(scratch: &Scratch, out: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(scratch.path(out)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn bytes(scratch: &Scratch, out: &str) -> Vec<Vec<u8>> {
    files(scratch, out).iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn the_seed_chooses_the_masks() {
    let scratch = trained();
    succeed(&mut whole(&scratch, "a", &["--frames", "2"]));
    succeed(&mut whole(&scratch, "b", &["--frames", "2"]));
    succeed(&mut whole(&scratch, "c", &["--frames", "2", "--seed", "1"]));
    assert_eq!(bytes(&scratch, "a").len(), 2);
    assert!(bytes(&scratch, "a") == bytes(&scratch, "b"));
    assert!(bytes(&scratch, "a") != bytes(&scratch, "c"));
    let again = fail(&mut whole(&scratch, "a", &["--frames", "2"]));
    assert!(again.contains("--force"), "{again}");
}

#[test]
fn what_is_not_visible_does_not_count() {
    let scratch = trained();
    let rgb = files(&scratch, "data/rgb").remove(0);
    let depth = files(&scratch, "data/depth").remove(0);
    let visible = ["--patches", "rgb=0,2-3", "--arrays", "--as-predicted"];
    let mut alone = visualize(&scratch, "alone", &visible);
    succeed(alone.arg("--input").arg(&rgb));
    let mut both = visualize(&scratch, "both", &visible);
    let named = |name: &str, path: &PathBuf| format!("{name}={}", path.display());
    succeed(both.args(["--input", &named("rgb", &rgb), "--input", &named("depth", &depth)]));
    // The depth that is there and hidden changes no prediction.
    let arrays = |out: &str| -> Vec<Vec<u8>> {
        let all = files(&scratch, out).into_iter();
        let arrays = all.filter(|path| path.extension().is_some_and(|e| e == "npy"));
        arrays.map(|path| fs::read(path).unwrap()).collect()
    };
    assert!(arrays("alone").len() >= 2);
    assert!(arrays("alone") == arrays("both"));
    let mut seen = visualize(&scratch, "seen", &["--patches", "depth=1"]);
    seen.args(visible).args(["--input", &named("rgb", &rgb), "--input", &named("depth", &depth)]);
    succeed(&mut seen);
    assert!(arrays("seen") != arrays("both"));
}

#[test]
fn impossible_choices_are_said() {
    let scratch = trained();
    let rgb = files(&scratch, "data/rgb").remove(0).to_string_lossy().into_owned();
    let says = |further: &[&str]| {
        let text = fail(&mut visualize(&scratch, "none", &[&["--input", &rgb], further].concat()));
        assert!(!scratch.path("none").exists(), "something was written");
        text
    };
    assert!(says(&["--patches", "rgb=9999"]).contains("has no patch 9999"));
    assert!(says(&["--patches", "heat=1"]).contains("no input `heat`"));
    assert!(says(&["--patches", "depth=1"]).contains("--input depth=FILE"));
    assert!(says(&["--visible", "rgb=0"]).contains("no patch is visible"));
    assert!(says(&["--visible", "rgb=9999"]).contains("it has"));
    assert!(says(&["--visible", "rgb"]).contains("MODALITY=NUMBER"));
    assert!(says(&["--patches", "rgb=5-2"]).contains("no range"));
    assert!(says(&["--usage"]).contains("--adapter"));
}

#[test]
fn prompts_and_pools_are_drawn() {
    let scratch = trained();
    let recipe = scratch.path("tune.yaml");
    let text = "in_domains: rgb\nout_domains: semseg\nmodel: {width: 32, depth: 2, heads: 2}\n\
                input_size: [24, 32]\npatch_size: 8\noutput_adapter: light\nepochs: 1\n\
                warmup_epochs: 0\nbatch_size: 4\nnum_classes: 6\nlr: 0.001\nsplit: train\n\
                modalities: {semseg: {folder: label}}\n";
    fs::write(&recipe, text).unwrap();
    let run = format!("finetune={}", scratch.path("run").display());
    for (name, prompts) in [
        ("deep", "{kind: deep, count: 3}"),
        ("pool", "{kind: l2p, entries: 4, length: 2, top_n: 2}"),
        ("rein", "{kind: rein, count: 12, rank: 2, map_rank: 4}"),
    ] {
        let prompts = format!("prompts={prompts}");
        let set = ["--set", &run, "--set", "tuning=prompts", "--set", &prompts];
        succeed(&mut scratch.train("finetune", &recipe, name, &set));
    }
    let adapter = |name: &str| scratch.path(name).join("adapter.safetensors").display().to_string();
    let mut deep = whole(&scratch, "attention", &["--frames", "1", "--blocks", "0,1", "--each"]);
    succeed(deep.args(["--adapter", &adapter("deep")]));
    assert_eq!(files(&scratch, "attention").len(), 1);
    // A row for each of the entries that differ most, or for all of them.
    let height = |out: &str, more: &[&str]| {
        let mut entries =
            whole(&scratch, out, &[&["--frames", "1", "--blocks", "1"], more].concat());
        succeed(entries.args(["--adapter", &adapter("rein")]));
        image::open(&files(&scratch, out)[0]).unwrap().height()
    };
    let (some, all) = (height("entries", &[]), height("all-entries", &["--each"]));
    assert!(all > some * 5 / 4, "{all} {some}");
    let mut none = whole(&scratch, "none", &["--blocks", "7"]);
    assert!(fail(none.args(["--adapter", &adapter("deep")])).contains("no block 7"));
    let mut usage = whole(&scratch, "usage", &["--usage"]);
    succeed(usage.args(["--adapter", &adapter("pool")]));
    let json = fs::read_to_string(scratch.path("usage/usage.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["shared"]["overall"]["samples"], crate::common::SAMPLES);
    assert!(scratch.path("usage/usage.png").is_file());
    let mut no_pool = whole(&scratch, "none", &["--usage"]);
    assert!(fail(no_pool.args(["--adapter", &adapter("deep")])).contains("no prompt pool"));
}
