#![no_main]

libfuzzer_sys::fuzz_target!(
    init: multimae_fuzz::allow_caught_panics(),
    |data: &[u8]| multimae_fuzz::decode(data)
);
