//! MATLAB's v5 files, as the official split of NYUv2 is published.

#![no_main]

use multimae_datasets::fuzzing::read_mat5;
use multimae_fuzz::bounded;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bounded(256, || read_mat5(data, "trainNdxs")));
