//! A run that is interrupted, in whatever way, ends with the weights of one that is not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]
#![cfg(unix)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Scratch, stderr, succeed};
use fs_err as fs;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};

/// The kills of one run.
const KILLS: u64 = 20;

fn assert_same_run(scratch: &Scratch, run: &str, undisturbed: &str) {
    assert_eq!(scratch.tensors(run), scratch.tensors(undisturbed), "weights differ");
    assert_eq!(scratch.records(run), scratch.records(undisturbed));
}

fn checkpoints(run: &Path) -> usize {
    fs::read_dir(run.join("checkpoints")).map_or(0, Iterator::count)
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(120), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn spawn(command: &mut Command) -> Child {
    command.stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn ctrl_c_writes_a_checkpoint_in_the_middle_of_an_epoch() {
    let scratch = Scratch::new();
    let longer = ["--set", "epochs=40", "--set", "save_ckpt_freq=1000"];
    succeed(&mut scratch.pretrain("whole", &longer));
    let run = scratch.path("stopped");
    let child = spawn(&mut scratch.pretrain("stopped", &longer));
    wait_for("a few steps", || {
        fs::read_to_string(run.join("metrics.jsonl")).is_ok_and(|text| text.lines().count() > 9)
    });
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("--resume"), "{}", stderr(&output));
    assert!(run.join("report.html").exists());
    let resumed = Command::new(env!("CARGO_BIN_EXE_multimae"))
        .args(["pretrain", "--resume", "--out"])
        .arg(&run)
        .output()
        .unwrap();
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert!(stderr(&resumed).contains("resuming at step"), "{}", stderr(&resumed));
    assert_same_run(&scratch, "stopped", "whole");
}

#[test]
fn sigkill_at_random_moments() {
    let scratch = Scratch::new();
    // A checkpoint after every step: many kills meet one being written.
    let often = ["--set", "epochs=60", "--set", "save_ckpt_steps=1"];
    let start = Instant::now();
    succeed(&mut scratch.pretrain("whole", &often));
    let whole = start.elapsed();
    let run = scratch.path("killed");
    let mut kills = 0;
    let mut attempts = 0_u64;
    loop {
        attempts += 1;
        assert!(attempts < 200, "the run never ends");
        let mut arguments = often.to_vec();
        if run.join("recipe.yaml").exists() {
            arguments.push("--resume");
        }
        let mut child = spawn(&mut scratch.pretrain("killed", &arguments));
        if kills < KILLS {
            // Moments spread evenly over a part of the run, in an order without pattern.
            let moment = whole.mul_f64(0.02 + 0.25 * ((attempts * 13) % 20) as f64 / 20.0);
            std::thread::sleep(moment);
            if child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
                continue;
            }
        }
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "after {kills} kills: {}", stderr(&output));
        if kills >= KILLS {
            break;
        }
        // It ended before enough kills: begin again.
        fs::remove_dir_all(&run).unwrap();
    }
    assert_same_run(&scratch, "killed", "whole");
    assert!(checkpoints(&run) > 0);
    let left: Vec<_> = fs::read_dir(run.join("checkpoints"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().to_string_lossy().contains(".part"))
        .collect();
    assert!(left.is_empty(), "half-written files stay: {left:?}");
}

