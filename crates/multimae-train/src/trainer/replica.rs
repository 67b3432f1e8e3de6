//! The part of a run that every process has: the trained state, and how a step changes it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use multimae_data::{Batch, Loader};
use multimae_group::{Alone, Group, Wire, agree};

use super::{TrainingTask, ValidationResult};
use crate::peers::Peers;
use crate::run::State;
use crate::step::{StepNumbers, StepPlace};
use crate::{Error, Result};

/// A task, its state and its samples, the same in every process of a group.
pub(crate) struct Replica<T: TrainingTask> {
    pub(crate) task: T,
    pub(crate) state: State<T::Model>,
    pub(crate) training: Loader,
    pub(crate) group: Arc<dyn Group>,
    /// The form of gradients between processes.
    pub(crate) wire: Wire,
    /// The norm of the gradients in the last step.
    pub(crate) last_norm: f64,
}

/// A step that was done.
pub(crate) struct StepDone {
    pub(crate) place: StepPlace,
    /// The epoch of its batch.
    pub(crate) epoch: u64,
    pub(crate) numbers: StepNumbers,
}

/// The work that is due behind a step.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Due {
    pub(crate) measure: bool,
    pub(crate) draw: bool,
    pub(crate) save: bool,
}

impl Due {
    /// Whether process 0 has anything to do that others wait for.
    pub(crate) fn anything(self) -> bool {
        self.measure || self.draw || self.save
    }
}

impl<T: TrainingTask> Replica<T> {
    /// The only process.
    pub(crate) fn alone(task: T, state: State<T::Model>, training: Loader) -> Self {
        Self { task, state, training, group: Arc::new(Alone), wire: Wire::F32, last_norm: 0.0 }
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.group.size() == 1
    }

    /// Does a step on the part of a batch that this process has, and moves the position behind it.
    ///
    /// # Errors
    /// If the batch is bad, or the step failed, here or in another process. The state is as it was
    /// before the step then, and all processes have an error.
    pub(crate) fn step(
        &mut self,
        batch: multimae_data::Result<Batch>,
        stop: &AtomicBool,
    ) -> Result<StepDone> {
        let step = self.state.position.step;
        let peers = Peers::new(&*self.group, stop, self.last_norm).with_wire(self.wire);
        let batch = batch.map_err(|error| peers.fail(Error::from(error)))?;
        let plan = self.task.plan();
        let place =
            StepPlace { step, lr: plan.lr.at(step), weight_decay: plan.weight_decay.at(step) };
        let numbers = self.task.step(&mut self.state.learner, (&batch, &peers), place)?;
        self.last_norm = numbers.grad_norm;
        if let Some(ema) = &mut self.state.ema
            && !numbers.skipped
        {
            ema.add(&self.state.learner.model);
        }
        self.move_on(&batch, &numbers);
        Ok(StepDone { place, epoch: batch.epoch, numbers })
    }

    /// Moves the position behind a step.
    fn move_on(&mut self, batch: &Batch, numbers: &StepNumbers) {
        let position = &mut self.state.position;
        position.step += 1;
        (position.epoch, position.batch) = (batch.epoch, batch.batch + 1);
        position.skipped_steps += u64::from(numbers.skipped);
        for rejected in &numbers.rejected {
            if !position.rejected.contains(&rejected.id) {
                position.rejected.push(rejected.id.clone());
            }
        }
    }

    /// Returns the work that is due now. Behind the last batch of an epoch the position moves on to the next.
    pub(crate) fn due(&mut self) -> Due {
        let plan = self.task.plan();
        let position = &mut self.state.position;
        let at_step = plan.save_ckpt_steps.is_some_and(|steps| position.step.is_multiple_of(steps));
        if position.batch != self.training.batches_per_epoch() {
            return Due { save: at_step, ..Due::default() };
        }
        (position.epoch, position.batch) = (position.epoch + 1, 0);
        let epochs = position.epoch;
        let due = |every: u64| epochs == plan.epochs || epochs.is_multiple_of(every);
        Due {
            measure: due(plan.eval_freq),
            draw: due(plan.log_images_freq),
            save: due(plan.save_ckpt_freq) || at_step,
        }
    }

    /// Losses and scores on samples that are not trained on; they are process 0's to use.
    pub(crate) fn evaluate(&self) -> Result<Option<ValidationResult>> {
        let evaluates = self.task.evaluates();
        self.settle(if evaluates {
            self.task.evaluate(&self.state.evaluated(), &*self.group)
        } else {
            Ok(None)
        })
    }

    pub(crate) fn total_steps(&self) -> u64 {
        self.task.plan().epochs * self.training.batches_per_epoch()
    }

    /// Ends all processes where this one failed between two steps that others do.
    pub(crate) fn pass_on(&self, done: Result<()>) -> Result<()> {
        if done.is_err() { agree(&*self.group, done) } else { Ok(()) }
    }

    /// Waits until process 0 has done what only it does, and continues if that went well. Process 0
    /// gives its result.
    pub(crate) fn settle<D>(&self, done: Result<D>) -> Result<D> {
        self.group.await_first()?;
        agree(&*self.group, done)
    }
}
