//! From a folder to a pack, and training from both.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::process::Command;

use crate::common::{Scratch, fail, succeed};
use fs_err as fs;

fn pack(scratch: &Scratch, further: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.arg("pack").arg("--data").arg(scratch.data());
    command.arg("--out").arg(scratch.path("data.pack")).args(further);
    command
}

#[test]
fn training_from_a_pack_is_training_from_its_folder() {
    let scratch = Scratch::new();
    let said = succeed(&mut pack(&scratch, &[]));
    assert!(said.contains("use it as --data"), "{said}");
    succeed(&mut scratch.pretrain("folder", &[]));
    // The last one wins.
    let file = scratch.path("data.pack").to_string_lossy().into_owned();
    succeed(&mut scratch.pretrain("packed", &["--data", &file]));
    assert_eq!(scratch.records("folder"), scratch.records("packed"));
    assert_eq!(scratch.tensors("folder"), scratch.tensors("packed"));
    assert!(fail(&mut pack(&scratch, &[])).contains("--force"));
    succeed(&mut pack(&scratch, &["--force", "--short-side", "16"]));
    let none = fail(&mut pack(&scratch, &["--folders", "rgb,heat"]));
    assert!(none.contains("no folder `heat`"), "{none}");
}

#[test]
fn a_pack_is_verified() {
    let scratch = Scratch::new();
    succeed(&mut pack(&scratch, &[]));
    let file = scratch.path("data.pack");
    let verify = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
        command.arg("pack").arg("--verify").arg(&file);
        command
    };
    assert!(succeed(&mut verify()).contains("are whole"));
    let mut bytes = fs::read(&file).unwrap();
    bytes[99] ^= 8;
    fs::write(&file, bytes).unwrap();
    assert!(fail(&mut verify()).contains("1 frames are damaged"));
}
