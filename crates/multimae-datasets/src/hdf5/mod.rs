//! HDF5 files of published data sets: opening them, checks before values are read, and errors with a
//! remedy.
//!
//! The library allocates what a file claims, and follows what its index of chunks states, so every
//! array goes through [`check_chunks`] before it is read.

mod chunks;
mod half;
mod problem;

pub(crate) use chunks::{MOST_BYTES, check_chunks};
pub(crate) use half::{is_half, of_halves};
pub(crate) use problem::{DAMAGED, problem_or};

#[cfg(test)]
mod tests;
