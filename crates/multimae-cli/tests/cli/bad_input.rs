//! Each kind of bad input gets its own clear error, and leaves nothing behind that blocks the next
//! attempt.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use crate::common::{Scratch, fail, succeed};
use fs_err as fs;
use image::{GrayImage, Luma};

fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn a_broken_png() {
    let scratch = Scratch::new();
    let path = scratch.data().join("rgb/003.png");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let message = fail(&mut scratch.pretrain("run", &[]));
    assert_says(&message, &["rgb", "003.png"]);
    // The same run goes through when it may leave the sample out, and says how many it left out.
    let message = succeed(&mut scratch.pretrain("skipping", &["--set", "bad_samples=skip"]));
    assert_says(&message, &["left out: ", "003", "1 samples left out as bad"]);
    let report = fs::read_to_string(scratch.path("skipping").join("report.html")).unwrap();
    assert_says(&report, &["Samples left out as bad", "003"]);
}

#[test]
fn a_missing_depth_file() {
    let scratch = Scratch::new();
    fs::remove_file(scratch.data().join("depth/005.png")).unwrap();
    let message = fail(&mut scratch.pretrain("run", &[]));
    assert_says(&message, &["`depth`: 1 sample without a file", "005"]);
    assert!(!scratch.path("run").join("recipe.yaml").exists(), "no run was begun");
}

#[test]
fn a_label_beyond_the_class_count() {
    let scratch = Scratch::new();
    let path = scratch.data().join("label/007.png");
    GrayImage::from_pixel(48, 40, Luma([9])).save(&path).unwrap();
    let message = fail(&mut scratch.pretrain("run", &[]));
    assert_says(&message, &["007", "semseg", "9", "6 classes"]);
}

#[test]
fn a_misspelt_key() {
    let scratch = Scratch::new();
    let message = fail(&mut scratch.pretrain("run", &["--set", "epohcs=3"]));
    assert_says(&message, &["`epohcs`", "did you mean `epochs`"]);
    let message = fail(&mut scratch.pretrain("run", &["--set", "modalities.depth.divider=3"]));
    assert_says(&message, &["depth", "divider", "divisor"]);
}

#[test]
fn a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint() {
    let scratch = Scratch::new();
    let further = ["--set", "blr=1e30", "--set", "save_ckpt_steps=1", "--set", "warmup_epochs=0"];
    let message = fail(&mut scratch.pretrain("run", &further));
    assert_says(&message, &["step 1", "epoch 0", "samples: 0", "blr"]);
    let checkpoints = fs::read_dir(scratch.path("run").join("checkpoints")).unwrap().count();
    assert!(checkpoints > 0, "the checkpoint of step 1 stays");
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_multimae"))
        .args(["pretrain", "--no-such-flag"])
        .output()
        .unwrap()
        .status;
    assert_eq!(status.code(), Some(2));
}

#[test]
fn a_new_modality_needs_an_entry_and_no_code() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.data().join("normal")).unwrap();
    for i in 0..crate::common::SAMPLES {
        let name = format!("{i:03}.png");
        fs::copy(scratch.data().join("rgb").join(&name), scratch.data().join("normal").join(&name))
            .unwrap();
    }
    let domains = "in_domains=rgb-depth-semseg-normal";
    let further = [
        "--set",
        domains,
        "--set",
        "out_domains=depth-normal",
        "--set",
        "epochs=1",
        "--set",
        "modalities.normal={channels: 3, divisor: 127.5, mean: [1, 1, 1], loss: l1}",
    ];
    let message = succeed(&mut scratch.pretrain("run", &further));
    assert_says(&message, &["normal"]);
}
