//! Errors of evaluation.

/// The reason why predictions cannot be scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Predictions cannot be scored.
    #[error("evaluation: {0}")]
    Evaluation(String),

    /// A task.
    #[error(transparent)]
    Task(#[from] multimae_tasks::Error),

    /// The predictor.
    #[error(transparent)]
    Infer(#[from] multimae_infer::Error),

    /// The model.
    #[error(transparent)]
    Model(#[from] multimae::Error),

    /// The data.
    #[error(transparent)]
    Data(#[from] multimae_data::Error),

    /// Pictures and reports.
    #[error(transparent)]
    Report(#[from] multimae_report::Error),

    /// A file; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
