//! Pre-training on several data sets, through the program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{SAMPLES, Scratch, fail, stderr, succeed};
use fs_err as fs;
use serde_json::Value;

fn pretrain(scratch: &Scratch, out: &str, further: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.arg("pretrain").arg("--config").arg(scratch.recipe());
    command.arg("--out").arg(scratch.path(out)).args(further);
    command
}

/// A second folder with RGB and labels alone, and a recipe of both.
fn mixture() -> Scratch {
    let scratch = Scratch::new();
    let second = scratch.path("second");
    for (from, to) in [("rgb", "image"), ("label", "label")] {
        fs::create_dir_all(second.join(to)).unwrap();
        for index in 0..5 {
            let name = format!("{index:03}.png");
            let file = scratch.data().join(from).join(&name);
            fs::copy(file, second.join(to).join(&name)).unwrap();
        }
    }
    let recipe = fs::read_to_string(scratch.recipe()).unwrap().replace("split: train\n", "");
    let sets = format!(
        "data_sets:\n- {{name: whole, path: {}, split: train}}\n- path: {}\n  weight: 0.6\n  \
         modalities: {{rgb: {{folder: image}}, semseg: {{}}}}\n",
        scratch.data().display(),
        second.display()
    );
    fs::write(scratch.recipe(), recipe + &sets).unwrap();
    scratch
}

fn numbers(record: &Value, key: &str) -> Option<f64> {
    record.get(key).and_then(Value::as_f64)
}

#[test]
fn losses_and_samples_are_logged_by_set() {
    let scratch = mixture();
    succeed(&mut pretrain(&scratch, "run", &[]));
    let records = scratch.records("run");
    let steps: Vec<&Value> = records.iter().filter(|r| r["kind"] == "train").collect();
    // 12 + 3 samples in batches of 4.
    assert_eq!(steps.len(), 6 * 3);
    let samples = |set: &str| -> f64 {
        steps.iter().filter_map(|step| numbers(step, &format!("{set}/samples"))).sum()
    };
    assert_eq!(samples("whole") + samples("second"), (6 * 3 * 4) as f64);
    assert!(samples("second") >= 6.0);
    for step in &steps {
        let has = |key: &str| step.get(key).is_some();
        assert!(!has("second/depth_loss"), "a set without depth has a loss of it: {step}");
        if let Some(count) = numbers(step, "whole/samples") {
            assert!(count <= SAMPLES as f64 && has("whole/depth_loss"), "{step}");
        }
    }
    assert!(steps.iter().any(|step| step.get("second/rgb_loss").is_some()));
}

#[test]
fn a_stopped_mixture_resumes_to_the_same_weights() {
    let scratch = mixture();
    let longer = ["--set", "epochs=30", "--set", "save_ckpt_freq=1000"];
    succeed(&mut pretrain(&scratch, "whole", &longer));
    let run = scratch.path("stopped");
    let mut command = pretrain(&scratch, "stopped", &longer);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    let lines = || fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |t| t.lines().count());
    while lines() < 10 {
        assert!(start.elapsed() < Duration::from_secs(120), "waited in vain for a few steps");
        std::thread::sleep(Duration::from_millis(2));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    succeed(&mut pretrain(&scratch, "stopped", &[&longer[..], &["--resume"]].concat()));
    assert_eq!(scratch.tensors("stopped"), scratch.tensors("whole"));
    assert_eq!(scratch.records("stopped"), scratch.records("whole"));
    // Another weight is another run.
    let recipe = fs::read_to_string(scratch.recipe()).unwrap();
    fs::write(scratch.recipe(), recipe.replace("weight: 0.6", "weight: 1.0")).unwrap();
    let message = fail(&mut pretrain(&scratch, "stopped", &[&longer[..], &["--resume"]].concat()));
    assert!(message.contains("data_sets"), "{message}");
}

#[test]
fn impossible_mixtures_are_explained_before_training() {
    let scratch = mixture();
    let recipe = fs::read_to_string(scratch.recipe()).unwrap();
    let cases = [
        ("modalities: {rgb: {folder: image}, semseg: {}}", "modalities: [thermal]", "`thermal`"),
        ("weight: 0.6", "weight: 0.01", "at least one"),
        ("semseg: {}", "semseg: {classes: 7}", "differs from the recipe's for the model"),
        ("semseg: {}", "semseg: {ignore: 3}", "one void label"),
    ];
    for (from, to, expected) in cases {
        fs::write(scratch.recipe(), recipe.replace(from, to)).unwrap();
        let message = fail(&mut pretrain(&scratch, "run", &[]));
        assert!(message.contains(expected), "{to}: {message}");
        assert!(!scratch.path("run").join("checkpoints").exists());
    }
    fs::write(scratch.recipe(), &recipe).unwrap();
    let both = fail(pretrain(&scratch, "run", &[]).arg("--data").arg(scratch.data()));
    assert!(both.contains("`data_path` and `data_sets`"), "{both}");
    let many = fail(&mut pretrain(&scratch, "run", &["--set", "num_encoded_tokens=30"]));
    assert!(many.contains("lacks modalities") && many.contains("num_encoded_tokens"), "{many}");
}
