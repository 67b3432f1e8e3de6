//! The loop of pre-training.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indexmap::IndexMap;
use multimae_data::{Batch, Loader, Sample};
use multimae_report::atomic::remove_stale_parts;

use super::evaluation::{evaluate, predict_the_mean};
use super::logs::Logs;
use super::pictures::reconstructions;
use super::report::write_report;
use super::state::State;
use super::step::{StepPlace, number, train_step};
use super::{Baseline, Setting};
use crate::observer::{Event, Observer, Outcome, StepReport};
use crate::run::{CheckpointStore, RunFolder};
use crate::schedule::CosineSchedule;
use crate::{Error, Result};

/// Without evaluation samples, the baseline is measured on no more training samples than this.
const BASELINE_SAMPLES: usize = 512;

/// A run of pre-training.
pub struct Pretraining<'a> {
    setting: Setting,
    folder: RunFolder,
    checkpoints: CheckpointStore,
    state: State,
    training: Loader,
    evaluation: Option<Loader>,
    /// Samples that pictures show.
    shown: Vec<Sample>,
    baseline: Baseline,
    logs: Logs,
    lr: CosineSchedule,
    weight_decay: CosineSchedule,
    observer: &'a mut dyn Observer,
    clock: Clock,
}

/// Time and samples of this part of the run.
#[derive(Debug, Default)]
struct Clock {
    seconds: f64,
    waited: f64,
    samples: usize,
}

impl<'a> Pretraining<'a> {
    /// Begins a run in an empty folder, or goes on with the one in `out`.
    ///
    /// # Errors
    /// If the folder holds a run and `resume` is not set, or holds none and it is; if the data, the
    /// checkpoint or the recipe are not as they should be.
    pub fn new(
        setting: Setting,
        out: &Path,
        resume: bool,
        observer: &'a mut dyn Observer,
    ) -> Result<Self> {
        let training = setting.training_data()?;
        let evaluation = setting.evaluation_data()?;
        let folder = if resume { RunFolder::open(out)? } else { RunFolder::create(out)? };
        let checkpoints = folder.checkpoints(setting.recipe.keep_ckpt);
        // What a killed process left half-written.
        for dir in [folder.dir(), checkpoints.dir()].into_iter().filter(|dir| dir.is_dir()) {
            remove_stale_parts(dir)?;
        }
        let state = match checkpoints.latest()? {
            Some(checkpoint) => State::restore(&setting, &checkpoint)?,
            None => State::start(&setting)?,
        };
        let steps_per_epoch = training.batches_per_epoch();
        let (lr, weight_decay) = setting.schedules(steps_per_epoch);
        let measured = match &evaluation {
            Some(loader) => loader.clone(),
            None => setting.training_in_order(BASELINE_SAMPLES)?,
        };
        let baseline = Baseline {
            losses: predict_the_mean(&setting, &measured)?,
            on: if evaluation.is_some() { "evaluation" } else { "training" },
        };
        let shown = shown_samples(&measured, setting.recipe.log_images)?;
        // From here on the folder holds a run: all that could be wrong with it has been looked at.
        folder.write_recipe(&setting.recipe.to_yaml())?;
        let mut logs = Logs::open(&folder, state.position.step)?;
        if state.position.step == 0 {
            logs.losses("predict_the_mean", 0, 0, &baseline.losses)?;
        }
        Ok(Self {
            checkpoints,
            state,
            training,
            evaluation,
            shown,
            baseline,
            logs,
            lr,
            weight_decay,
            observer,
            clock: Clock::default(),
            setting,
            folder,
        })
    }

