//! A kind of training, as the loop sees it.

use indexmap::IndexMap;
use multimae::burn::module::Module;
use multimae::burn::tensor::Device;
use multimae_data::Batch;
use multimae_group::Group;
use multimae_report::picture::Picture;

use crate::Result;
use crate::learner::Learner;
use crate::observer::{Baseline, Observer};
use crate::optim::AdamWConfig;
use crate::peers::Peers;
use crate::run::{CheckpointStore, Continuation, Logs, ResumeOptions, RunFolder, State};
use crate::schedule::CosineSchedule;
use crate::step::{StepNumbers, StepPlace};

/// The plan of a run.
#[derive(Debug, Clone)]
pub struct TrainingPlan {
    /// Passes over the data.
    pub epochs: u64,
    /// Learning rate by step.
    pub lr: CosineSchedule,
    /// Weight decay by step.
    pub weight_decay: CosineSchedule,
    /// Steps between records.
    pub log_freq: u64,
    /// Epochs between checkpoints.
    pub save_ckpt_freq: u64,
    /// Steps between further checkpoints.
    pub save_ckpt_steps: Option<u64>,
    /// Checkpoints that are kept.
    pub keep_ckpt: usize,
    /// Epochs between evaluations.
    pub eval_freq: u64,
    /// Epochs between pictures.
    pub log_images_freq: u64,
    /// Decay of averaged weights, if there are to be some.
    pub ema_decay: Option<f64>,
    /// The constants of the optimiser.
    pub optimiser: AdamWConfig,
    /// The device, without autodiff.
    pub device: Device,
}

/// The result of evaluating a model.
#[derive(Debug, Clone, Default)]
pub struct ValidationResult {
    /// Unweighted losses by task.
    pub losses: IndexMap<String, f64>,
    /// Scores by name.
    pub scores: IndexMap<String, f64>,
    /// The criterion of the best model; lower is better.
    pub rank: f64,
}

/// A kind of training: what a step computes, what evaluation measures, what is shown.
pub trait TrainingTask {
    /// The trained model.
    type Model: Module + Send + Sync;
    /// The tag of pictures in the records.
    const PICTURES: &'static str;

    /// The plan.
    fn plan(&self) -> &TrainingPlan;

    /// A learner as it is before the first step; for resuming, values do not matter.
    ///
    /// # Errors
    /// If the model cannot be built.
    fn learner(&self) -> Result<Learner<Self::Model>>;

    /// The resolved recipe, as text.
    fn recipe(&self) -> String;

    /// The fingerprint that must not change when the run is resumed.
    fn fingerprint(&self) -> String;

    /// Checks that a run with this `fingerprint` may be resumed with this recipe and its data.
    ///
    /// # Errors
    /// Names the differences.
    fn check_continues(&self, fingerprint: &str, options: ResumeOptions) -> Result<Continuation>;

    /// One step on a batch, of which other processes may have parts.
    ///
    /// # Errors
    /// If a loss is not finite or the samples do not fit, here or in another process.
    fn step(
        &self,
        learner: &mut Learner<Self::Model>,
        data: (&Batch, &Peers<'_>),
        place: StepPlace,
    ) -> Result<StepNumbers>;

    /// Whether there are samples that are not trained on. Without them, the newest model is the best.
    fn evaluates(&self) -> bool;

    /// Losses and scores of a learner without autodiff on samples that are not trained on, if
    /// there are some. All processes call it; the result of process 0 is used.
    ///
    /// # Errors
    /// If a sample cannot be read.
    fn evaluate(
        &self,
        learner: &Learner<Self::Model>,
        group: &dyn Group,
    ) -> Result<Option<ValidationResult>>;

    /// The losses and scores of predicting a constant.
    fn baseline(&self) -> Option<&Baseline>;

    /// A picture of what a learner without autodiff predicts, if one is wanted.
    ///
    /// # Errors
    /// If the samples do not fit the model.
    fn draw(&self, learner: &Learner<Self::Model>) -> Result<Option<Picture>>;

    /// Writes the report.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    fn report(&self, folder: &RunFolder, state: &State<Self::Model>) -> Result<()>;

    /// Writes the trained model after the last step, and measures it as far as there is something
    /// to measure it on.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    fn finish(&mut self, run: Finished<'_, Self::Model>) -> Result<()>;
}

/// A run after its last step.
pub struct Finished<'a, M> {
    /// Its folder.
    pub folder: &'a RunFolder,
    /// Its checkpoints.
    pub checkpoints: &'a CheckpointStore,
    /// Its state.
    pub state: &'a State<M>,
    /// Its records.
    pub logs: &'a mut Logs,
    /// Seconds of the steps of this process, in order, without waiting for data.
    pub step_seconds: &'a [f64],
    /// Who watches it.
    pub observer: &'a mut dyn Observer,
}
