//! Errors of tasks.

/// The reason why a task cannot be set up, decoded, scored or drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A task cannot be built from the recipe, or its annotations do not fit.
    #[error("task `{task}`: {problem}")]
    Task {
        /// The task.
        task: String,
        /// The problem and its remedy.
        problem: String,
    },

    /// Samples do not fit each other.
    #[error("sample `{sample}`, modality `{modality}`: {problem}")]
    Sample {
        /// The sample's id.
        sample: String,
        /// The modality.
        modality: String,
        /// The problem.
        problem: String,
    },

    /// Predictions cannot be scored.
    #[error("evaluation: {0}")]
    Evaluation(String),

    /// A prediction cannot be encoded or drawn.
    #[error("prediction: {0}")]
    Prediction(String),

    /// The model.
    #[error(transparent)]
    Model(#[from] multimae::Error),

    /// The data.
    #[error(transparent)]
    Data(#[from] multimae_data::Error),

    /// Pictures.
    #[error(transparent)]
    Report(#[from] multimae_report::Error),
}

impl Error {
    /// A problem of a task by name.
    #[must_use]
    pub fn task(task: &str, problem: impl Into<String>) -> Self {
        Self::Task { task: task.to_owned(), problem: problem.into() }
    }
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
