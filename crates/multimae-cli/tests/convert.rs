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

#[test]
fn nothing_is_written_that_nothing_reads() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let tensor = || multimae::burn::tensor::TensorData::new(vec![1.0_f32], [1]);
    let save = |name: &str, names: &[&str]| {
        let weights = names.iter().map(|name| ((*name).to_owned(), tensor())).collect();
        fs::write(path(name), multimae::weights::write_pth(&weights, 0).unwrap()).unwrap();
    };
    save("resnet.pth", &["conv1.weight", "layer1.0.conv1.weight"]);
    save("head.pth", &["output_adapters.depth.head.0.weight"]);
    save("part.pth", &["encoder.0.norm1.weight", "input_adapters.rgb.proj.weight"]);
    for (name, output, says) in [
        ("resnet.pth", "out.safetensors", "no known model"),
        ("resnet.pth", "out.pth", "conv1.weight"),
        ("head.pth", "out.pth", "card"),
        ("part.pth", "out.safetensors", "encoder.0.norm1.bias"),
    ] {
        let output = convert(&path(name), &path(output));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(says) && message.contains(name), "{message}");
        assert!(!path("out.safetensors").exists() && !path("out.pth").exists());
    }
    let (resnet, out) = (path("resnet.pth"), path("out.pth"));
    let flags: [&Path; 6] = [
        "convert".as_ref(),
        "--as-is".as_ref(),
        "--input".as_ref(),
        &resnet,
        "--output".as_ref(),
        &out,
    ];
    let output = multimae(&flags);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(multimae::weights::read_weights(&out).unwrap().weights.len(), 2);
}
