//! Exported models against our own predictions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod folders;
mod models;
mod onnx;
mod reconstruct;
mod runtime;
