//! Training and predicting with products of 16 bits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use crate::common::{Scratch, fail, succeed};

fn losses(scratch: &Scratch, run: &str) -> Vec<f64> {
    let records = scratch.records(run);
    records.iter().filter_map(|record| record["loss"].as_f64()).collect()
}

#[test]
#[allow(clippy::print_stderr, reason = "a test that does not run says so")]
fn bfloat16_learns_the_same_a_little_differently() {
    let scratch = Scratch::new();
    succeed(&mut scratch.pretrain("fp32", &[]));
    let mut command = scratch.pretrain("bf16", &["--set", "precision=bf16"]);
    let output = command.output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    if message.contains("AVX512_BF16") {
        eprintln!("SKIPPED: this processor does not multiply in bfloat16");
        return;
    }
    assert!(output.status.success(), "{message}");
    let (fp32, bf16) = (losses(&scratch, "fp32"), losses(&scratch, "bf16"));
    assert!(fp32.len() == bf16.len() && fp32.len() > 5);
    assert_ne!(fp32, bf16);
    for (fp32, bf16) in fp32.iter().zip(&bf16) {
        assert!((fp32 - bf16).abs() < 0.02 * fp32.abs(), "{fp32} {bf16}");
    }
    // The weights are kept in fp32, and the run resumes only with its own precision.
    assert_eq!(scratch.tensors("fp32").len(), scratch.tensors("bf16").len());
    let message = fail(&mut scratch.pretrain("bf16", &["--resume"]));
    assert!(message.contains("`precision` was \"bf16\", now \"fp32\""), "{message}");
}

#[test]
fn other_precisions_are_refused() {
    let scratch = Scratch::new();
    let message = fail(&mut scratch.pretrain("run", &["--set", "precision=fp8"]));
    assert!(message.contains("fp32 | bf16 | int8"), "{message}");
    let message = fail(&mut scratch.pretrain("run", &["--set", "precision=int8"]));
    assert!(message.contains("of predictions alone"), "{message}");
}
