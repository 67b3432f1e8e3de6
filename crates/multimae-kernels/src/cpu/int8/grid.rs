//! The distribution of a call among threads.

use std::ops::Range;

use super::super::grid::Grid;

/// Products below which a second thread costs more than it saves.
const WORTH_SHARING: usize = 1 << 21;
/// The fewest tiles of rows for which an item of its own is worth it.
const FEWEST: usize = 4;

/// Returns the number of threads that share this number of products.
pub(super) fn threads_for(products: usize) -> usize {
    if products >= WORTH_SHARING { rayon::current_num_threads() } else { 1 }
}

/// Distributes these tiles of rows and panels of columns, with at most `most` tiles per block.
pub(super) fn grid(sizes: (usize, usize), most: usize, threads: usize) -> Grid {
    Grid::new(sizes, (FEWEST, most), threads)
}

/// The result's place, in which threads write apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(pub(super) *mut f32);

// SAFETY: every thread writes to its own rows and columns of the place, or pixels and channels, as a grid
// deals them out.
#[allow(unsafe_code)]
unsafe impl Send for Place {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Place {}

/// Cuts rows into the fewest parts of at most `most`, of even size.
pub(super) fn tiles(rows: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = rows.len().div_ceil(most);
    (0..parts).map(move |index| {
        let part = Grid::part(rows.len(), index, parts);
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
                let grid = grid((rows.div_ceil(14), panels), 20, threads);
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
