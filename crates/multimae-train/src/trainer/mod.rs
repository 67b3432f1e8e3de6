//! The loop of every kind of training: steps, records, evaluation, checkpoints, resuming.

mod follower;
mod replica;
mod role;
mod task;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indexmap::IndexMap;
use multimae_data::{Loader, Sample};
use multimae_io::atomic::remove_stale_parts;

use crate::observer::{Event, Observer, Outcome, StepReport};
use crate::run::{CheckpointStore, Logs, RunFolder, RunStart, State, check_position, peak_memory};
use crate::step::number;
use crate::together::Together;
use crate::{Error, Result};

pub(crate) use role::Role;
pub use task::{Finished, TrainingPlan, TrainingTask, ValidationResult};

use replica::{Due, Replica, StepDone};

/// A run of training, as process 0 of its group has it.
pub struct Trainer<'a, T: TrainingTask> {
    replica: Replica<T>,
    folder: RunFolder,
    checkpoints: CheckpointStore,
    logs: Logs,
    observer: &'a mut dyn Observer,
    clock: Clock,
    /// The step of the newest checkpoint.
    saved: Option<u64>,
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

impl Clock {
    fn add(&mut self, report: &StepReport) {
        self.seconds += report.seconds;
        self.waited += report.wait_seconds;
        self.samples += report.samples;
        self.steps.push(report.seconds - report.wait_seconds);
    }
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
        let latest = checkpoints.latest()?;
        let saved = latest.as_ref().map(|latest| latest.checkpoint.position.step);
        let mut state = match latest {
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
        let replica = Replica::alone(task, state, training);
        Ok(Self { replica, folder, checkpoints, logs, observer, clock: Clock::default(), saved })
    }

    /// The fingerprint of the recipe and of the data that this process sees.
    pub(crate) fn fingerprint(&self) -> String {
        self.replica.task.fingerprint()
    }

    /// The same run with the other processes of a group, which get its state.
    ///
    /// # Errors
    /// If one does not answer.
    pub(crate) fn in_group(self, Together { group, wire }: Together) -> Result<Self> {
        if group.size() > 1 {
            let state = self.replica.state.checkpoint().to_bytes(self.folder.dir())?;
            group.broadcast(state)?;
        }
        Ok(Self { replica: Replica { group, wire, ..self.replica }, ..self })
    }

    /// Trains until the last step, or until `stop` is set in any process; then a checkpoint is
    /// written and the run can be resumed.
    ///
    /// # Errors
    /// If a sample is bad, a loss is not finite, or a file cannot be written. Where a step failed, a
    /// checkpoint of the state before it is written; those that were written before stay.
    pub fn run(mut self, stop: &AtomicBool) -> Result<Outcome> {
        let position = &self.replica.state.position;
        let epochs = self.replica.task.plan().epochs;
        let batches = self.replica.training.batches((position.epoch, position.batch), epochs);
        let begun = self.begin();
        self.replica.settle(begun)?;
        let mut asked = Instant::now();
        for batch in batches {
            let waited = asked.elapsed().as_secs_f64();
            let done = match self.replica.step(batch, stop) {
                Ok(done) => done,
                Err(error) => return Err(self.after_failure(error)),
            };
            let stops = done.numbers.stop;
            let recorded = self.record(done, waited, asked);
            let due = self.replica.due();
            if due.measure || due.draw {
                self.read_memory();
            }
            // All processes measure; the rest is for this one.
            let measured = if due.measure { self.replica.evaluate()? } else { None };
            let settled = recorded.and_then(|()| self.after_step(due, measured));
            if due.anything() {
                self.replica.settle(settled)?;
            } else {
                self.replica.pass_on(settled)?;
            }
            if stops || self.replica.is_alone() && stop.load(Ordering::Relaxed) {
                break;
            }
            asked = Instant::now();
        }
        let mut outcome = Outcome::default();
        let ended = self.end().map(|of_run| outcome = of_run);
        self.replica.settle(ended)?;
        Ok(outcome)
    }

    fn begin(&mut self) -> Result<()> {
        self.started();
        if self.replica.state.position.step == 0 {
            self.picture()?;
        }
        Ok(())
    }

    fn started(&mut self) {
        let replica = &self.replica;
        let event = Event::Started {
            total_steps: replica.total_steps(),
            done_steps: replica.state.position.step,
            samples: replica.training.samples(),
            parameters: multimae::state::trained_values(&replica.state.learner.model),
            baseline: replica.task.baseline().cloned(),
        };
        self.observer.event(&event);
    }

