//! PyTorch checkpoints, and every other file of weights: the format is inferred from the content.

#![no_main]

use multimae::weights::{read_pth, read_weights};
use multimae_fuzz::{WEIGHTS_BOUND, bounded, with_file};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    with_file(data, |path| {
        bounded(WEIGHTS_BOUND, || {
            drop(read_weights(path));
            drop(read_pth(path));
        });
    });
});
