//! Weights in files.

mod safetensors;

pub use self::safetensors::{read_safetensors, write_safetensors};
