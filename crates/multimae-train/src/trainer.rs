//! The loop of every kind of training: steps, records, evaluation, checkpoints, resuming.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indexmap::IndexMap;
use multimae::burn::module::Module;
use multimae::burn::tensor::Device;
use multimae_data::{Batch, Loader, Sample};
use multimae_io::atomic::remove_stale_parts;
use multimae_report::picture::Picture;

use crate::learner::Learner;
use crate::observer::{Baseline, Event, Observer, Outcome, StepReport};
use crate::optim::AdamWConfig;
use crate::run::{
    CheckpointStore, Continuation, Logs, ResumeOptions, RunFolder, RunStart, State, check_position,
    peak_memory,
};
use crate::schedule::CosineSchedule;
use crate::step::{StepNumbers, StepPlace, number};
use crate::{Error, Result};

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

    /// One step on a batch.
    ///
    /// # Errors
    /// If a loss is not finite or the samples do not fit.
    fn step(
        &self,
        learner: &mut Learner<Self::Model>,
        batch: &Batch,
        place: StepPlace,
    ) -> Result<StepNumbers>;

    /// Whether there are samples that are not trained on. Without them, the newest model is the best.
    fn evaluates(&self) -> bool;

    /// Losses and scores of a learner without autodiff on samples that are not trained on, if
    /// there are some.
    ///
    /// # Errors
    /// If a sample cannot be read.
    fn evaluate(&self, learner: &Learner<Self::Model>) -> Result<Option<ValidationResult>>;

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

/// A run of training.
pub struct Trainer<'a, T: TrainingTask> {
    task: T,
    folder: RunFolder,
    checkpoints: CheckpointStore,
    state: State<T::Model>,
    training: Loader,
    logs: Logs,
    observer: &'a mut dyn Observer,
    clock: Clock,
}

/// Time and samples of this part of the run.
#[derive(Debug, Default)]
struct Clock {
    seconds: f64,
    waited: f64,
    samples: usize,
    /// Of every step, without waiting.
    steps: Vec<f64>,
    /// Whether the memory of training alone was read.
    memory_read: bool,
}

/// Opens the folder for a new run, or that of the run to resume.
///
/// # Errors
/// If the folder of a new run holds one, or that of a run to resume holds none.
pub fn open_folder(out: &Path, start: RunStart) -> Result<RunFolder> {
    match start {
        RunStart::New => RunFolder::create(out),
        RunStart::Resume(_) => RunFolder::open(out),
    }
}

impl<'a, T: TrainingTask> Trainer<'a, T> {
    /// Starts a run in an empty folder, or resumes from the newest checkpoint in it.
    ///
    /// # Errors
    /// If the checkpoint or the recipe are not as they should be.
    pub fn new(
        task: T,
        training: Loader,
        folder: RunFolder,
        start: RunStart,
        observer: &'a mut dyn Observer,
    ) -> Result<Self> {
        let plan = task.plan();
        let checkpoints = folder.checkpoints(plan.keep_ckpt);
        for notice in training.notices() {
            observer.event(&Event::Notice(notice));
        }
        // The half-written files of a killed process.
        for dir in [folder.dir(), checkpoints.dir()].into_iter().filter(|dir| dir.is_dir()) {
            remove_stale_parts(dir)?;
        }
        let mut state = match checkpoints.latest()? {
            Some(latest) => {
                let position = &latest.checkpoint.position;
                let continuation = task.check_continues(&position.fingerprint, start.options())?;
                let steps = training.batches_per_epoch();
                check_position(position, steps)?;
                let further = continuation.into_notices((plan.epochs, steps), plan.lr, position);
                for notice in latest.notices.into_iter().chain(further) {
                    observer.event(&Event::Notice(notice));
                }
                let (optimiser, device) = (plan.optimiser, &plan.device);
                let (fresh, checkpoint) = (task.learner()?, &latest.checkpoint);
                State::restore(fresh, plan.ema_decay, optimiser, checkpoint, device)?
            }
            None => State::start(task.learner()?, plan.ema_decay),
        };
        state.position.fingerprint = task.fingerprint();
        if !task.evaluates() {
            // Older versions chose one by the training loss.
            checkpoints.remove_best()?;
        }
        // From here on the folder holds a run: all that could be wrong with it has been looked at.
        folder.write_recipe(&task.recipe())?;
        let mut logs = Logs::open(&folder, state.position.step)?;
        if let Some(baseline) = task.baseline()
            && state.position.step == 0
        {
            logs.measured("predict_the_mean", (0, 0), &baseline.losses, &baseline.scores)?;
        }
        let clock = Clock::default();
        Ok(Self { task, folder, checkpoints, state, training, logs, observer, clock })
    }

