//! A process that trains with process 0: no folder, no records, no pictures.

use std::sync::atomic::AtomicBool;

use multimae_data::Loader;

use super::TrainingTask;
use super::replica::Replica;
use crate::Result;
use crate::observer::Outcome;
use crate::run::{Checkpoint, State};
use crate::together::Together;

/// A run of training as another process than process 0 has it.
pub(crate) struct Follower<T: TrainingTask> {
    replica: Replica<T>,
}

impl<T: TrainingTask> Follower<T> {
    /// Takes the state of process 0's run into a task that was made from the same recipe.
    ///
    /// # Errors
    /// If the state does not fit.
    pub(crate) fn new(
        task: T,
        training: Loader,
        Together { group, wire }: Together,
    ) -> Result<Self> {
        let checkpoint = Checkpoint::from_bytes(group.broadcast(Vec::new())?)?;
        let plan = task.plan();
        let state = State::restore(
            task.learner()?,
            plan.ema_decay,
            plan.optimiser,
            &checkpoint,
            &plan.device,
        )?;
        let replica = Replica { task, state, training, group, wire, last_norm: 0.0 };
        Ok(Self { replica })
    }

    /// Trains until the last step, or until any process is asked to stop.
    ///
    /// # Errors
    /// If any process fails.
    pub(crate) fn run(mut self, stop: &AtomicBool) -> Result<Outcome> {
        let replica = &mut self.replica;
        let (epochs, total_steps) = (replica.task.plan().epochs, replica.total_steps());
        let position = &replica.state.position;
        let batches = replica.training.batches((position.epoch, position.batch), epochs);
        // The first picture.
        replica.settle(Ok(()))?;
        for batch in batches {
            let done = replica.step(batch, stop)?;
            let due = replica.due();
            if due.measure {
                replica.evaluate()?;
            }
            if due.anything() {
                replica.settle(Ok(()))?;
            }
            if done.numbers.stop {
                break;
            }
        }
        replica.settle(Ok(()))?;
        let position = &replica.state.position;
        Ok(Outcome {
            interrupted: position.step < total_steps,
            step: position.step,
            total_steps,
            rejected: position.rejected.len(),
            ..Outcome::default()
        })
    }
}
