//! Data sets of small synthetic files, from the folder to the batch.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod class_maps;
mod convert;
mod decoding;
mod files;
mod formats;
mod loader;
mod memory;
mod mirroring;
mod naming;
mod orientation;
mod packed;
mod packed_encoded;
mod pairing;
mod pipeline;
mod shards;
mod validity;
