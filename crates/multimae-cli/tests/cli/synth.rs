//! From nothing to a trained model: rendered rooms are what `pretrain` reads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::process::Command;

use crate::common::{Scratch, fail, succeed};

fn synth(scratch: &Scratch, further: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.arg("synth").arg("--out").arg(scratch.path("rooms"));
    command.args(["--count", "8", "--size", "48x40", "--val-share", "0.25"]).args(further);
    command
}

#[test]
fn rooms_are_rendered_once_and_trained_on() {
    let scratch = Scratch::new();
    let first = succeed(&mut synth(&scratch, &[]));
    assert!(first.contains("8 rooms rendered"), "{first}");
    let again = succeed(&mut synth(&scratch, &[]));
    assert!(again.contains("0 rooms rendered, 8 were there before"), "{again}");
    let other = fail(&mut synth(&scratch, &["--seed", "7"]));
    assert!(other.contains("rooms"), "{other}");

    let rooms = scratch.path("rooms");
    let rooms = rooms.to_string_lossy();
    let further = [
        "--data",
        &rooms,
        "--set",
        "epochs=1",
        "--set",
        "eval_split=val",
        "--set",
        "in_domains=rgb-depth-semseg-normal",
        "--set",
        "out_domains=rgb-depth-semseg-normal",
        "--set",
        "modalities.semseg={folder: label40, classes: 41, ignore: 0, palette: nyu40}",
        "--set",
        "modalities.normal={channels: 3, divisor: 127.5, mean: [1, 1, 1], loss: l1}",
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.arg("pretrain").arg("--config").arg(scratch.recipe());
    command.arg("--out").arg(scratch.path("run")).args(further);
    let message = succeed(&mut command);
    assert!(message.contains("epoch 1: rgb"), "{message}");
    assert!(scratch.path("run").join("model.safetensors").exists());
}