    /// Writes the state before a step that failed, so that no step before it is lost.
    fn after_failure(&mut self, error: Error) -> Error {
        let step = self.replica.state.position.step;
        if step > self.saved.unwrap_or_default()
            && let Err(problem) = self.save()
        {
            let notice = format!("the checkpoint of step {step} cannot be written: {problem}");
            self.observer.event(&Event::Notice(notice));
        }
        error
    }

    /// Counts and reports a step.
    fn record(&mut self, done: StepDone, waited: f64, since: Instant) -> Result<()> {
        let StepDone { place, epoch, numbers } = done;
        for rejected in &numbers.rejected {
            self.observer.event(&Event::Notice(format!("left out: {rejected}")));
        }
        let report = StepReport {
            step: place.step,
            epoch,
            losses: numbers.losses,
            weighted: numbers.weighted,
            grad_norm: numbers.grad_norm,
            skipped: numbers.skipped,
            lr: place.lr,
            weight_decay: place.weight_decay,
            input: numbers.input,
            sets: numbers.sets,
            samples: numbers.samples,
            seconds: since.elapsed().as_secs_f64(),
            wait_seconds: waited,
            communication_seconds: numbers.communication_seconds,
        };
        self.replica.state.position.seconds += report.seconds;
        self.clock.add(&report);
        if place.step.is_multiple_of(self.replica.task.plan().log_freq) {
            self.logs.step(&report, &self.log_vars())?;
        }
        self.observer.event(&Event::Step(report));
        Ok(())
    }

    fn log_vars(&self) -> IndexMap<String, f64> {
        let Some(balancer) = &self.replica.state.learner.balancer else {
            return IndexMap::new();
        };
        let values = balancer.log_vars.val();
        let tasks = balancer.tasks().iter().enumerate();
        tasks.map(|(i, task)| (task.clone(), number(&values.clone().narrow(0, i, 1)))).collect()
    }

    /// Does what others wait for behind a step.
    fn after_step(&mut self, due: Due, measured: Option<ValidationResult>) -> Result<()> {
        if let Some(measured) = measured {
            self.measured(self.replica.state.position.epoch, measured)?;
        }
        if due.draw {
            self.picture()?;
            self.report()?;
        }
        if due.save { self.save() } else { Ok(()) }
    }

    /// Notes the peak of training alone: evaluating, which comes next, takes memory of its own.
    fn read_memory(&mut self) {
        if !std::mem::replace(&mut self.clock.memory_read, true) {
            let position = &mut self.replica.state.position;
            position.peak_memory = position.peak_memory.max(peak_memory());
        }
    }

    fn measured(&mut self, epoch: u64, measured: ValidationResult) -> Result<()> {
        let step = self.replica.state.position.step.saturating_sub(1);
        let ValidationResult { losses, scores, rank } = measured;
        let seconds = self.replica.state.position.seconds;
        self.logs.evaluated((step, epoch - 1), seconds, &losses, &scores)?;
        let best = self.keep_best(rank)?;
        self.observer.event(&Event::Evaluated { epoch, losses, scores, best });
        Ok(())
    }

    /// Writes the best checkpoint if this rank is lower than all before.
    fn keep_best(&mut self, rank: f64) -> Result<bool> {
        let state = &mut self.replica.state;
        let best = state.position.best.is_none_or(|best| rank < best);
        if best {
            state.position.best = Some(rank);
            self.checkpoints.save_best(&state.checkpoint())?;
        }
        Ok(best)
    }

    fn save(&mut self) -> Result<()> {
        let state = &self.replica.state;
        let path = self.checkpoints.save(&state.checkpoint())?;
        self.saved = Some(state.position.step);
        self.observer.event(&Event::Saved(path));
        Ok(())
    }

    fn picture(&mut self) -> Result<()> {
        let Replica { task, state, .. } = &self.replica;
        let Some(picture) = task.draw(&state.evaluated())? else { return Ok(()) };
        let step = state.position.step;
        fs_err::create_dir_all(self.folder.pictures())?;
        picture.write_png(&self.folder.picture(step))?;
        self.logs.picture(T::PICTURES, step.saturating_sub(1), &picture)
    }

    fn report(&self) -> Result<()> {
        self.replica.task.report(&self.folder, &self.replica.state)
    }

    fn end(&mut self) -> Result<Outcome> {
        let total_steps = self.replica.total_steps();
        let position = self.replica.state.position.clone();
        let interrupted = position.step < total_steps;
        if interrupted {
            self.save()?;
            self.picture()?;
        } else {
            let Replica { task, state, .. } = &mut self.replica;
            task.finish(Finished {
                folder: &self.folder,
                checkpoints: &self.checkpoints,
                state,
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
