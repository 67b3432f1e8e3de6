//! MATLAB's v7.3 files, which are HDF5, as the frames of NYUv2 are published.

#![no_main]

use multimae_datasets::fuzzing::read_mat73;
use multimae_fuzz::{bounded, with_file};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    with_file(data, |path| bounded(256, || read_mat73(path)));
});
