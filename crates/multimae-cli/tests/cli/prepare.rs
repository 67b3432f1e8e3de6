//! From MATLAB files to a folder that is in order, and what `doctor` says when it no longer is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::{fail, stderr, succeed};
use fs_err as fs;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../multimae-datasets/tests/fixtures").join(name)
}

/// `prepare` of the made-up frames.
fn prepare(dir: &Path, further: &[&str]) -> Command {
    let ids = dir.join("ids.txt");
    fs::write(&ids, "700 80 1 1200 314 300").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.args(["prepare", "nyuv2"]).arg("--mat").arg(fixture("nyuv2_small.mat"));
    command.arg("--ids").arg(ids);
    command.arg("--out").arg(dir.join("nyuv2")).args(further);
    command
}

fn doctor(dir: &Path, further: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.arg("doctor").arg(dir.join("nyuv2")).args(further).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_folder_is_prepared_once_and_is_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let message = succeed(&mut prepare(dir.path(), &[]));
    assert!(message.contains("6 of 6 frames written now"), "{message}");
    assert!(message.contains("not the published one"), "{message}");
    assert!(message.contains("train_fit     2 frames, depth 1.275 m"), "{message}");
    let again = succeed(&mut prepare(dir.path(), &[]));
    assert!(again.contains("complete already"), "{again}");
    let other = fail(&mut prepare(dir.path(), &["--classes", "13"]));
    assert!(other.contains("classes: 40 there, 13 asked for"), "{other}");

    let healthy = doctor(dir.path(), &[]);
    assert_eq!(healthy.status.code(), Some(0), "{}{}", stdout(&healthy), stderr(&healthy));
    assert!(stderr(&healthy).contains("is in order: 0 errors, 0 warnings"));
    let text = stdout(&healthy);
    assert!(text.contains("6 samples; lists: test 2, train 4, train_fit 2, val 2"), "{text}");
    assert!(text.contains("at 1000 per metre"), "{text}");
    assert!(text.contains("otherprop"), "{text}");
}

#[test]
fn another_split_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let splits = fixture("splits.mat");
    let message = succeed(prepare(dir.path(), &[]).arg("--splits").arg(splits));
    assert!(message.contains("6 of 6 frames written now"), "{message}");
    assert!(message.contains("note: ") && message.contains("not the official one"), "{message}");
}

#[test]
fn a_damaged_folder_is_not() {
    let dir = tempfile::tempdir().unwrap();
    succeed(&mut prepare(dir.path(), &["--classes", "13"]));
    let path = |name: &str| dir.path().join("nyuv2").join(name);
    fs::remove_file(path("depth/0080.png")).unwrap();
    fs::write(path("label13/0001.png"), "broken").unwrap();
    let damaged = doctor(dir.path(), &[]);
    assert_eq!(damaged.status.code(), Some(1));
    assert!(stderr(&damaged).contains("2 errors"), "{}", stderr(&damaged));
    let text = stdout(&damaged);
    assert!(text.contains("ERROR    depth: 1 samples on a list have no file here"), "{text}");
    assert!(text.contains("0001.png"), "{text}");

    let json = doctor(dir.path(), &["--json"]);
    assert_eq!(json.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["parts"][0]["findings"][0]["severity"], "error");
    assert_eq!(report["parts"][0]["samples"], 6);
}

#[test]
fn warnings_count_when_strict() {
    let dir = tempfile::tempdir().unwrap();
    succeed(&mut prepare(dir.path(), &[]));
    fs::write(dir.path().join("nyuv2/rgb/notes.doc"), "notes").unwrap();
    let output = doctor(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("can be used: 0 errors, 1 warnings"));
    assert_eq!(doctor(dir.path(), &["--strict"]).status.code(), Some(1));
}

#[test]
fn a_copy_is_named_and_prepared() {
    let dir = tempfile::tempdir().unwrap();
    let copy = fixture("nyuv2_copies/bts_official");
    let command = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
        command.arg(name);
        command
    };
    let raw = command("doctor").arg(&copy).output().unwrap();
    let words = "looks like NYU Depth V2, the copy of BTS (official_splits, raw depth)";
    assert!(stderr(&raw).contains(words), "{}", stderr(&raw));
    assert!(stderr(&raw).contains("`multimae prepare nyuv2 --copy "), "{}", stderr(&raw));

    let prepare = || {
        let mut prepare = command("prepare");
        prepare.arg("nyuv2").arg("--out").arg(dir.path().join("nyuv2"));
        prepare
    };
    let message = succeed(prepare().arg("--copy").arg(&copy));
    assert!(message.contains("note: this is NYU Depth V2, the copy of BTS"), "{message}");
    assert!(message.contains("2 of 2 frames written now"), "{message}");
    let prepared = doctor(dir.path(), &[]);
    assert_eq!(prepared.status.code(), Some(0), "{}{}", stdout(&prepared), stderr(&prepared));
    assert!(!stderr(&prepared).contains("looks like"), "{}", stderr(&prepared));
    let neither = fail(&mut prepare());
    assert!(neither.contains("--copy PATH") && neither.contains("--mat FILE"), "{neither}");
}
