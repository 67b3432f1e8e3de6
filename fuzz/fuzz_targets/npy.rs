#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| multimae_fuzz::decode(data));
