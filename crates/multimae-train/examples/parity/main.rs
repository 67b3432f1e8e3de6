//! Computes a reference case again: `parity CASE_DIR OUT_DIR`.
//!
//! Reads the case's configuration, weights, inputs, masks and targets, computes predictions,
//! losses, gradients and a trace of optimiser steps, and writes them under the same file and
//! tensor names. It knows no expected value and judges nothing.

mod case;
mod head;
mod metrics;
mod pretrain;
mod prompt;
mod shared;

use std::path::Path;
use std::process::ExitCode;

use case::{Case, ParityError};

fn run(case_dir: &Path, out_dir: &Path) -> Result<(), ParityError> {
    let case = Case::open(case_dir)?;
    let files = match case.kind.as_str() {
        "pretrain" => pretrain::compute(&case)?,
        "head" => head::compute(&case)?,
        "prompt" => prompt::compute(&case)?,
        "metrics" => metrics::compute(&case)?,
        other => return Err(ParityError::Unknown(other.to_owned())),
    };
    fs_err::create_dir_all(out_dir)?;
    for (name, bytes) in files {
        fs_err::write(out_dir.join(name), bytes)?;
    }
    Ok(())
}

#[allow(clippy::print_stderr, reason = "a program reports its errors there")]
fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [case_dir, out_dir] = arguments.as_slice() else {
        eprintln!("usage: parity CASE_DIR OUT_DIR");
        return ExitCode::from(2);
    };
    match run(Path::new(case_dir), Path::new(out_dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
