//! The distribution of a GEMM among threads.

use std::ops::Range;

use rayon::prelude::*;

/// Products below which a second thread costs more than it saves.
const WORTH_SHARING: usize = 1 << 21;
/// Items of work per thread, so that one that is late does not hold up the others for long.
const ITEMS: usize = 2;
/// The fewest tiles of rows for which an item of its own is worth it.
const FEWEST: usize = 4;

/// Returns the number of threads that share this number of products.
pub(super) fn threads_for(products: usize) -> usize {
    if products >= WORTH_SHARING { rayon::current_num_threads() } else { 1 }
}

/// The blocks of rows, and the shares of the panels of columns, that threads take one by one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub blocks: usize,
    pub shares: usize,
}

impl Grid {
    /// Distributes these tiles of rows and panels of columns, with at most `most` tiles per block.
    pub(super) fn new((tiles, panels): (usize, usize), most: usize, threads: usize) -> Self {
        let at_least = tiles.div_ceil(most.max(1)).max(1);
        if threads == 1 {
            return Self { blocks: at_least, shares: 1 };
        }
        let items = ITEMS * threads;
        let blocks = at_least.max((tiles / FEWEST).min(items));
        if blocks >= threads {
            let blocks = blocks.next_multiple_of(threads).min(tiles.max(1));
            return Self { blocks, shares: 1 };
        }
        let shares = items.div_ceil(at_least).min(panels).max(1);
        if at_least * shares < blocks {
            return Self { blocks, shares: 1 };
        }
        Self { blocks: at_least, shares }
    }

    /// Calls `work` with every block of `rows` and share of `panels`, here or among the threads.
    pub(super) fn for_each(
        self,
        (rows, panels): (usize, usize),
        threads: usize,
        work: impl Fn(Range<usize>, Range<usize>) + Sync + Send,
    ) {
        let Self { blocks, shares } = self;
        let item = |index: usize| {
            work(part(rows, index / shares, blocks), part(panels, index % shares, shares));
        };
        if threads > 1 {
            (0..blocks * shares).into_par_iter().with_max_len(1).for_each(item);
        } else {
            (0..blocks * shares).for_each(item);
        }
    }
}

/// Returns part `index` of `parts` of a range of this length; parts differ by at most one.
fn part(len: usize, index: usize, parts: usize) -> Range<usize> {
    len * index / parts..len * (index + 1) / parts
}

/// Cuts rows into the fewest parts of at most `most`, of even size.
pub(super) fn tiles(rows: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = rows.len().div_ceil(most);
    (0..parts).map(move |index| {
        let part = part(rows.len(), index, parts);
        rows.start + part.start..rows.start + part.end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_cover_everything_once() {
        let sizes = [(0, 3), (1, 1), (1, 40), (14, 7), (197, 96), (800, 1), (3136, 12)];
        for (rows, panels) in sizes {
            let rows: usize = rows;
            for threads in [1, 2, 3, 64] {
                let grid = Grid::new((rows.div_ceil(14), panels), 20, threads);
                assert!(grid.blocks * grid.shares >= threads.min(rows / 56), "idle threads");
                let seen = std::sync::Mutex::new(vec![0; rows * panels]);
                grid.for_each((rows, panels), threads, |rows, of_panels| {
                    assert!(rows.len() <= 20 * 14, "a block of {} rows", rows.len());
                    let mut seen = seen.lock().unwrap();
                    for tile in tiles(rows, 14) {
                        assert!((1..=14).contains(&tile.len()));
                        for row in tile {
                            of_panels.clone().for_each(|panel| seen[row * panels + panel] += 1);
                        }
                    }
                });
                assert!(seen.into_inner().unwrap().iter().all(|&times| times == 1));
            }
        }
    }

    #[test]
    fn tiles_are_even() {
        let lens: Vec<usize> = tiles(3..32, 14).map(|tile| tile.len()).collect();
        assert_eq!(lens, [9, 10, 10]);
    }
}