    /// Trains until the last step, or until `stop` is set; then a checkpoint is written and the
    /// run can be resumed.
    ///
    /// # Errors
    /// If a sample is bad, a loss is not finite, or a file cannot be written. Checkpoints that
    /// were written before stay.
    pub fn run(mut self, stop: &AtomicBool) -> Result<Outcome> {
        let epochs = self.setting.recipe.epochs as u64;
        let position = &self.state.position;
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
            baseline: self.baseline.clone(),
        };
        self.observer.event(&event);
    }

    fn total_steps(&self) -> u64 {
        self.setting.recipe.epochs as u64 * self.training.batches_per_epoch()
    }

    fn step(&mut self, batch: &Batch, waited: f64, since: Instant) -> Result<()> {
        let step = self.state.position.step;
        let place =
            StepPlace { step, lr: self.lr.at(step), weight_decay: self.weight_decay.at(step) };
        for rejected in &batch.rejected {
            self.observer.event(&Event::Notice(format!("left out: {rejected}")));
        }
        let learner = self.state.learner.clone();
        let (learner, numbers) = train_step(&self.setting, learner, batch, place)?;
        self.state.learner = learner;
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
            samples: batch.samples.len(),
            seconds: since.elapsed().as_secs_f64(),
            wait_seconds: waited,
        };
        self.account(batch, &report);
        if step.is_multiple_of(self.setting.recipe.log_freq as u64) {
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
        position.epoch_loss += report.loss();
        position.epoch_steps += 1;
        position.skipped_steps += u64::from(report.skipped);
        for rejected in &batch.rejected {
            if !position.rejected.contains(&rejected.id) {
                position.rejected.push(rejected.id.clone());
            }
        }
        self.clock.seconds += report.seconds;
        self.clock.waited += report.wait_seconds;
        self.clock.samples += report.samples;
    }

    fn log_vars(&self) -> IndexMap<String, f64> {
        let Some(balancer) = &self.state.learner.balancer else {
            return IndexMap::new();
        };
        let values = balancer.log_vars.val();
        let tasks = self.setting.objective.tasks.iter().enumerate();
        tasks
            .map(|(i, task)| (task.name.clone(), number(&values.clone().narrow(0, i, 1))))
            .collect()
    }

    fn epoch_is_over(&self) -> bool {
        self.state.position.batch == self.training.batches_per_epoch()
    }

    fn checkpoint_is_due(&self) -> bool {
        let every = self.setting.recipe.save_ckpt_steps.map(|steps| steps as u64);
        every.is_some_and(|steps| self.state.position.step.is_multiple_of(steps))
    }

    fn end_epoch(&mut self) -> Result<()> {
        let position = &mut self.state.position;
        (position.epoch, position.batch) = (position.epoch + 1, 0);
        let mean_loss = position.epoch_loss / position.epoch_steps.max(1) as f64;
        (position.epoch_loss, position.epoch_steps) = (0.0, 0);
        let epochs = position.epoch;
        let recipe = &self.setting.recipe;
        let last = epochs == recipe.epochs as u64;
        let due = |every: usize| last || epochs.is_multiple_of(every as u64);
        let (measure, draw, save) =
            (due(recipe.eval_freq), due(recipe.log_images_freq), due(recipe.save_ckpt_freq));
        match &self.evaluation {
            Some(data) if measure => {
                let losses = evaluate(&self.setting, &self.state.evaluated(), data)?;
                self.measured(epochs, losses)?;
            }
            Some(_) => {}
            None => {
                self.keep_best(mean_loss)?;
            }
        }
        if draw {
            self.picture()?;
            self.report()?;
        }
        if save || self.checkpoint_is_due() { self.save() } else { Ok(()) }
    }

    fn measured(&mut self, epoch: u64, losses: IndexMap<String, f64>) -> Result<()> {
        let step = self.state.position.step.saturating_sub(1);
        self.logs.losses("eval", step, epoch - 1, &losses)?;
        let best = self.keep_best(losses.values().sum())?;
        self.observer.event(&Event::Evaluated { epoch, losses, best });
        Ok(())
    }

    /// Writes the best checkpoint if this score is lower than all before.
    fn keep_best(&mut self, score: f64) -> Result<bool> {
        let best = self.state.position.best.is_none_or(|best| score < best);
        if best {
            self.state.position.best = Some(score);
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
        if self.shown.is_empty() {
            return Ok(());
        }
        let picture = reconstructions(&self.setting, &self.state.evaluated(), &self.shown)?;
        let step = self.state.position.step;
        fs_err::create_dir_all(self.folder.pictures())?;
        picture.write_png(&self.folder.picture(step))?;
        self.logs.picture("reconstructions", step.saturating_sub(1), &picture)
    }

    fn report(&self) -> Result<()> {
        write_report(&self.folder, &self.setting, &self.state, &self.baseline)
    }

    fn end(mut self) -> Result<Outcome> {
        let total_steps = self.total_steps();
        let position = self.state.position.clone();
        let interrupted = position.step < total_steps;
        if interrupted {
            self.save()?;
            self.picture()?;
        } else {
            self.state.write_model(&self.setting, &self.folder.model())?;
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

fn shown_samples(data: &Loader, count: usize) -> Result<Vec<Sample>> {
    let mut shown = Vec::new();
    for batch in data.batches((0, 0), 1) {
        if shown.len() >= count {
            break;
        }
        shown.extend(batch.map_err(Error::from)?.samples);
    }
    // Spread over the first batch: neighbours in a set often show the same room.
    let stride = (shown.len() / count.max(1)).max(1);
    Ok(shown.into_iter().step_by(stride).take(count).collect())
}
