//! Weights in files: safetensors, PyTorch checkpoints, NumPy's npz; MultiMAE's names and timm's.

mod file;
mod format;
mod jax;
mod layout;
mod npz;
mod pickle;
mod positions;
mod pth;
mod pth_writer;
mod safetensors;
mod tensor;
mod timm;
mod value;
mod zip;

pub use self::format::{Format, Loaded, read_model_config, read_weights, write_model_config};
pub use self::jax::jax_to_timm;
pub use self::layout::Layout;
pub use self::npz::read_npz;
pub use self::positions::{Fitted, fit_input_adapters};
pub use self::pth::{Checkpoint, read_pth};
pub use self::pth_writer::write_pth;
pub use self::safetensors::{read_metadata, read_safetensors, write_safetensors};
pub use self::timm::{Converted, from_timm, to_timm};
pub use self::value::Value;

/// The problem with the content of a file; the caller adds the path.
type Problem = String;
