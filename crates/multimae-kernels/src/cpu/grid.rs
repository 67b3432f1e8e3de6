//! The distribution of a GEMM among threads.

use std::ops::Range;

use rayon::prelude::*;

/// Items of work per thread, so that one that is late does not hold up the others for long.
const ITEMS: usize = 2;

/// The blocks of panels of rows, and the shares of the columns' panels, that threads take one by one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub blocks: usize,
    pub shares: usize,
}

impl Grid {
    /// For these panels of rows and of columns, of which `most` panels of rows stay in a core's cache, and
    /// `fewest` are worth an item of their own.
    pub(super) fn new(
        (rows, columns): (usize, usize),
        (fewest, most): (usize, usize),
        threads: usize,
    ) -> Self {
        let at_least = rows.div_ceil(most.max(1)).max(1);
        if threads == 1 {
            return Self { blocks: at_least, shares: 1 };
        }
        let items = ITEMS * threads;
        let wanted = at_least.max((rows / fewest).min(items));
        if wanted >= threads {
            let blocks = wanted.next_multiple_of(threads).min(rows.max(1));
            return Self { blocks, shares: 1 };
        }
        // Every block is packed once for each share of the columns.
        let shares = items.div_ceil(at_least).min(columns).max(1);
        if at_least * shares < wanted {
            return Self { blocks: wanted, shares: 1 };
        }
        Self { blocks: at_least, shares }
    }

    /// Calls `work` with every block of `rows` and share of `columns`, of panels or of what they hold, here
    /// or among the threads.
    pub(super) fn for_each(
        self,
        (rows, columns): (usize, usize),
        threads: usize,
        work: impl Fn(Range<usize>, Range<usize>) + Sync + Send,
    ) {
        let Self { blocks, shares } = self;
        let item = |index: usize| {
            let block = Self::part(rows, index / shares, blocks);
            work(block, Self::part(columns, index % shares, shares));
        };
        if threads > 1 {
            (0..blocks * shares).into_par_iter().with_max_len(1).for_each(item);
        } else {
            (0..blocks * shares).for_each(item);
        }
    }

    /// Part `index` of `parts` of a range of this length; parts differ by at most one.
    pub(super) fn part(len: usize, index: usize, parts: usize) -> Range<usize> {
        len * index / parts..len * (index + 1) / parts
    }
}
