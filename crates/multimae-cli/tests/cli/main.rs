//! All tests of the command line, in one program: they share what they link, and run beside each other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod common;

mod adapter;
mod architecture;
mod bad_input;
mod bench;
mod compare;
mod convert;
mod data_sets;
mod demo;
mod documents;
mod evaluate;
mod export;
mod finetune;
mod label;
mod labels;
mod old_files;
mod own_scores;
mod pack;
mod precision;
mod prefix_cache;
mod prepare;
mod processes;
mod published;
mod quantize;
mod resume;
mod serve;
mod synth;
mod visualize;
mod weights;
