//! All ranks continue, or none does.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::{Error, Group, Result};

/// Something failed on another rank.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("process {rank}: {message}")]
pub struct Elsewhere {
    /// The rank, the lowest of those that failed.
    pub rank: usize,
    /// Its message.
    pub message: String,
}

/// Continues with a result if it is good on all ranks. Otherwise every rank has an error: its own if
/// it has one, else that of the lowest rank that has.
///
/// # Errors
/// As said, and if a rank does not answer in time or has ended.
pub fn agree<T, E>(group: &dyn Group, own: Result<T, E>) -> Result<T, E>
where
    E: Display + From<Error> + From<Elsewhere>,
{
    all_agree(group, own.map(|value| (value, ()))).map(|(value, _)| value)
}

/// As [`agree`], with a further value of every rank, which all ranks get by rank.
///
/// # Errors
/// As [`agree`].
pub fn all_agree<T, S, E>(group: &dyn Group, own: Result<(T, S), E>) -> Result<(T, Vec<S>), E>
where
    S: Serialize + for<'a> Deserialize<'a>,
    E: Display + From<Error> + From<Elsewhere>,
{
    if group.size() == 1 {
        return own.map(|(value, shared)| (value, vec![shared]));
    }
    let message: Result<&S, String> = match &own {
        Ok((_, shared)) => Ok(shared),
        Err(error) => Err(error.to_string()),
    };
    let message = postcard::to_allocvec(&message)
        .map_err(|e| Error::Message { rank: group.rank(), problem: e.to_string() })?;
    let all = group.exchange(&message)?;
    let (value, _) = own?;
    let mut shared = Vec::with_capacity(all.len());
    for (rank, message) in all.iter().enumerate() {
        let message: Result<S, String> = postcard::from_bytes(message)
            .map_err(|e| Error::Message { rank, problem: e.to_string() })?;
        shared.push(message.map_err(|message| Elsewhere { rank, message })?);
    }
    Ok((value, shared))
}
