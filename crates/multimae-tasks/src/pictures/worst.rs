//! The worst of a set, for pictures.

/// Keeps the `limit` things with the largest badness.
#[derive(Debug, Clone)]
pub(crate) struct Worst<T> {
    limit: usize,
    kept: Vec<(f64, T)>,
}

impl<T> Worst<T> {
    /// Nothing yet.
    #[must_use]
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, kept: Vec::new() }
    }

    /// Keeps a thing if it is bad enough; it is only made then. Of equals the earlier stays.
    ///
    /// # Errors
    /// Those of making it.
    pub(crate) fn offer<E>(
        &mut self,
        badness: f64,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<(), E> {
        let place = self.kept.partition_point(|(kept, _)| *kept >= badness);
        if place < self.limit && !badness.is_nan() {
            self.kept.insert(place, (badness, make()?));
            self.kept.truncate(self.limit);
        }
        Ok(())
    }

    /// The kept things, the worst first.
    #[must_use]
    pub(crate) fn worst_first(&self) -> Vec<&T> {
        self.kept.iter().map(|(_, thing)| thing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_are_kept_in_order() {
        let mut worst = Worst::new(3);
        for (badness, name) in
            [(0.2, "b"), (0.9, "d"), (f64::NAN, "n"), (0.1, "a"), (0.9, "e"), (0.5, "c")]
        {
            worst.offer(badness, || Ok::<_, ()>(name)).unwrap();
        }
        assert_eq!(worst.worst_first(), [&"d", &"e", &"c"]);
        let mut none = Worst::new(0);
        assert!(none.offer(1.0, || Err::<(), _>("not made")).is_ok());
        let mut one = Worst::<()>::new(1);
        assert!(one.offer(1.0, || Err("made")).is_err());
    }
}
