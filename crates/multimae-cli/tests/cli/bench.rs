//! The benchmark: our side of it, and the handling of the other side.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{fail, stderr, succeed};
use fs_err as fs;
use serde_json::Value;

fn bench(out: &Path, further: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.args(["bench", "--quick", "--threads", "1", "--rounds", "2", "--out"]).arg(out);
    command.args(further);
    command
}

/// A stand-in for Python with PyTorch, that says it has computed `loss`.
fn python(dir: &Path, loss: &str) -> PathBuf {
    let path = dir.join("python");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = -c ] && echo 2.0 && exit\n\
         echo '{{\"ready\": true, \"loss\": {loss}}}'\n\
         while read -r word; do\n\
         [ \"$word\" = step ] && echo '{{\"seconds\": 1000.0, \"loss\": 1.0}}'\n\
         [ \"$word\" = end ] && echo '{{\"peak_memory\": 1000000000000}}' && exit\ndone\n"
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.join("worker.py"), "").unwrap();
    path
}

fn results(out: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(out.join("results.json")).unwrap()).unwrap()
}

#[test]
fn every_work_is_timed() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    succeed(&mut bench(&out, &["--alone", "--grow"]));
    let results = results(&out);
    let measured = results["measured"].as_array().unwrap();
    assert_eq!(measured.len(), 8);
    for measured in measured {
        let times = &measured["programs"]["multimae"];
        let seconds = times["seconds"].as_array().unwrap();
        assert!(seconds.len() == 2 && seconds.iter().all(|s| s.as_f64().unwrap() > 0.0));
        let startup = measured["case"]["work"] == "startup";
        assert_eq!(times["first_loss"].is_f64(), !startup, "{measured}");
    }
    let axes: Vec<&Value> =
        results["growth"].as_array().unwrap().iter().map(|growth| &growth["axis"]).collect();
    assert_eq!(axes, ["batch", "visible tokens", "threads", "batch", "prompts", "threads"]);
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("prompts-small over prompts") && report.contains("inference-base-8"));
    assert!(fs::read_to_string(out.join("table.md")).unwrap().contains("| joint-base"));
}

#[test]
fn training_is_timed_with_each_storage_of_the_moments() {
    let dir = tempfile::tempdir().unwrap();
    for storage in ["bf16", "8bit"] {
        let out = dir.path().join(storage);
        let only = ["--alone", "--only", "pretrain-small,prompts-base"];
        succeed(&mut bench(&out, &[&only[..], &["--optimizer-state", storage]].concat()));
        let results = results(&out);
        assert_eq!(results["about"]["Optimizer state"], storage);
        for measured in results["measured"].as_array().unwrap() {
            assert!(measured["programs"]["multimae"]["first_loss"].is_f64(), "{measured}");
        }
    }
    let unknown = bench(dir.path(), &["--alone", "--optimizer-state", "fp16"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    let message = stderr(&unknown);
    assert!(message.contains("fp32 | bf16 | 8bit"), "{message}");
}

#[test]
fn both_programs_must_compute_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let only = ["--only", "pretrain-small"];
    succeed(&mut bench(&out, &[&only[..], &["--alone"]].concat()));
    let first = &results(&out)["measured"][0]["programs"]["multimae"]["first_loss"];
    let other = |loss: &str| {
        let python = python(dir.path(), loss).to_str().unwrap().to_owned();
        let scripts = dir.path().to_str().unwrap().to_owned();
        bench(&out, &[&only[..], &["--python", &python, "--scripts", &scripts]].concat())
    };
    let lines = succeed(&mut other(&first.to_string()));
    assert!(lines.contains("PyTorch takes"), "{lines}");
    let table = fs::read_to_string(out.join("table.md")).unwrap();
    assert!(table.contains("PyTorch") && table.contains("1000000 (1000000 to 1000000)"), "{table}");
    let message = fail(&mut other("17.0"));
    assert!(message.contains("not the same work") && message.contains("17"), "{message}");
    let message = fail(&mut other("gone"));
    assert!(message.contains("no JSON"), "{message}");
}

#[test]
fn engines_are_timed_in_inference_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (out, gone) = (dir.path().join("out"), dir.path().join("gone"));
    let only = ["--only", "inference-base-1,heads-base"];
    succeed(&mut bench(&out, &[&only[..], &["--alone"]].concat()));
    let first = &results(&out)["measured"][0]["programs"]["multimae"]["first_loss"];
    let engine = python(dir.path(), &first.to_string()).to_str().unwrap().to_owned();
    let (scripts, gone) = (dir.path().to_str().unwrap(), gone.to_str().unwrap());
    let engines = ["--onnxruntime", &engine, "--openvino", &engine, "--onnx-scripts", scripts];
    let with = |further: &[&str]| bench(&out, &[&only[..], &engines, further].concat());
    let lines = succeed(&mut with(&["--python", gone]));
    assert!(lines.contains("inference-base-1: OpenVINO takes"), "{lines}");
    let timed = results(&out);
    let programs = |case: usize| -> Vec<&String> {
        timed["measured"][case]["programs"].as_object().unwrap().keys().collect()
    };
    assert_eq!(programs(0), ["multimae", "ONNX Runtime", "OpenVINO"]);
    assert_eq!(programs(1), ["multimae"]);
    assert_eq!(timed["about"]["ONNX Runtime"], "2.0");

    let message = fail(&mut with(&["--precision", "bf16"]));
    assert!(message.contains("fp32 only"), "{message}");
    let message = fail(&mut bench(&out, &["--openvino", gone, "--onnx-scripts", scripts]));
    assert!(message.contains("--openvino") && message.contains("gone"), "{message}");
    let message = fail(&mut bench(&out, &["--openvino", &engine, "--onnx-scripts", gone]));
    assert!(message.contains("benches/onnxruntime"), "{message}");
    // A Python without the package.
    let message = fail(&mut bench(&out, &["--openvino", "false", "--onnx-scripts", scripts]));
    assert!(message.contains("cannot import openvino"), "{message}");
}

#[test]
fn what_is_missing_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let message = fail(&mut bench(&out, &["--only", "loading"]));
    assert!(message.contains("--data") && message.contains("joint-base"), "{message}");
    let gone = dir.path().join("gone");
    let lines = succeed(&mut bench(
        &out,
        &["--only", "pretrain-small", "--python", gone.to_str().unwrap()],
    ));
    assert!(lines.contains("has no PyTorch"), "{lines}");
    let message = fail(Command::new(env!("CARGO_BIN_EXE_multimae")).arg("bench-worker").arg(&gone));
    assert!(message.contains("case.json"), "{message}");
}
