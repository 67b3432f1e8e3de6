//! The order of the samples of an epoch.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::stream;

/// The random order of the samples of an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Any sample may follow any other. Reads go all over the files.
    #[default]
    Samples,
    /// Shards in random order, some at a time, and the samples of these in random order: for disks
    /// and networks that are slow at reading all over a data set. The larger the window, the closer
    /// to [`Self::Samples`].
    Shards {
        /// The shards whose samples are mixed.
        window: usize,
    },
}

/// The indices below `len` in the order of `epoch`.
pub(super) fn samples(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    shuffle(&mut order, &mut stream(seed, "order", epoch, 0));
    order
}

/// The indices of `blocks` in the order of `epoch`, of which `window` are mixed at a time.
pub(super) fn shards(blocks: &[Vec<usize>], window: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let chosen = shard_order(blocks.len(), seed, epoch);
    let mut order = Vec::with_capacity(blocks.iter().map(Vec::len).sum());
    for (number, mixed) in chosen.chunks(window.max(1)).enumerate() {
        let first = order.len();
        order.extend(mixed.iter().flat_map(|&block| &blocks[block]).copied());
        // Stream 0 is that of all samples.
        shuffle(&mut order[first..], &mut stream(seed, "order", epoch, number as u64 + 1));
    }
    order
}

/// The shards below `count` in the order of `epoch`.
pub(super) fn shard_order(count: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..count).collect();
    shuffle(&mut chosen, &mut stream(seed, "shards", epoch, 0));
    chosen
}

/// Brings indices into a random order (Fisher and Yates).
pub(super) fn shuffle(order: &mut [usize], rng: &mut impl Rng) {
    for i in (1..order.len()).rev() {
        order.swap(i, rng.random_range(0..=i));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_shards_are_mixed_and_nothing_is_lost() {
        let blocks: Vec<Vec<usize>> =
            (0..6).map(|block| (block * 10..block * 10 + 10).collect()).collect();
        let order = shards(&blocks, 2, 7, 3);
        assert_eq!(order, shards(&blocks, 2, 7, 3));
        assert_ne!(order, shards(&blocks, 2, 7, 4));
        assert_ne!(order, shards(&blocks, 2, 8, 3));
        let mut all = order.clone();
        all.sort_unstable();
        assert_eq!(all, (0..60).collect::<Vec<_>>());
        for window in order.chunks(20) {
            let mut used: Vec<usize> = window.iter().map(|index| index / 10).collect();
            assert!(!used.is_sorted(), "the samples of two shards are mixed: {window:?}");
            used.sort_unstable();
            used.dedup();
            assert_eq!(used.len(), 2, "{window:?}");
        }
        // More shards than there are: one window.
        assert_eq!(shards(&blocks, 100, 7, 3).len(), 60);
    }
}
