//! Adapters and saved models.

#![no_main]

use multimae::burn::tensor::Device;
use multimae_fuzz::{bounded, with_file};
use multimae_infer::saved_model::{Adapter, SavedModel};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    with_file(data, |path| {
        bounded(256, || {
            drop(Adapter::load(path));
            drop(SavedModel::load(path, &Device::flex()));
        });
    });
});
