//! safetensors: the input is the header, and sixty-four bytes of values follow.

#![no_main]

use multimae::weights::{read_metadata, read_model_config, read_safetensors};
use multimae_fuzz::{WEIGHTS_BOUND, bounded, with_file};

libfuzzer_sys::fuzz_target!(|header: &[u8]| {
    // A whole file, or a header alone.
    let bytes = if header.first() == Some(&b'{') {
        [&(header.len() as u64).to_le_bytes()[..], header, &[1; 64]].concat()
    } else {
        header.to_vec()
    };
    with_file(&bytes, |path| {
        bounded(WEIGHTS_BOUND, || {
            drop(read_safetensors(path));
            if let Ok(metadata) = read_metadata(path) {
                drop(read_model_config(&metadata));
            }
        });
    });
});
