//! The processes that a run is trained by, and the samples of each.

use std::sync::Arc;

use multimae_data::{Deal, Loader};
use multimae_group::{Alone, Group, Wire};

use crate::{Error, Result};

/// The processes that a run is trained by.
#[derive(Debug, Clone)]
pub struct Together {
    /// Who they are.
    pub group: Arc<dyn Group>,
    /// The form of gradients on their way between them.
    pub wire: Wire,
}

impl Together {
    /// One process.
    #[must_use]
    pub fn alone() -> Self {
        Self { group: Arc::new(Alone), wire: Wire::F32 }
    }
}

/// The part of every batch that this process has: its passes.
///
/// # Errors
/// If there are more processes than passes in a batch.
pub(crate) fn dealt(
    training: Loader,
    (batch_size, update_freq): (usize, usize),
    group: &dyn Group,
) -> Result<Loader> {
    let (rank, size) = (group.rank(), group.size());
    if size > update_freq.max(1) {
        let global = batch_size * update_freq;
        let smaller = (global / size).max(1);
        return Err(Error::Recipe(format!(
            "{size} processes cannot share {update_freq} passes of {batch_size} samples: a pass is \
             never split. For the same {global} samples in a step, set `batch_size: {smaller}` and \
             `update_freq: {}`",
            global.div_ceil(smaller)
        )));
    }
    Ok(training.with_deal(Deal::new((batch_size, update_freq), (rank, size))))
}