    /// Trains until the last step, or until `stop` is set; then a checkpoint is written and the
    /// run can be resumed.
    ///
    /// # Errors
    /// If a sample is bad, a loss is not finite, or a file cannot be written. Checkpoints that
    /// were written before stay.
    pub fn run(mut self, stop: &AtomicBool) -> Result<Outcome> {
        let position = &self.state.position;
        let epochs = self.task.plan().epochs;
        let batches = self.training.batches((position.epoch, position.batch), epochs);
        self.started();
        if self.state.position.step == 0 {
            self.picture()?;
        }
        let mut asked = Instant::now();
        for batch in batches {
            let waited = asked.elapsed().as_secs_f64();
            let batch = batch?;
            self.step(&batch, waited, asked)?;
            if self.epoch_is_over() {
                self.end_epoch()?;
            } else if self.checkpoint_is_due() {
                self.save()?;
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
            asked = Instant::now();
        }
        self.end()
    }

    fn started(&mut self) {
        let event = Event::Started {
            total_steps: self.total_steps(),
            done_steps: self.state.position.step,
            samples: self.training.samples(),
            parameters: multimae::state::trained_values(&self.state.learner.model),
            baseline: self.task.baseline().cloned(),
        };
        self.observer.event(&event);
    }

    fn total_steps(&self) -> u64 {
        self.task.plan().epochs * self.training.batches_per_epoch()
    }

    fn step(&mut self, batch: &Batch, waited: f64, since: Instant) -> Result<()> {
        let step = self.state.position.step;
        let plan = self.task.plan();
        let place =
            StepPlace { step, lr: plan.lr.at(step), weight_decay: plan.weight_decay.at(step) };
        for rejected in &batch.rejected {
            self.observer.event(&Event::Notice(format!("left out: {rejected}")));
        }
        let numbers = self.task.step(&mut self.state.learner, batch, place)?;
        if let Some(ema) = &mut self.state.ema
            && !numbers.skipped
        {
            ema.add(&self.state.learner.model);
        }
        let report = StepReport {
            step,
            epoch: batch.epoch,
            losses: numbers.losses,
            weighted: numbers.weighted,
            grad_norm: numbers.grad_norm,
            skipped: numbers.skipped,
            lr: place.lr,
            weight_decay: place.weight_decay,
            input: numbers.input,
            sets: numbers.sets,
            samples: batch.samples.len(),
            seconds: since.elapsed().as_secs_f64(),
            wait_seconds: waited,
        };
        self.account(batch, &report);
        if step.is_multiple_of(self.task.plan().log_freq) {
            self.logs.step(&report, &self.log_vars())?;
        }
        self.observer.event(&Event::Step(report));
        Ok(())
    }

    /// Moves the position behind a step.
    fn account(&mut self, batch: &Batch, report: &StepReport) {
        let position = &mut self.state.position;
        position.step += 1;
        (position.epoch, position.batch) = (batch.epoch, batch.batch + 1);
        position.seconds += report.seconds;
        position.skipped_steps += u64::from(report.skipped);
        for rejected in &batch.rejected {
            if !position.rejected.contains(&rejected.id) {
                position.rejected.push(rejected.id.clone());
            }
        }
        self.clock.seconds += report.seconds;
        self.clock.waited += report.wait_seconds;
        self.clock.samples += report.samples;
        self.clock.steps.push(report.seconds - report.wait_seconds);
    }

    fn log_vars(&self) -> IndexMap<String, f64> {
        let Some(balancer) = &self.state.learner.balancer else {
            return IndexMap::new();
        };
        let values = balancer.log_vars.val();
        let tasks = balancer.tasks().iter().enumerate();
        tasks.map(|(i, task)| (task.clone(), number(&values.clone().narrow(0, i, 1)))).collect()
    }

    fn epoch_is_over(&self) -> bool {
        self.state.position.batch == self.training.batches_per_epoch()
    }

    fn checkpoint_is_due(&self) -> bool {
        let every = self.task.plan().save_ckpt_steps;
        every.is_some_and(|steps| self.state.position.step.is_multiple_of(steps))
    }

    fn end_epoch(&mut self) -> Result<()> {
        let position = &mut self.state.position;
        (position.epoch, position.batch) = (position.epoch + 1, 0);
        let epochs = position.epoch;
        let plan = self.task.plan();
        let last = epochs == plan.epochs;
        let due = |every: u64| last || epochs.is_multiple_of(every);
        let (measure, draw, save) =
            (due(plan.eval_freq), due(plan.log_images_freq), due(plan.save_ckpt_freq));
        if measure || draw {
            self.read_memory();
        }
        if measure && let Some(measured) = self.task.evaluate(&self.state.evaluated())? {
            self.measured(epochs, measured)?;
        }
        if draw {
            self.picture()?;
            self.report()?;
        }
        if save || self.checkpoint_is_due() { self.save() } else { Ok(()) }
    }

    /// Notes the peak of training alone: evaluating, which comes next, takes memory of its own.
    fn read_memory(&mut self) {
        if !std::mem::replace(&mut self.clock.memory_read, true) {
            let position = &mut self.state.position;
            position.peak_memory = position.peak_memory.max(peak_memory());
        }
    }

    fn measured(&mut self, epoch: u64, measured: ValidationResult) -> Result<()> {
        let step = self.state.position.step.saturating_sub(1);
        let ValidationResult { losses, scores, rank } = measured;
        let seconds = self.state.position.seconds;
        self.logs.evaluated((step, epoch - 1), seconds, &losses, &scores)?;
        let best = self.keep_best(rank)?;
        self.observer.event(&Event::Evaluated { epoch, losses, scores, best });
        Ok(())
    }

    /// Writes the best checkpoint if this rank is lower than all before.
    fn keep_best(&mut self, rank: f64) -> Result<bool> {
        let best = self.state.position.best.is_none_or(|best| rank < best);
        if best {
            self.state.position.best = Some(rank);
            self.checkpoints.save_best(&self.state.checkpoint())?;
        }
        Ok(best)
    }

    fn save(&mut self) -> Result<()> {
        let path = self.checkpoints.save(&self.state.checkpoint())?;
        self.observer.event(&Event::Saved(path));
        Ok(())
    }

    fn picture(&mut self) -> Result<()> {
        let Some(picture) = self.task.draw(&self.state.evaluated())? else { return Ok(()) };
        let step = self.state.position.step;
        fs_err::create_dir_all(self.folder.pictures())?;
        picture.write_png(&self.folder.picture(step))?;
        self.logs.picture(T::PICTURES, step.saturating_sub(1), &picture)
    }

    fn report(&self) -> Result<()> {
        self.task.report(&self.folder, &self.state)
    }

    fn end(mut self) -> Result<Outcome> {
        let total_steps = self.total_steps();
        let position = self.state.position.clone();
        let interrupted = position.step < total_steps;
        if interrupted {
            self.save()?;
            self.picture()?;
        } else {
            self.task.finish(Finished {
                folder: &self.folder,
                checkpoints: &self.checkpoints,
                state: &self.state,
                logs: &mut self.logs,
                step_seconds: &self.clock.steps,
                observer: &mut *self.observer,
            })?;
        }
        self.report()?;
        let seconds = self.clock.seconds.max(f64::MIN_POSITIVE);
        let outcome = Outcome {
            interrupted,
            step: position.step,
            total_steps,
            seconds: position.seconds,
            wait_share: self.clock.waited / seconds,
            samples_per_second: self.clock.samples as f64 / seconds,
            rejected: position.rejected.len(),
            report: Some(self.folder.report()),
        };
        self.observer.event(&Event::Ended(outcome.clone()));
        Ok(outcome)
    }
}

/// Some samples of a set, spread over its first ones: neighbours in a set often show the same
/// room.
///
/// # Errors
/// If a sample cannot be read.
pub fn shown_samples(data: &Loader, count: usize) -> Result<Vec<Sample>> {
    let mut shown = Vec::new();
    for batch in data.batches((0, 0), 1) {
        if shown.len() >= count {
            break;
        }
        shown.extend(batch.map_err(Error::from)?.samples);
    }
    let stride = (shown.len() / count.max(1)).max(1);
    Ok(shown.into_iter().step_by(stride).take(count).collect())
}
