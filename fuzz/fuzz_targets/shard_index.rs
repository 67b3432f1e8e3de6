//! An index of shards whose signature, version and checksum are right and whose rest is the input.

#![no_main]

use multimae_data::shards::read_shard_index;
use multimae_fuzz::bounded;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bounded(64, || read_shard_index(data)));
