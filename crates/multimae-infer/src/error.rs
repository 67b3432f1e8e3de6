//! Errors of loading and using models.

use std::path::PathBuf;

/// The reason why a model cannot be loaded or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A frame, or a request for it, does not fit the model.
    #[error("prediction: {0}")]
    Prediction(String),

    /// Samples do not fit each other or the model.
    #[error("{0}")]
    Samples(String),

    /// There is no such device, or it lacks a precision.
    #[error("{0}")]
    Device(String),

    /// A file or folder is not a usable model.
    #[error("{}: {problem}", path.display())]
    SavedModel {
        /// The file or folder.
        path: PathBuf,
        /// The problem and its remedy.
        problem: String,
    },

    /// A folder of pseudo-labels cannot be begun or continued.
    #[error("{} {problem}", path.display())]
    Labels {
        /// The file or folder.
        path: PathBuf,
        /// The problem and its remedy.
        problem: String,
    },

    /// A task of the model.
    #[error(transparent)]
    Task(#[from] multimae_tasks::Error),

    /// The recipe inside a model's file.
    #[error(transparent)]
    Config(#[from] multimae_config::Error),

    /// The model.
    #[error(transparent)]
    Model(#[from] multimae::Error),

    /// The data.
    #[error(transparent)]
    Data(#[from] multimae_data::Error),

    /// Pictures.
    #[error(transparent)]
    Report(#[from] multimae_report::Error),

    /// A file; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
