//! Models in use: saved models and adapters, prediction, reconstruction, visualisation.
//!
//! * A [`SavedModel`](saved_model::SavedModel) is a file with weights and all that predicting needs;
//!   an [`Adapter`](saved_model::Adapter) is one without the backbone, and an
//!   [`AdapterBank`](saved_model::AdapterBank) runs several on one backbone.
//! * A [`Predictor`](predict::Predictor) predicts whole frames at their own size.
//! * A [`Labelling`](label::Labelling) writes predictions for a data set, to train on.
//! * [`quantize`] makes a model multiply in whole numbers of 8 bits.
//! * A [`Pretrained`](visualize::Pretrained) model reconstructs masked patches.
//!
//! Frames come from `multimae-data`, weights from files; predictions go to files, to the server and
//! to evaluation. Nothing here trains.
//!
//! ```
//! use std::path::Path;
//! use multimae_infer::{device::device, saved_model::SavedModel};
//!
//! let error = SavedModel::load(Path::new("runs/none/model.safetensors"), &device("cpu")?).err();
//! assert!(error.unwrap().to_string().contains("runs/none/model.safetensors"));
//! # Ok::<(), multimae_infer::Error>(())
//! ```

pub mod batch;
pub mod checkpoint;
pub mod device;
mod error;
pub mod label;
pub mod predict;
pub mod quantize;
pub mod saved_model;
pub mod visualize;
pub mod weights_source;

pub use error::{Error, Result};
