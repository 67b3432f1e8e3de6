//! Weights in files: safetensors, PyTorch checkpoints, NumPy's npz; the names of MultiMAE, timm and
//! Hugging Face.

mod architecture;
mod file;
mod foreign;
mod format;
mod graph;
mod hugging_face;
mod int8;
mod jax;
mod layout;
mod legacy;
mod metadata;
mod names;
mod npz;
mod pickle;
mod positions;
mod pth;
mod pth_writer;
mod safetensors;
mod selection;
mod sharded;
mod tensor;
mod tensor_dicts;
mod timm;
mod value;
mod zip;

pub use self::architecture::{ArchitectureHints, check_complete, infer_config, usual_heads};
pub use self::format::{
    Format, Loaded, read_model_config, read_weights, read_weights_of, write_model_config,
};
pub use self::hugging_face::hugging_face_to_timm;
pub use self::int8::{dequantised, is_quantised, quantised};
pub use self::jax::jax_to_timm;
pub use self::layout::Layout;
pub use self::npz::read_npz;
pub use self::positions::{Fitted, fit_input_adapters};
pub use self::pth::{Checkpoint, read_pth};
pub use self::pth_writer::{write_pth, write_pth_with};
pub use self::safetensors::{read_metadata, read_safetensors, safetensors_from, write_safetensors};
pub use self::timm::{Converted, from_timm, from_timm_grid, missing_parts, to_timm};
pub use self::value::Value;

/// The problem with the content of a file; the caller adds the path.
type Problem = String;
