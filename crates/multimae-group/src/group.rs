//! The operations of processes that train together.

use std::fmt;

use crate::Result;

/// The form of values on their way between ranks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wire {
    /// As they are.
    #[default]
    F32,
    /// Rounded to bfloat16, half the bytes; they are added in `f32`.
    Bf16,
}

/// Processes that train together. All ranks call the same functions in the same order.
pub trait Group: fmt::Debug + Send + Sync {
    /// The number of this process, from 0. Rank 0 owns the run's folder.
    fn rank(&self) -> usize;

    /// The number of processes.
    fn size(&self) -> usize;

    /// Every rank gives bytes, and gets those of all by rank.
    ///
    /// # Errors
    /// If a rank does not answer in time, or has ended.
    fn exchange(&self, own: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// Returns the bytes of rank 0 on all ranks; what others give is not looked at.
    ///
    /// # Errors
    /// If a rank does not answer in time, or has ended.
    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>>;

    /// Replaces values by their sums over all ranks, which give the same number of values. Terms
    /// are added [in halves](crate::in_halves) of the ranks: all ranks have the same bits, in every run.
    ///
    /// # Errors
    /// If a rank does not answer in time, or has ended.
    fn sum(&self, values: &mut [f32], wire: Wire) -> Result<()>;

    /// Waits until rank 0 comes here too, however long that takes: it may be evaluating.
    ///
    /// # Errors
    /// If rank 0 has ended.
    fn await_first(&self) -> Result<()>;
}
