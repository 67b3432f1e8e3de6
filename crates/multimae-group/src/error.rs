//! The errors of a group.

use std::time::Duration;

/// An error of a group of processes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Ranks did not answer in time.
    #[error(
        "no answer for {} s from {}; look at that machine and at its network, or allow more time \
         with MULTIMAE_TIMEOUT=SECONDS. The newest checkpoint stays: start the run again with \
         --resume",
        waited.as_secs(),
        names(ranks)
    )]
    Silent {
        /// The ranks.
        ranks: Vec<usize>,
        /// The time that this rank waited.
        waited: Duration,
    },

    /// A rank has ended while others waited for it.
    #[error(
        "process {rank} has ended while others waited for it; its own message says why. The \
         newest checkpoint stays: start the run again with --resume"
    )]
    Gone {
        /// The rank.
        rank: usize,
    },

    /// The processes were not started as a group.
    #[error("{0}")]
    Launch(String),

    /// A message of another rank is not what this rank expects.
    #[error(
        "process {rank} sent a message that this one does not understand: {problem}; all \
         processes must run the same program"
    )]
    Message {
        /// The sender.
        rank: usize,
        /// The problem.
        problem: String,
    },
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The ranks in words.
fn names(ranks: &[usize]) -> String {
    let listed: Vec<String> = ranks.iter().map(usize::to_string).collect();
    match listed.as_slice() {
        [one] => format!("process {one}"),
        _ => format!("processes {}", listed.join(", ")),
    }
}
