//! The program that does the work, step by step as it is asked: lines of JSON, the same that the
//! programs in `benches/pytorch` and `benches/onnxruntime` speak.
//!
//! * First it does one step, unasked, and says `{"ready": true, "loss": ...}`.
//! * `step` on the input: it does a step and says `{"seconds": ..., "loss": ...}`.
//! * `end`, or the end of the input: it says `{"peak_memory": BYTES}` and ends.

use std::io::{BufRead, Write};
use std::path::Path;

use multimae_train::run::peak_memory;
use serde_json::{Value, json};

use crate::Result;
use crate::folder::CaseFolder;
use crate::workloads::{WorkloadOptions, open, timed};

/// Does a case's work until the input ends.
///
/// # Errors
/// If the case is not as it should be, a step fails, or the output is closed.
pub fn serve(
    dir: &Path,
    options: WorkloadOptions,
    input: impl BufRead,
    mut output: impl Write,
) -> Result<()> {
    let mut say = |value: &Value| -> Result<()> {
        writeln!(output, "{value}")?;
        Ok(output.flush()?)
    };
    let mut folder = CaseFolder::read(dir)?;
    let mut work = open(&mut folder, options)?;
    let first = timed(work.as_mut())?;
    say(&json!({"ready": true, "loss": first.loss}))?;
    for line in input.lines() {
        match line?.trim() {
            "step" => {
                let step = timed(work.as_mut())?;
                say(&json!({"seconds": step.seconds, "loss": step.loss}))?;
            }
            "end" => break,
            other => return Err(folder.error(&format!("`{other}` is neither `step` nor `end`"))),
        }
    }
    say(&json!({"peak_memory": peak_memory()}))
}
