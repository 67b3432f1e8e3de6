//! The distribution of a GEMM among threads.

use std::ops::Range;

/// Items of work per thread, so that one that is late does not hold up the others for long.
const ITEMS: usize = 2;
/// The fewest panels of rows for which an item of its own is worth it.
pub(super) const FEWEST: usize = 6;

/// The blocks of panels of rows, and the shares of the columns' panels, that threads take one by one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub blocks: usize,
    pub shares: usize,
}

impl Grid {
    /// For these panels of rows and of columns, of which `most` panels of rows stay in a core's cache.
    pub(super) fn new((rows, columns): (usize, usize), most: usize, threads: usize) -> Self {
        let at_least = rows.div_ceil(most);
        if threads == 1 {
            return Self { blocks: at_least, shares: 1 };
        }
        let items = ITEMS * threads;
        let wanted = at_least.max((rows / FEWEST).min(items));
        if wanted >= threads {
            return Self { blocks: wanted.next_multiple_of(threads).min(rows), shares: 1 };
        }
        // Every block is packed once for each share of the columns.
        let shares = items.div_ceil(at_least).min(columns);
        if at_least * shares < wanted {
            return Self { blocks: wanted, shares: 1 };
        }
        Self { blocks: at_least, shares }
    }

    /// Part `index` of `parts` of this number of panels; parts differ by at most one panel.
    pub(super) fn part(panels: usize, index: usize, parts: usize) -> Range<usize> {
        panels * index / parts..panels * (index + 1) / parts
    }
}
