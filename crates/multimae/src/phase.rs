//! Training or evaluation.

use rand::Rng;

/// The phase of a forward pass, with the source of its random numbers.
pub enum Phase<'a> {
    /// No dropout and no stochastic depth.
    Evaluation,
    /// Dropout and stochastic depth with random numbers of this stream.
    Training(&'a mut dyn Rng),
}
