//! Models in the formats of other tools.
//!
//! * [`onnx`]: a graph for ONNX Runtime, OpenVINO, TensorRT and browsers, written from the model's
//!   structure.
//! * [`transformers`]: a DPT model for `from_pretrained` and `pipeline`.
//! * [`timm`]: the encoder for `create_model`.
//! * [`peft`]: LoRA on that encoder.
//! * [`pretrained`]: masked autoencoders that are not fine-tuned.
//!
//! Each gives an [`ExportFolder`] with a model card and a pair of example inputs and outputs.
//!
//! A saved model goes in, with an adapter put on it if there is one; LoRA and SSF are merged into the
//! weights. Parts that a format cannot express are errors, which name a format that can.

mod card;
mod error;
mod fit;
mod folder;
pub mod onnx;
pub mod peft;
pub mod pretrained;
mod test_pair;
pub mod timm;
pub mod transformers;

pub use card::{Card, RunScores};
pub use error::{Error, Result};
pub use folder::ExportFolder;