/// Takes a run back to the checkpoint of a step: what a kill right after it leaves behind.
fn kill_after(run: &Path, step: u64) {
    fs::remove_file(run.join("model.safetensors")).unwrap();
    for entry in fs::read_dir(run.join("checkpoints")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if name.strip_prefix("step-").and_then(|of| of.parse::<u64>().ok()).unwrap() > step {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_run_is_resumed_on_both_sides_of_a_change_of_size_and_masks() {
    let scratch = Scratch::new();
    // 18 steps: the first 7 at a quarter of the patches, the masks change once more at step 12.
    let scheduled = [
        "--set",
        "input_size_schedule=[[0, [16, 16]], [0.4, [24, 32]]]",
        "--set",
        "num_encoded_tokens_schedule=[[0, 5], [0.65, 12]]",
        "--set",
        "save_ckpt_steps=1",
        "--set",
        "keep_ckpt=18",
    ];
    let message = succeed(&mut scratch.pretrain("whole", &scheduled));
    let words = "steps 0 to 6: images of 16 x 16 (height x width), 5 of 12 tokens visible";
    assert!(message.contains(words), "{message}");
    for step in [6, 7, 8, 12] {
        let run = format!("killed-{step}");
        succeed(&mut scratch.pretrain(&run, &scheduled));
        kill_after(&scratch.path(&run), step);
        let message =
            succeed(&mut scratch.pretrain(&run, &[scheduled.as_slice(), &["--resume"]].concat()));
        assert!(message.contains(&format!("resuming at step {step}")), "{message}");
        assert_same_run(&scratch, &run, "whole");
    }
    let other = ["--resume", "--set", "num_encoded_tokens_schedule=null"];
    let other = [scheduled.as_slice(), &other].concat();
    let message = crate::common::fail(&mut scratch.pretrain("whole", &other));
    assert!(message.contains("`num_encoded_tokens_schedule` was [[0.0,5],[0.65,12]], now null"));
}

#[test]
fn a_run_is_not_overwritten_nor_continued_with_another_recipe() {
    let scratch = Scratch::new();
    succeed(&mut scratch.pretrain("run", &[]));
    let again = crate::common::fail(&mut scratch.pretrain("run", &[]));
    assert!(again.contains("--resume"), "{again}");
    let other =
        crate::common::fail(&mut scratch.pretrain("run", &["--resume", "--set", "blr=0.2"]));
    assert!(other.contains("`blr` was 0.1, now 0.2"), "{other}");
    let longer =
        crate::common::fail(&mut scratch.pretrain("run", &["--resume", "--set", "epochs=8"]));
    assert!(longer.contains("--extend-to 8"), "{longer}");
    let none = crate::common::fail(&mut scratch.pretrain("nothing", &["--resume"]));
    assert!(none.contains("holds no run to resume"), "{none}");
    // A finished run has nothing left to do.
    succeed(&mut scratch.pretrain("run", &["--resume"]));
}

/// The steps of the training records.
fn steps(scratch: &Scratch, run: &str) -> Vec<u64> {
    let records = scratch.records(run);
    let training = records.iter().filter(|record| record["kind"] == "train");
    training.map(|record| record["step"].as_u64().unwrap()).collect()
}

#[test]
fn a_finished_run_is_extended_by_an_option_that_states_the_learning_rates() {
    let scratch = Scratch::new();
    let message = succeed(&mut scratch.pretrain("run", &[]));
    assert!(message.contains("done at step 18 of 18"), "{message}");
    // Without samples to measure it on, the newest model is the best.
    assert!(!scratch.path("run").join("checkpoints/best.safetensors").exists());
    let extend = ["--resume", "--extend-to", "8"];
    let message = succeed(&mut scratch.pretrain("run", &extend));
    for words in ["extended from 6 to 8 epochs", "that of the next is", "done at step 24 of 24"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert_eq!(steps(&scratch, "run"), (0..24).collect::<Vec<u64>>());
    // The learning rate is that of a run of 8 epochs from the first new step.
    succeed(&mut scratch.pretrain("whole", &["--set", "epochs=8"]));
    let rates = |run: &str| -> Vec<f64> {
        scratch.records(run).iter().filter_map(|record| record["lr"].as_f64()).collect()
    };
    assert_eq!(rates("run")[18..], rates("whole")[18..]);
    assert_ne!(rates("run")[..18], rates("whole")[..18]);
    // It is a run of 8 epochs now, and asking twice changes nothing.
    let message = succeed(&mut scratch.pretrain("run", &extend));
    assert!(message.contains("done at step 24 of 24"), "{message}");
    let shorter =
        crate::common::fail(&mut scratch.pretrain("run", &["--resume", "--extend-to", "7"]));
    assert!(shorter.contains("`epochs` was 8, now 7"), "{shorter}");
}

#[test]
fn changed_data_is_named_in_one_line_when_a_run_is_resumed() {
    let scratch = Scratch::new();
    succeed(&mut scratch.pretrain("run", &[]));
    let data = scratch.data();
    let list = fs::read_to_string(data.join("train.txt")).unwrap();
    let refused = |words: &str| {
        let message = crate::common::fail(&mut scratch.pretrain("run", &["--resume"]));
        let error = message.lines().find(|line| line.starts_with("error: ")).unwrap();
        assert!(error.contains(words) && error.len() < 400, "{words}: {message}");
        assert_eq!(message.lines().last(), Some(error), "{message}");
    };
    fs::write(data.join("train.txt"), list.lines().skip(1).collect::<Vec<_>>().join("\n")).unwrap();
    refused("the one that the run was begun with: it has 11 samples, and had 12");
    fs::write(data.join("train.txt"), list.lines().rev().collect::<Vec<_>>().join("\n")).unwrap();
    refused("the names of its samples, or their order");
    fs::write(data.join("train.txt"), list).unwrap();
    // The same picture in more bytes: a sample that was mended.
    let path = data.join("rgb/003.png");
    let picture = image::open(&path).unwrap();
    let encoder = PngEncoder::new_with_quality(
        fs::File::create(&path).unwrap(),
        CompressionType::Uncompressed,
        FilterType::NoFilter,
    );
    picture.write_with_encoder(encoder).unwrap();
    refused("the files of `rgb` have ");
    let accept = ["--resume", "--accept-changed-files"];
    let message = succeed(&mut scratch.pretrain("run", &accept));
    assert!(message.contains("the training data has changed: the files of `rgb`"), "{message}");
    // The data may lie elsewhere.
    let moved = scratch.path("moved");
    fs::rename(scratch.data(), &moved).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.args(["pretrain", "--resume", "--out"]).arg(scratch.path("run"));
    succeed(command.arg("--data").arg(&moved).arg("--accept-changed-files"));
}

#[test]
fn a_damaged_newest_checkpoint_falls_back_to_the_one_before() {
    let scratch = Scratch::new();
    succeed(&mut scratch.pretrain("whole", &[]));
    succeed(&mut scratch.pretrain("run", &[]));
    let newest = scratch.path("run").join("checkpoints/step-000000018.safetensors");
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap();
    let message = succeed(&mut scratch.pretrain("run", &["--resume"]));
    for words in ["step-000000018.safetensors", "is damaged", "resuming at step 15"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert_same_run(&scratch, "run", "whole");
}
