//! The beginning of a run in each process.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use multimae_data::Loader;
use multimae_group::{Group, agree, all_agree};

use super::follower::Follower;
use super::{Trainer, TrainingTask};
use crate::observer::Outcome;
use crate::together::Together;
use crate::{Error, Result};

/// A run as one process has it.
pub(crate) enum Role<'a, T: TrainingTask> {
    /// Process 0, with the folder.
    First(Box<Trainer<'a, T>>),
    /// Another process.
    Other(Box<Follower<T>>),
}

impl<'a, T: TrainingTask> Role<'a, T> {
    /// The role of this process: from the same parts, process 0 begins a run, and others make its
    /// task with their samples.
    pub(crate) fn of<P>(
        together: Together,
        parts: P,
        first: impl FnOnce(P, &dyn Group) -> Result<Trainer<'a, T>>,
        other: impl FnOnce(P, &dyn Group) -> Result<(T, Loader)>,
    ) -> Result<Self> {
        let group = Arc::clone(&together.group);
        if group.rank() == 0 {
            Self::first(first(parts, &*group), together)
        } else {
            Self::other(other(parts, &*group), together)
        }
    }

    /// Process 0 with a run that it began, as far as it could.
    fn first(trainer: Result<Trainer<'a, T>>, together: Together) -> Result<Self> {
        let group = Arc::clone(&together.group);
        let trainer = begin(&*group, trainer, Trainer::fingerprint)?;
        let trainer = agree(&*group, trainer.in_group(together))?;
        Ok(Self::First(Box::new(trainer)))
    }

    /// Another process with its task, as far as it could make it, and its samples.
    fn other(task: Result<(T, Loader)>, together: Together) -> Result<Self> {
        let (task, training) = begin(&*together.group, task, |(task, _)| task.fingerprint())?;
        let group = Arc::clone(&together.group);
        let follower = agree(&*group, Follower::new(task, training, together))?;
        Ok(Self::Other(Box::new(follower)))
    }

    pub(crate) fn run(self, stop: &AtomicBool) -> Result<Outcome> {
        match self {
            Self::First(trainer) => trainer.run(stop),
            Self::Other(follower) => follower.run(stop),
        }
    }
}

/// Begins if all processes are ready and see the same recipe and the same data.
///
/// # Errors
/// If any is not, or does not.
fn begin<T>(group: &dyn Group, own: Result<T>, fingerprint: impl Fn(&T) -> String) -> Result<T> {
    let own = own.map(|task| {
        let fingerprint = fingerprint(&task);
        (task, fingerprint)
    });
    // Process 0 also measures the baseline and looks at labels, however long that takes.
    group.await_first()?;
    let (task, fingerprints) = all_agree::<_, _, Error>(group, own)?;
    match fingerprints.iter().position(|fingerprint| *fingerprint != fingerprints[0]) {
        Some(rank) => Err(Error::Differs { rank, what: "another recipe or other data".to_owned() }),
        None => Ok(task),
    }
}
