//! Files of weights as people have them: what is read, and how the rest is named.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::Path;
use std::process::Command;

use crate::common::{Scratch, fail, succeed};
use fs_err as fs;
use multimae::weights::read_weights;

const POINTER: &str = "version https://git-lfs.github.com/spec/v1
oid sha256:0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d
size 343262345
";
const PAGE: &str = "<!DOCTYPE html><html><head><title>Virus scan warning</title></head></html>";

fn multimae(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.args(arguments);
    command
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn every_command_names_files_that_are_no_weights() {
    let scratch = Scratch::new();
    let frame = text(&scratch.data().join("rgb/000.png"));
    let out = text(&scratch.path("out"));
    crate::common::tiny_model::save(&scratch.path("tuned.safetensors"));
    for (content, words) in [
        (POINTER, &["Git LFS pointer", "343262345 bytes", "git lfs pull"][..]),
        (PAGE, &["web page", "Virus scan warning"]),
    ] {
        for name in ["backbone.pth", "model.safetensors"] {
            let path = scratch.path(name);
            fs::write(&path, content).unwrap();
            let file = text(&path);
            let set = format!("finetune={file}");
            let named = format!("a={file}");
            let mut finetune = scratch.pretrain("never", &["--set", &set]);
            let mut commands = vec![
                multimae(&["inspect", &file]),
                multimae(&["convert", "--input", &file, "--output", &text(&scratch.path("c.pth"))]),
                multimae(&["visualize", "--model", &file, "--input", &frame, "--out", &out]),
                multimae(&["predict", "--model", &file, "--input", &frame, "--out", &out]),
                multimae(&["evaluate", "--model", &file, "--data", &text(&scratch.data())]),
                multimae(&["serve", "--model", &file, "--listen", "127.0.0.1:0"]),
                multimae(&["adapter", "show", &file]),
                multimae(&[
                    "serve",
                    "--model",
                    "x",
                    "--adapter",
                    &named,
                    "--listen",
                    "127.0.0.1:0",
                ]),
            ];
            commands.push(std::mem::replace(&mut finetune, Command::new("true")));
            for mut command in commands {
                let message = fail(&mut command);
                assert_says(&message, words);
                assert_says(&message, &[name]);
            }
        }
    }
}

#[test]
fn folders_and_adapters_in_the_wrong_place_are_named() {
    let scratch = Scratch::new();
    let frame = text(&scratch.data().join("rgb/000.png"));
    let (folder, out) = (text(&scratch.path("run")), text(&scratch.path("out")));
    fs::create_dir_all(scratch.path("run")).unwrap();
    let predict = |further: &[&str]| {
        fail(multimae(&["predict", "--input", &frame, "--out", &out]).args(further))
    };
    let convert = |input: &str| {
        let out = text(&scratch.path("converted.safetensors"));
        multimae(&["convert", "--force", "--input", input, "--output", &out])
    };
    for command in [&mut multimae(&["inspect", &folder]), &mut convert(&folder)] {
        assert_says(&fail(command), &["run", "neither model.safetensors"]);
    }
    assert_says(&predict(&["--model", &folder]), &["run", "neither model.safetensors"]);
    assert_says(
        &predict(&["--model", &frame, "--adapter", &folder]),
        &["run", "holds no adapter.safetensors"],
    );
    let tuned = text(&scratch.path("tuned.safetensors"));
    crate::common::tiny_model::save(Path::new(&tuned));
    assert_says(
        &predict(&["--model", &frame, "--adapter", &tuned]),
        &["whole fine-tuned model", "give it as --model"],
    );
    // A folder with an adapter alone.
    fs::write(scratch.path("run").join("adapter.safetensors"), "x").unwrap();
    assert_says(&predict(&["--model", &folder]), &["holds an adapter and no backbone"]);
    // A model in a folder is that of the folder.
    fs::remove_file(scratch.path("run").join("adapter.safetensors")).unwrap();
    crate::common::tiny_model::save(&scratch.path("run").join("model.safetensors"));
    succeed(&mut multimae(&["predict", "--input", &frame, "--out", &out, "--model", &folder]));
    let output = multimae(&["inspect", &folder]).output().unwrap();
    assert_says(&String::from_utf8_lossy(&output.stdout), &["MultiViT", "run/model.safetensors"]);
    succeed(&mut convert(&folder));
    let converted = read_weights(&scratch.path("converted.safetensors")).unwrap();
    let own = read_weights(&scratch.path("run").join("model.safetensors")).unwrap();
    assert_eq!((converted.weights, converted.metadata), (own.weights, own.metadata));
}

/// Options that a model has no use for are errors.
#[test]
fn keys_of_models_with_one_set_of_weights_are_refused() {
    let scratch = Scratch::new();
    let (frame, data) = (text(&scratch.data().join("rgb/000.png")), text(&scratch.data()));
    let (tuned, out) = (text(&scratch.path("tuned.safetensors")), text(&scratch.path("out")));
    crate::common::tiny_model::save(Path::new(&tuned));
    let key = ["--model", &tuned, "--weights-key", "ema"];
    for (command, further) in [
        ("predict", &["--input", &frame, "--out", &out][..]),
        ("visualize", &["--input", &frame, "--out", &out]),
        ("evaluate", &["--data", &data]),
    ] {
        let message = fail(multimae(&[command]).args(key).args(further));
        assert_says(&message, &["--weights-key ema", "tuned.safetensors", "one set of weights"]);
    }
    assert!(!scratch.path("out").exists());
}
