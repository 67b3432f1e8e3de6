//! Errors of preparing a data set.

use std::path::PathBuf;

/// An error of preparing a data set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An input file is damaged or does not hold what it should.
    #[error("{}: {problem}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// The problem and its remedy.
        problem: String,
    },

    /// A frame has values that the data set does not have.
    #[error("{}: frame {frame}: {problem}", path.display())]
    Frame {
        /// The file.
        path: PathBuf,
        /// The name of the frame.
        frame: String,
        /// The problem and its remedy.
        problem: String,
    },

    /// The options contradict each other or the files.
    #[error("{0}")]
    Options(String),

    /// The folder holds files that this program did not prepare.
    #[error(
        "{} is there, and was not written by `prepare`; choose another folder", path.display()
    )]
    Foreign {
        /// The file or folder in the way.
        path: PathBuf,
    },

    /// The folder was prepared from another data set.
    #[error("{} was prepared from another data set, {dataset}; choose another folder", path.display())]
    OtherDataset {
        /// The manifest.
        path: PathBuf,
        /// The name of that data set.
        dataset: String,
    },

    /// The folder was prepared with other options.
    #[error(
        "{} was prepared otherwise ({difference}); choose another folder, or ask to overwrite it",
        path.display()
    )]
    OtherOptions {
        /// The manifest.
        path: PathBuf,
        /// The differences.
        difference: String,
    },

    /// The manifest cannot be parsed or written.
    #[error("{}: {source}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },

    /// A picture cannot be encoded.
    #[error("{}: {source}", path.display())]
    Picture {
        /// The file that was to be written.
        path: PathBuf,
        /// The cause.
        source: png::EncodingError,
    },

    /// A file or folder could not be read or written; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The result of preparing.
pub type Result<T, E = Error> = std::result::Result<T, E>;
