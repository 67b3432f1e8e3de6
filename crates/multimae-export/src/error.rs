//! Errors of exporting.

use std::path::{Path, PathBuf};

/// The reason why a model cannot be written in a format.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The format cannot express a part of the model.
    #[error("{format} cannot express {part}; {remedy}")]
    Inexpressible {
        /// The format.
        format: &'static str,
        /// The part of the model.
        part: String,
        /// Another format, or another model.
        remedy: String,
    },

    /// A request that does not fit the model.
    #[error("{0}")]
    Request(String),

    /// A file.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The problem and its remedy.
        problem: String,
    },

    /// The saved model.
    #[error(transparent)]
    Infer(#[from] multimae_infer::Error),

    /// The model.
    #[error(transparent)]
    Model(#[from] multimae::Error),

    /// The data.
    #[error(transparent)]
    Data(#[from] multimae_data::Error),

    /// A file; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Error {
    /// An error of a file.
    pub(crate) fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), problem: problem.into() }
    }
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
