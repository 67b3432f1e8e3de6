//! Files of the first format (version 0.1.0 before crates were split) still load: run folders,
//! models and adapters in `fixtures/format-v1`, made by that program from generated rooms.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::succeed;
use fs_err as fs;
use multimae::weights::read_weights;
use multimae_train::run::RunResult;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-v1")
}

/// Copies a folder with its files and folders.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn multimae(dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    succeed(command.current_dir(dir).args(arguments))
}

/// The values behind the header of an `.npy` file.
fn values(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[10 + header..].to_vec()
}

fn floats(path: &Path) -> Vec<f32> {
    values(path).as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn old_models_and_adapters_predict_what_they_did() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    copy(&fixtures(), dir);
    for (name, model) in [
        ("fine", vec!["--model", "finetune"]),
        ("prompts", vec!["--model", "pretrain", "--adapter", "prompts/adapter.safetensors"]),
        ("pool", vec!["--model", "pretrain", "--adapter", "pool/adapter.safetensors"]),
    ] {
        let out = format!("out-{name}");
        let tail = ["--input", "frame.png", "--out", &out];
        multimae(dir, &[&["predict"], model.as_slice(), &tail].concat());
        let depth = floats(&dir.join(&out).join("depth/frame.npy"));
        let expected = floats(&dir.join("expected").join(name).join("depth.npy"));
        assert_eq!(depth.len(), expected.len());
        for (got, expected) in depth.iter().zip(&expected) {
            assert!((got - expected).abs() < 1e-4, "{name}: {got} {expected}");
        }
        let labels = values(&dir.join(&out).join("semseg/frame.npy"));
        let expected = values(&dir.join("expected").join(name).join("semseg.npy"));
        let differing = labels.iter().zip(&expected).filter(|(a, b)| a != b).count();
        // Logits that are nearly equal may change places on another processor.
        assert!(differing * 100 <= labels.len(), "{name}: {differing} labels differ");
    }
}

#[test]
fn old_runs_are_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    copy(&fixtures(), dir);
    multimae(dir, &["synth", "--out", "rooms", "--count", "12", "--size", "64x48"]);
    for (command, run) in [("pretrain", "pretrain"), ("finetune", "finetune")] {
        let finished = read_weights(&dir.join(run).join("model.safetensors")).unwrap().weights;
        // The checkpoint is that of the first of two epochs.
        fs::remove_file(dir.join(run).join("model.safetensors")).unwrap();
        let message = multimae(dir, &[command, "--out", run, "--data", "rooms", "--resume"]);
        assert!(message.contains("recorded no names and sizes of its data"), "{message}");
        let resumed = read_weights(&dir.join(run).join("model.safetensors")).unwrap().weights;
        assert_eq!(resumed.len(), finished.len());
        for (name, data) in &finished {
            let pairs = data.iter::<f32>().zip(resumed[name].iter::<f32>());
            let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
            assert!(worst < 1e-4, "{run}: {name} differs by {worst}");
        }
    }
    let result = RunResult::read(&dir.join("finetune/result.json")).unwrap();
    assert_eq!(result.steps, 4);
}
