//! The errors of the model crate.

use std::path::PathBuf;

/// An error of building, calling or loading a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration describes no possible model.
    #[error("model configuration: {0}")]
    Config(String),

    /// An input does not fit the model.
    #[error("input `{modality}`: {problem}")]
    Input {
        /// The modality whose input is wrong.
        modality: String,
        /// The problem and its remedy.
        problem: String,
    },

    /// A head cannot work on what the encoder gives.
    #[error("head `{head}`: {problem}")]
    Head {
        /// The head's name.
        head: String,
        /// The problem and its remedy.
        problem: String,
    },

    /// Masks do not fit the tokens.
    #[error("masks: {0}")]
    Masks(String),

    /// Targets and predictions do not fit.
    #[error("loss of `{task}`: {problem}")]
    Loss {
        /// The task whose loss was asked for.
        task: String,
        /// The problem and its remedy.
        problem: String,
    },

    /// A state dict does not fit the model.
    #[error("weights: {0}")]
    Weights(String),

    /// A file could not be read or written; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),

    /// A weights file is not what it claims to be.
    #[error("{}: {problem}", path.display())]
    WeightsFile {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },

    /// The engine failed.
    #[error("engine: {0}")]
    Engine(String),
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
