//! Pseudo-labels by a fine-tuned model, through the program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::Path;
use std::process::Command;

use crate::common::{SAMPLES, Scratch, fail, stderr, succeed, tiny_model};
use fs_err as fs;
use serde_json::Value;

fn label(scratch: &Scratch, out: &str, further: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.arg("label").arg("--model").arg(scratch.path("model.safetensors"));
    command.arg("--data").arg(scratch.path("photos"));
    command.arg("--out").arg(scratch.path(out)).args(further);
    command
}

/// The photographs of the data, in folders of classes.
fn photos(scratch: &Scratch) {
    for index in 0..SAMPLES {
        let folder = scratch.path("photos").join(if index % 2 == 0 { "n01" } else { "n02" });
        fs::create_dir_all(&folder).unwrap();
        let name = format!("{index:03}.png");
        fs::copy(scratch.data().join("rgb").join(&name), folder.join(&name)).unwrap();
    }
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
                found.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    photos(&scratch);
    tiny_model::save(&scratch.path("model.safetensors"));
    scratch
}

#[test]
fn labels_are_those_of_predict_and_can_be_trained_on() {
    let scratch = scratch();
    let text = succeed(&mut label(&scratch, "labels", &[]));
    assert!(text.contains(&format!("{SAMPLES} frames labelled")), "{text}");
    assert!(text.contains("modalities:") && text.contains("divisor"), "{text}");
    let record = fs::read_to_string(scratch.path("labels").join("labels.json")).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["complete"], true);
    assert_eq!(record["tasks"]["depth"]["scale"], "metric");
    assert_eq!(record["tasks"]["depth"]["unit"], "m");
    assert_eq!(record["model"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(record["frames"]["samples"], SAMPLES);

    let mut predict = Command::new(env!("CARGO_BIN_EXE_multimae"));
    predict.arg("predict").arg("--model").arg(scratch.path("model.safetensors"));
    predict.arg("--input").arg(scratch.path("photos").join("n02"));
    succeed(predict.arg("--out").arg(scratch.path("predicted")));
    for task in ["depth", "semseg"] {
        let predicted = fs::read(scratch.path("predicted").join(task).join("003.png")).unwrap();
        let labelled = scratch.path("labels").join(task).join("n02").join("003.png");
        assert_eq!(fs::read(labelled).unwrap(), predicted, "{task}");
    }

    // The labels beside the photographs are data of pre-training, by the entries of the record.
    fs::rename(scratch.path("photos"), scratch.path("labels").join("rgb")).unwrap();
    let entry = |task: &str| {
        let of_file = &record["tasks"][task]["modality"];
        format!("modalities.{task}={of_file}")
    };
    let mut pretrain = Command::new(env!("CARGO_BIN_EXE_multimae"));
    pretrain.args(["pretrain", "--set", "epochs=1", "--set", "split=null", "--config"]);
    pretrain.arg(scratch.recipe()).args(["--set", &entry("depth"), "--set", &entry("semseg")]);
    pretrain.arg("--data").arg(scratch.path("labels")).arg("--out").arg(scratch.path("run"));
    succeed(&mut pretrain);
}

#[test]
fn missing_labels_are_made_and_others_left_alone() {
    let scratch = scratch();
    succeed(&mut label(&scratch, "whole", &[]));
    succeed(&mut label(&scratch, "labels", &[]));
    let dir = scratch.path("labels");
    // As if a process had been killed.
    fs::remove_file(dir.join("depth/n01/004.png")).unwrap();
    fs::remove_dir_all(dir.join("semseg/n02")).unwrap();
    let untouched = fs::metadata(dir.join("depth/n01/002.png")).unwrap().modified().unwrap();
    let text = succeed(&mut label(&scratch, "labels", &[]));
    assert!(text.contains("7 frames labelled, 5 had labels"), "{text}");
    assert_eq!(files(&dir), files(&scratch.path("whole")));
    let now = fs::metadata(dir.join("depth/n01/002.png")).unwrap().modified().unwrap();
    assert_eq!(now, untouched);
}

#[test]
fn several_processes_share_the_frames() {
    let scratch = scratch();
    succeed(&mut label(&scratch, "alone", &[]));
    let processes: Vec<_> =
        (0..3).map(|_| label(&scratch, "shared", &[]).spawn().unwrap()).collect();
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    assert_eq!(files(&scratch.path("alone")), files(&scratch.path("shared")));
}

#[test]
fn labels_of_different_origins_are_not_mixed() {
    let scratch = scratch();
    succeed(&mut label(&scratch, "labels", &[]));
    let message = fail(&mut label(&scratch, "labels", &["--flip"]));
    assert!(message.contains("flip false") && message.contains("another folder"), "{message}");
    fs::remove_file(scratch.path("photos/n01/000.png")).unwrap();
    let message = fail(&mut label(&scratch, "labels", &[]));
    assert!(message.contains("12 other frames"), "{message}");
    tiny_model::save_of_width(&scratch.path("model.safetensors"), 64);
    let message = fail(&mut label(&scratch, "labels", &[]));
    assert!(message.contains("another model"), "{message}");
    fs::create_dir_all(scratch.path("taken/depth")).unwrap();
    let message = fail(&mut label(&scratch, "taken", &[]));
    assert!(message.contains("without labels.json"), "{message}");
}

#[test]
fn a_bad_frame_does_not_stop_the_others() {
    let scratch = scratch();
    fs::write(scratch.path("photos/n01/004.png"), b"no picture").unwrap();
    let message = fail(&mut label(&scratch, "labels", &[]));
    assert!(message.contains("n01/004") && message.contains("1 frames could not"), "{message}");
    assert!(scratch.path("labels/depth/n01/006.png").is_file());
    assert!(!scratch.path("labels/depth/n01/004.png").exists());
}
