//! `multimae export`: its options, and the models that it is given. The graphs themselves are tested in
//! `multimae-export`.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

fn multimae() -> Command {
    Command::new(env!("CARGO_BIN_EXE_multimae"))
}

/// The folder of a run that an earlier version wrote.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-v1").join(name)
}

#[test]
fn options_of_other_formats_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let model = fixture("finetune");
    let says = |arguments: &[&str]| {
        let out = dir.path().join("out");
        let output = multimae()
            .args(["export", "--model"])
            .arg(&model)
            .arg("--out")
            .arg(&out)
            .args(arguments)
            .output()
            .unwrap();
        assert!(!output.status.success() && !out.exists(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(says(&["--to", "timm", "--batch", "1"]).contains("--batch is an option of --to onnx"));
    assert!(says(&["--to", "peft", "--size", "32x32"]).contains("--size is an option of"));
    assert!(says(&["--to", "onnx", "--task", "depth"]).contains("--task is an option of"));
    assert!(says(&["--to", "onnx", "--size", "32"]).contains("a height and a width"));
    assert!(says(&["--to", "onnx", "--size", "33x32"]).contains("33x32"));
    assert!(says(&["--to", "onnx", "--name", "rbg=x"]).contains("`rbg` is no input"));
    assert!(says(&["--to", "onnx", "--inputs", "lidar"]).contains("`lidar` is no input"));
    assert!(says(&["--to", "transformers"]).contains("--to onnx"));
    assert!(says(&["--to", "peft"]).contains("without LoRA"));
}

#[test]
fn old_models_are_exported_with_their_scores() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("graph");
    let export = |more: &[&str]| {
        let mut command = multimae();
        command.args(["export", "--to", "onnx", "--model"]).arg(fixture("finetune"));
        command.arg("--out").arg(&out).args(more).output().unwrap()
    };
    let output = export(&[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in ["model.onnx", "README.md", "test/input.rgb.npy", "test/output.depth.npy"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains("| depth_rmse | 0.6691 |"), "{card}");
    // Files that are there stay, unless told.
    let again = export(&[]);
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force"));
    assert!(export(&["--force"]).status.success());
}
