//! The demo, from nothing to its report.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::Path;
use std::process::Command;

use crate::common::{fail, succeed};
use fs_err as fs;

fn demo(dir: &Path, further: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.current_dir(dir).args(["demo", "--quick", "--out", "demo"]).args(further);
    command
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap().lines().count()
}

#[test]
fn it_leaves_a_report_and_does_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let said = succeed(&mut demo(dir.path(), &[]));
    let report = dir.path().join("demo/report.html");
    assert!(said.trim_end().ends_with("look at demo/report.html"), "{said}");
    assert!(
        said.contains("multimae predict --model demo/pretrain --adapter demo/compare"),
        "{said}"
    );
    let html = fs::read_to_string(&report).unwrap();
    // One of reconstructions and one of every cell.
    assert_eq!(html.matches("data:image/png").count(), 4);
    for words in ["Rein prompts", "heads only", "loss / mean", "delta m"] {
        assert!(html.contains(words), "no {words} in the report");
    }
    let adapter = dir.path().join("demo/compare/cells/prompts-seed0/adapter.safetensors");
    assert!(adapter.is_file());
    let records = dir.path().join("demo/pretrain/metrics.jsonl");
    let before = lines(&records);
    let said = succeed(&mut demo(dir.path(), &[]));
    assert!(said.contains("60 were there before") && said.contains("finished before"), "{said}");
    assert_eq!(lines(&records), before);
}

#[test]
fn frames_that_are_not_there_are_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("own/rgb")).unwrap();
    let said = fail(&mut demo(dir.path(), &["--data", "own"]));
    assert!(said.contains("own/depth") && said.contains("millimetres"), "{said}");
    for folder in ["depth", "label40"] {
        fs::create_dir_all(dir.path().join("own").join(folder)).unwrap();
    }
    let said = fail(&mut demo(dir.path(), &["--data", "own"]));
    assert!(said.contains("train.txt and val.txt"), "{said}");
}
