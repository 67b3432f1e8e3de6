//! Errors of the benchmark.

use std::path::PathBuf;

/// An error of a benchmark.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A case that is not as it should be.
    #[error("{}: {problem}", path.display())]
    CaseFile {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// A program that is timed did not do what it should.
    #[error("{program}: {problem}")]
    Worker {
        /// The program.
        program: String,
        /// The problem, with the end of its error output.
        problem: String,
    },
    /// Two programs computed different losses.
    #[error(
        "{case}: {ours} in ours and {other} in {program}: this is not the same work, so its times \
         say nothing"
    )]
    NotTheSame {
        /// The case.
        case: String,
        /// The first loss of multimae.
        ours: f64,
        /// The other program.
        program: String,
        /// Its first loss.
        other: f64,
    },
    /// The limits of the machine cannot be measured.
    #[error("limits with {threads} threads: {problem}; --threads and --precision choose others")]
    Limits {
        /// The threads.
        threads: usize,
        /// The problem.
        problem: String,
    },
    /// The model refuses.
    #[error(transparent)]
    Model(#[from] multimae::Error),
    /// The data refuses.
    #[error(transparent)]
    Data(#[from] multimae_data::Error),

    /// The graph of a model.
    #[error(transparent)]
    Export(#[from] multimae_export::Error),
    /// A saved model.
    #[error(transparent)]
    Train(#[from] multimae_train::Error),

    /// A model in use.
    #[error(transparent)]
    Infer(#[from] multimae_infer::Error),
    /// A report.
    #[error(transparent)]
    Report(#[from] multimae_report::Error),
    /// A file, or a process.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
