//! A whole pack as it is.

#![no_main]

use multimae_data::packed::Pack;
use multimae_fuzz::{bounded, with_file};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    with_file(data, |path| bounded(64, || drop(Pack::open(path))));
});
