//! The errors of writing rooms to files.

use std::io;
use std::path::PathBuf;

/// An error of writing rooms.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The options describe no data set.
    #[error("rooms: {0}")]
    Options(String),

    /// The folder holds rooms of other options.
    #[error(
        "{} was made with other options ({difference}); choose another folder, or the same options \
         to resume this one",
        path.display()
    )]
    OtherOptions {
        /// The manifest.
        path: PathBuf,
        /// The differences.
        difference: String,
    },

    /// There are files in the way that are not ours.
    #[error("{} is there, but no manifest of rooms beside it; choose another folder", path.display())]
    Foreign {
        /// The folder or file in the way.
        path: PathBuf,
    },

    /// The manifest cannot be read as one.
    #[error("{} is not a manifest of rooms", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// The problem.
        source: serde_json::Error,
    },

    /// A picture cannot be encoded.
    #[error("{}: cannot encode the picture", path.display())]
    Picture {
        /// The place of the picture.
        path: PathBuf,
        /// The problem.
        source: png::EncodingError,
    },

    /// A file cannot be read or written. The message names it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;
