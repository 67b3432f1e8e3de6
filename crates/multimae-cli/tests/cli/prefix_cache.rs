//! Outputs of frozen blocks that are kept: a run does not depend on what the file holds, a damaged or foreign
//! one is not used, and nothing is kept where it cannot help.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]
#![cfg(unix)]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Scratch, fail, stderr, succeed};
use fs_err as fs;

const RECIPE: &str = "
out_domains: depth-semseg
modalities:
  depth: {divisor: 1000}
  semseg: {folder: label}
num_classes: 5
seg_reduce_zero_label: true
split: train
eval_split: val
model: {width: 32, depth: 3, heads: 2}
patch_size: 8
input_size: [24, 32]
output_adapter: light
heads:
  depth: {kind: light, width: 8, depth: 1, hooks: [0, 2]}
  semseg: {kind: light, width: 8, depth: 1, hooks: [2]}
tuning: prompts
prompts: {kind: rein, count: 4, rank: 2, map_rank: 4, first: 2}
cache_views: 2
batch_size: 2
update_freq: 2
epochs: 6
warmup_epochs: 0
lr: 0.002
num_workers: 1
log_freq: 1
log_images: 0
";

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    fs::write(scratch.path("recipe.yaml"), RECIPE).unwrap();
    fs::write(scratch.data().join("val.txt"), "001\n004\n009\n").unwrap();
    scratch
}

fn finetune(scratch: &Scratch, out: &str, further: &[&str]) -> Command {
    scratch.train("finetune", &scratch.path("recipe.yaml"), out, further)
}

fn caches(dir: &std::path::Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).map(|entries| entries.map(|entry| entry.unwrap().path()));
    entries.map(|entries| entries.collect()).unwrap_or_default()
}

#[test]
fn a_run_does_not_depend_on_what_is_kept() {
    let scratch = scratch();
    let shared = format!("cache_dir={}", scratch.path("shared").display());
    let shared = ["--set", shared.as_str()];
    let first = succeed(&mut finetune(&scratch, "cold", &shared));
    assert!(first.contains("prefix cache: outputs of the first 2 blocks for"), "{first}");
    assert!(first.contains("in 2 views, up to 0 MB in"), "{first}");
    let files = caches(&scratch.path("shared"));
    assert_eq!(files.len(), 1, "{files:?}");
    let content = fs::read(&files[0]).unwrap();

    // All of it is there before the first step.
    succeed(&mut finetune(&scratch, "warm", &shared));
    assert_eq!(scratch.tensors("warm"), scratch.tensors("cold"));
    assert_eq!(scratch.records("warm"), scratch.records("cold"));
    assert!(fs::read(&files[0]).unwrap() == content, "it was written anew");

    // A part of it: half of the records are damaged.
    let mut damaged = content.clone();
    let len = damaged.len();
    damaged[4096..4096 + (len - 4096) / 2].fill(0);
    fs::write(&files[0], &damaged).unwrap();
    succeed(&mut finetune(&scratch, "half", &shared));
    assert_eq!(scratch.tensors("half"), scratch.tensors("cold"));
    assert!(fs::read(&files[0]).unwrap() == content, "it was not mended");

    // Interrupted in its folder of its own, and resumed.
    let run = scratch.path("stopped");
    let slow = ["--set", "epochs=60", "--set", "save_ckpt_freq=1000", "--set", "eval_freq=1000"];
    succeed(&mut finetune(&scratch, "whole", &[&slow[..], &shared].concat()));
    let child = finetune(&scratch, "stopped", &slow).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |text| text.lines().count()) < 9 {
        assert!(start.elapsed() < Duration::from_secs(120), "waited in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let resumed = Command::new(env!("CARGO_BIN_EXE_multimae"))
        .args(["finetune", "--resume", "--out"])
        .arg(&run)
        .output()
        .unwrap();
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert!(stderr(&resumed).contains("resuming at step"), "{}", stderr(&resumed));
    assert_eq!(scratch.tensors("stopped"), scratch.tensors("whole"));
    assert_eq!(caches(&run.join("prefix-cache")).len(), 1);
}

#[test]
fn what_is_stale_is_not_used_and_what_is_cut_off_is_refused() {
    let scratch = scratch();
    let dir = scratch.path("shared");
    let shared = format!("cache_dir={}", dir.display());
    let train = |out: &str, further: &[&str]| {
        finetune(&scratch, out, &[&["--set", shared.as_str()], further].concat())
    };
    succeed(&mut train("first", &[]));
    let first = caches(&dir);
    // Other weights (there is no backbone: they begin with the seed), other views, other blocks.
    for (out, change) in
        [("seed", "seed=3"), ("views", "scale_jitter=[1.0, 1.0]"), ("blocks", "prompts.first=1")]
    {
        let before = caches(&dir).len();
        succeed(&mut train(out, &["--set", change]));
        assert_eq!(caches(&dir).len(), before + 1, "{change}");
    }
    let content = fs::read(&first[0]).unwrap();
    fs::write(&first[0], &content[..content.len() - 9]).unwrap();
    let message = fail(&mut train("again", &[]));
    assert!(message.contains(".prefix") && message.contains("delete it"), "{message}");
}

#[test]
fn nothing_is_kept_where_it_cannot_help() {
    let scratch = scratch();
    for change in ["prompts.first=0", "tuning=full"] {
        let out = change.replace('=', "-");
        let said = succeed(&mut finetune(&scratch, &out, &["--set", change]));
        assert!(said.contains("every frame has 2 views, and nothing is kept"), "{said}");
        assert!(!scratch.path(&out).join("prefix-cache").exists());
    }
}
