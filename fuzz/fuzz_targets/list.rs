//! Lists of the samples of a split.

#![no_main]

use multimae_data::{Dataset, Layout};
use multimae_fuzz::{bounded, modalities};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let dir = multimae_fuzz::scratch_dir();
    let modality = &modalities()[0];
    if std::fs::create_dir_all(dir.join(&modality.folder)).is_ok()
        && std::fs::write(dir.join("train.txt"), data).is_ok()
    {
        let layout = Layout::of(Some("train"));
        bounded(64, || drop(Dataset::open(&dir, &layout, std::slice::from_ref(modality))));
    }
});
