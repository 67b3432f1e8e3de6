//! Tables that pyarrow and `datasets` wrote, value by value.
//!
//! `fixtures/make.py` writes the files and the values that went into them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod dataset;
mod mutations;
mod reader;

use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parquet/fixtures").join(name)
}

/// The values that went into the tables.
fn expected() -> serde_json::Value {
    serde_json::from_str(&fs_err::read_to_string(fixture("expected.json")).unwrap()).unwrap()
}
