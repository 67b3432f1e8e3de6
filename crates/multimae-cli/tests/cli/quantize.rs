//! A model in whole numbers of 8 bits, through the program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Scratch, fail, stderr};
use fs_err as fs;
use multimae::burn::tensor::Device;
use multimae_kernels::precision::Precision;
use serde_json::Value;

/// Whether this processor multiplies in 8 bits.
#[allow(clippy::print_stderr, reason = "a test that does not run says so")]
fn has_int8() -> bool {
    let has = Precision::Int8.check(&Device::default()).is_ok();
    if !has {
        eprintln!("SKIPPED: this processor does not multiply in 8 bits");
    }
    has
}

fn command(name: &str, model: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.arg(name).arg("--model").arg(model);
    command
}

fn quantize(scratch: &Scratch, model: &Path, out: &str) -> Command {
    let mut command = command("quantize", model);
    command.arg("--data").arg(scratch.data()).args(["--split", "train"]);
    command.args(["--frames", "4", "--check", "5"]).arg("--out").arg(scratch.path(out));
    command
}

fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn scores(scratch: &Scratch, model: &Path, with: &Path) -> Value {
    let file = scratch.path("scores.json");
    let mut command = command("evaluate", model);
    command.arg("--data").arg(scratch.data()).args(["--split", "train", "--force"]);
    command.arg("--compare-with").arg(with).arg("--json").arg(&file);
    let text = printed(&mut command);
    assert!(text.contains("agreement with"), "{text}");
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn agreement(scores: &Value) -> (f64, f64) {
    let tasks = &scores["agreement"]["tasks"];
    let of = |task: &str, kind: &str| tasks[task][kind].as_f64().unwrap();
    (of("depth", "difference"), of("semseg", "same"))
}

/// The scores of a model in fp32.
fn evaluated(scratch: &Scratch, model: &Path) -> String {
    let mut command = command("evaluate", model);
    command.arg("--data").arg(scratch.data()).args(["--split", "train", "--precision", "fp32"]);
    let text = printed(&mut command);
    text.lines().filter(|line| line.starts_with('|')).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_quantised_model_predicts_almost_the_same() {
    if !has_int8() {
        return;
    }
    let scratch = Scratch::new();
    let model = scratch.path("model.safetensors");
    crate::common::tiny_model::save_of_width(&model, 128);
    let text = printed(&mut quantize(&scratch, &model, "int8"));
    assert!(text.contains("int8 and fp32, 5 frames"), "{text}");
    assert!(
        text.contains("encoder.1.mlp.fc2.weight") && text.contains("linear layer, 8 of 8"),
        "{text}"
    );
    let small: PathBuf = scratch.path("int8").join("model.safetensors");
    let bytes = |path: &Path| fs::metadata(path).unwrap().len() as f64;
    assert!(bytes(&small) < 0.45 * bytes(&model), "{} of {}", bytes(&small), bytes(&model));

    let (difference, same) = agreement(&scores(&scratch, &small, &model));
    assert!(difference > 0.0 && difference < 0.02, "{difference}");
    assert!(same > 0.95, "{same}");
    // With itself a model agrees.
    assert_eq!(agreement(&scores(&scratch, &model, &model)), (0.0, 1.0));
    let mut evaluate = command("evaluate", &small);
    evaluate.arg("--data").arg(scratch.data()).args(["--split", "train"]);
    let text = printed(&mut evaluate);
    assert!(text.contains("whole numbers of 8 bits"), "{text}");
    let text = printed(evaluate.args(["--precision", "fp32"]));
    assert!(!text.contains("whole numbers of 8 bits"), "{text}");
}

#[test]
fn what_cannot_be_quantised_is_said() {
    if !has_int8() {
        return;
    }
    let scratch = Scratch::new();
    let model = scratch.path("model.safetensors");
    crate::common::tiny_model::save(&model);
    let message = fail(&mut quantize(&scratch, &model, "int8"));
    assert!(message.contains("no layers that multiply in 8 bits"), "{message}");
    assert!(!scratch.path("int8").exists(), "nothing is written");
    crate::common::tiny_model::save_of_width(&model, 64);
    printed(&mut quantize(&scratch, &model, "int8"));
    let message = fail(&mut quantize(&scratch, &model, "int8"));
    assert!(message.contains("--force"), "{message}");
    let message = fail(&mut quantize(&scratch, &scratch.path("int8"), "again"));
    assert!(message.contains("is quantised; give the model"), "{message}");
    let mut of_bf16 = quantize(&scratch, &model, "again");
    let message = fail(of_bf16.args(["--precision", "int8"]));
    assert!(message.contains("leave the option out"), "{message}");
    // As a backbone its weights are read as what they stand for.
    let small = scratch.path("int8").join("model.safetensors");
    let converted = scratch.path("converted.safetensors");
    let mut convert = Command::new(env!("CARGO_BIN_EXE_multimae"));
    convert.args(["convert", "--input"]).arg(&small).arg("--output").arg(&converted);
    printed(&mut convert);
    let again = evaluated(&scratch, &converted);
    assert_eq!(again, evaluated(&scratch, &small), "the same model in fp32");
}
