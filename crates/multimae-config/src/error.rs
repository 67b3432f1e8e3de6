//! Errors of recipes.

/// The reason why a recipe cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The recipe cannot be followed.
    #[error("recipe: {0}")]
    Recipe(String),

    /// A model of these sizes is impossible.
    #[error(transparent)]
    Model(#[from] multimae::Error),

    /// A modality is described in a way that cannot be read.
    #[error(transparent)]
    Data(#[from] multimae_data::Error),

    /// A file; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
