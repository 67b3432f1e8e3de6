//! The errors of training.

use std::path::PathBuf;

/// An error of a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The recipe cannot be followed.
    #[error("recipe: {0}")]
    Recipe(String),

    /// A grid of a comparison cannot be followed.
    #[error("{}: {problem}", path.display())]
    Grid {
        /// Its file.
        path: PathBuf,
        /// The problem and its remedy.
        problem: String,
    },

    /// The run's folder is not as it should be.
    #[error("{}: {problem}", path.display())]
    RunFolder {
        /// The folder or file.
        path: PathBuf,
        /// The problem and its remedy.
        problem: String,
    },

    /// A loss is not a finite number.
    #[error(
        "the loss of `{task}` is {value} in step {step} (epoch {epoch}); samples: {samples}. The \
         last good checkpoint stays. Look at these samples, lower the learning rate (`blr`) or \
         clip gradients (`clip_grad`)"
    )]
    NonFinite {
        /// The step, counted from 0.
        step: u64,
        /// The epoch, counted from 0.
        epoch: u64,
        /// The task.
        task: String,
        /// The value.
        value: f64,
        /// Ids of the samples whose own loss is not finite, or of the batch.
        samples: String,
    },

    /// Processes that train together have not the same weights any more.
    #[error(
        "the processes have parted before step {step}: their last gradient norms differ ({norms}). \
         They must run the same program on processors of the same kind; the newest checkpoint stays"
    )]
    Parted {
        /// The step, counted from 0.
        step: u64,
        /// The norms by process.
        norms: String,
    },

    /// Processes that should train together were given different things.
    #[error("process {rank} has {what} than process 0; give all processes the same files")]
    Differs {
        /// The process.
        rank: usize,
        /// The difference, such as `other data`.
        what: String,
    },

    /// Training together with other processes.
    #[error(transparent)]
    Group(#[from] multimae_group::Error),

    /// Another process failed; all end.
    #[error(transparent)]
    Elsewhere(#[from] multimae_group::Elsewhere),

    /// The optimiser's state in a checkpoint is incomplete, or does not fit the recipe.
    #[error("the optimiser's state of `{parameter}` in the checkpoint: {problem}")]
    OptimiserState {
        /// The parameter's name.
        parameter: String,
        /// The problem and its remedy.
        problem: String,
    },

    /// Reading the recipe.
    #[error(transparent)]
    Config(#[from] multimae_config::Error),

    /// Setting up or drawing a task.
    #[error(transparent)]
    Task(#[from] multimae_tasks::Error),

    /// Loading or using a model.
    #[error(transparent)]
    Infer(#[from] multimae_infer::Error),

    /// Scoring predictions.
    #[error(transparent)]
    Eval(#[from] multimae_eval::Error),

    /// The model.
    #[error(transparent)]
    Model(#[from] multimae::Error),

    /// The data.
    #[error(transparent)]
    Data(#[from] multimae_data::Error),

    /// Reports and logs.
    #[error(transparent)]
    Report(#[from] multimae_report::Error),

    /// A file; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
