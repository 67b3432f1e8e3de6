//! Checks that the configurations of pools share. They name the key that is wrong.

use crate::{Error, Result};

/// An error of a configuration.
pub(super) fn error(what: &str, problem: &str) -> Error {
    Error::Config(format!("{what}: {problem}"))
}

/// Sizes are at least 1.
pub(super) fn sizes(what: &str, sizes: &[(&str, usize)]) -> Result<()> {
    match sizes.iter().find(|(_, size)| *size == 0) {
        Some((key, _)) => Err(error(what, &format!("`{key}` must be at least 1"))),
        None => Ok(()),
    }
}

/// A sample takes at least one entry, and not more than there are.
pub(super) fn top_n(what: &str, top_n: usize, entries: usize) -> Result<()> {
    if top_n == 0 || top_n > entries {
        let problem =
            format!("`top_n` is {top_n} and there are {entries} `entries`; choose 1 to {entries}");
        return Err(error(what, &problem));
    }
    Ok(())
}

/// Weights are finite and not negative.
pub(super) fn weights(what: &str, weights: &[(&str, f64)]) -> Result<()> {
    match weights.iter().find(|(_, weight)| !(weight.is_finite() && *weight >= 0.0)) {
        Some((key, weight)) => {
            Err(error(what, &format!("`{key}` is {weight}; it must be at least 0")))
        }
        None => Ok(()),
    }
}

/// Temperatures are finite and positive.
pub(super) fn temperature(what: &str, key: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(error(what, &format!("`{key}` is {value}; it must be above 0")))
}
