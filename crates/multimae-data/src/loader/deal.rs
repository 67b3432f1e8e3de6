//! The part of every batch that one of several processes makes.

/// Batches dealt out over processes, pass by pass: each has neighbouring passes of every batch, and
/// all of each pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deal {
    /// Samples in a forward pass.
    pass_size: usize,
    /// Passes in a batch.
    passes: usize,
    rank: usize,
    size: usize,
}

impl Deal {
    /// The part of process `rank` of `size`, where a batch has `passes` of `pass_size` samples. The
    /// parts differ by one pass at most.
    #[must_use]
    pub fn new((pass_size, passes): (usize, usize), (rank, size): (usize, usize)) -> Self {
        Self { pass_size: pass_size.max(1), passes: passes.max(1), rank, size: size.max(1) }
    }

    /// Whether this is all there is.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.size == 1
    }

    /// Whether the sample at this place of a batch is made here.
    #[must_use]
    pub fn has(self, place: usize) -> bool {
        let pass = (place / self.pass_size).min(self.passes - 1);
        pass * self.size / self.passes == self.rank
    }
}

/// Everything.
impl Default for Deal {
    fn default() -> Self {
        Self::new((1, 1), (0, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::Deal;

    #[test]
    fn every_pass_belongs_to_one_process_and_parts_are_even() {
        for (passes, size) in [(1, 1), (2, 2), (4, 2), (5, 3), (7, 7), (16, 5)] {
            let mut parts = vec![0; size];
            for place in 0..3 * passes {
                let having: Vec<usize> = (0..size)
                    .filter(|&rank| Deal::new((3, passes), (rank, size)).has(place))
                    .collect();
                assert_eq!(having.len(), 1, "place {place} of {passes} passes, {size} processes");
                assert_eq!(having[0], place / 3 * size / passes);
                parts[having[0]] += 1;
            }
            let (most, least) = (parts.iter().max().unwrap(), parts.iter().min().unwrap());
            assert!(most - least <= 3 && *least > 0, "{parts:?}");
        }
        assert!((0..10).all(|place| Deal::default().has(place)) && Deal::default().is_whole());
    }
}
