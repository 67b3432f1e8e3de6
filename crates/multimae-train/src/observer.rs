//! Events of a run for its observer.

use std::path::PathBuf;

use indexmap::IndexMap;
use multimae::modality::Size;

/// The losses and scores of predicting a constant: the mean of every channel, the frequency of
/// every class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Baseline {
    /// By task.
    pub losses: IndexMap<String, f64>,
    /// By name, if the task has scores.
    pub scores: IndexMap<String, f64>,
    /// The samples that they were measured on: `evaluation` or `training`.
    pub on: &'static str,
}

/// Something happened in a run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// Something that a person should know.
    Notice(String),
    /// Training starts or resumes.
    Started {
        /// Steps of the whole run.
        total_steps: u64,
        /// Steps that were done before.
        done_steps: u64,
        /// Samples in an epoch.
        samples: usize,
        /// Parameters that are trained.
        parameters: usize,
        /// The losses of predicting the mean, if measured.
        baseline: Option<Baseline>,
    },
    /// A step of the optimiser.
    Step(StepReport),
    /// Losses on the evaluation samples after an epoch.
    Evaluated {
        /// Epochs done.
        epoch: u64,
        /// Unweighted, by task.
        losses: IndexMap<String, f64>,
        /// By name.
        scores: IndexMap<String, f64>,
        /// Whether they are the best so far.
        best: bool,
    },
    /// The scores of the finished model, read back from its file.
    Scored {
        /// The samples that it was measured on.
        on: String,
        /// By name.
        scores: IndexMap<String, f64>,
        /// The scores of predicting a constant there.
        baseline: IndexMap<String, f64>,
    },
    /// A checkpoint was written.
    Saved(PathBuf),
    /// The run has ended, or was stopped.
    Ended(Outcome),
}

/// The input of a step of pre-training where a schedule changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduledInput {
    /// The size of the images.
    pub size: Size,
    /// Visible tokens per sample, over all modalities together.
    pub num_encoded_tokens: usize,
}

/// The samples of one data set in a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SetReport {
    /// Their number.
    pub samples: usize,
    /// Means of their unweighted losses, by task; without tasks that no sample had a target of.
    pub losses: IndexMap<String, f64>,
}

/// The numbers of one optimiser step.
#[derive(Debug, Clone, Default)]
pub struct StepReport {
    /// The step, from 0.
    pub step: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// Unweighted losses by task.
    pub losses: IndexMap<String, f64>,
    /// Balanced losses by task.
    pub weighted: IndexMap<String, f64>,
    /// L2 norm of the model's gradients before clipping.
    pub grad_norm: f64,
    /// Whether `skip_grad` left the step out.
    pub skipped: bool,
    /// Learning rate.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// The input, where a schedule changes it.
    pub input: Option<ScheduledInput>,
    /// Samples and losses by data set, where there are several.
    pub sets: IndexMap<String, SetReport>,
    /// Samples in the step.
    pub samples: usize,
    /// Seconds of the step, waiting included.
    pub seconds: f64,
    /// Seconds of waiting for data.
    pub wait_seconds: f64,
    /// Seconds in which gradients were summed over processes; 0 where there is one.
    pub communication_seconds: f64,
}

impl StepReport {
    /// The sum of the unweighted losses.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.losses.values().sum()
    }
}

/// The end of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Whether it was stopped before its last step.
    pub interrupted: bool,
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
    /// Seconds of training over all parts of the run.
    pub seconds: f64,
    /// Share of them that was spent waiting for data, in this part.
    pub wait_share: f64,
    /// Samples per second in this part.
    pub samples_per_second: f64,
    /// Samples that were left out.
    pub rejected: usize,
    /// The report, if one was written.
    pub report: Option<PathBuf>,
}

/// Watches a run.
pub trait Observer {
    /// Receives all events in order.
    fn event(&mut self, event: &Event);
}

/// Watches nothing.
impl Observer for () {
    fn event(&mut self, _event: &Event) {}
}
