//! Weight files there and back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs_err as fs;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../multimae/tests/golden/pth/pretrain_rgb_depth_semseg.pth")
}

fn multimae(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_multimae")).args(arguments).output().unwrap()
}

fn convert(input: &Path, output: &Path) -> Output {
    multimae(&["convert".as_ref(), "--input".as_ref(), input, "--output".as_ref(), output])
}

#[test]
fn a_published_checkpoint_there_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for (from, to) in [
        (golden(), path("a.safetensors")),
        (path("a.safetensors"), path("b.pth")),
        (path("b.pth"), path("c.safetensors")),
    ] {
        let output = convert(&from, &to);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let bytes = |name: &str| fs::read(path(name)).unwrap();
    assert_eq!(bytes("a.safetensors"), bytes("c.safetensors"));
    // Existing files are not overwritten.
    let again = convert(&golden(), &path("a.safetensors"));
    assert_eq!(again.status.code(), Some(1));
    let shown = multimae(&["inspect".as_ref(), &path("b.pth")]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("PyTorch checkpoint"));
}

#[test]
fn what_is_no_weight_file_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.pth");
    fs::write(&path, "no weights").unwrap();
    let output = multimae(&["inspect".as_ref(), &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("notes.pth"));
}
