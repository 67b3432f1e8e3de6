//! The errors of the report crate.

use std::path::PathBuf;

/// An error of recording a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),

    /// Values, labels, masks or pictures do not fit together.
    #[error("picture: {0}")]
    Picture(String),

    /// A PNG could not be encoded or decoded.
    #[error("PNG: {0}")]
    Png(#[from] image::ImageError),

    /// A metrics log, or a record for it, is not what it should be.
    #[error("{}: {problem}", path.display())]
    MetricsLog {
        /// The log.
        path: PathBuf,
        /// The problem and its remedy.
        problem: String,
    },
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
