//! Results that are kept for a while, to be fetched piece by piece.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

struct Kept<T> {
    id: String,
    result: Arc<T>,
    bytes: usize,
    since: Instant,
}

/// The newest results.
pub(crate) struct Results<T> {
    kept: Mutex<VecDeque<Kept<T>>>,
    most: usize,
    lasts: Duration,
}

impl<T> Results<T> {
    /// Keeps `most` bytes of results, each for the time that it `lasts`.
    pub(crate) fn new(most: usize, lasts: Duration) -> Self {
        Self { kept: Mutex::new(VecDeque::new()), most, lasts }
    }

    /// Keeps a result of this number of bytes under an id that cannot be guessed. Older ones make
    /// room.
    pub(crate) fn keep(&self, id: String, result: T, bytes: usize) {
        self.keep_at(Instant::now(), id, result, bytes);
    }

    fn keep_at(&self, now: Instant, id: String, result: T, bytes: usize) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(Kept { id, result: Arc::new(result), bytes, since: now });
        let mut all: usize = kept.iter().map(|one| one.bytes).sum();
        while let Some(oldest) = kept.front() {
            if self.lasts_at(now, oldest) && (all <= self.most || kept.len() == 1) {
                break;
            }
            all -= oldest.bytes;
            kept.pop_front();
        }
    }

    /// Forgets results that are no longer kept. Says whether there were some.
    pub(crate) fn sweep(&self) -> bool {
        self.sweep_at(Instant::now())
    }

    fn sweep_at(&self, now: Instant) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let before = kept.len();
        kept.retain(|one| self.lasts_at(now, one));
        kept.shrink_to_fit();
        kept.len() < before
    }

    /// A result, unless it is gone.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<T>> {
        self.get_at(Instant::now(), id)
    }

    fn get_at(&self, now: Instant, id: &str) -> Option<Arc<T>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let one = kept.iter().find(|one| one.id == id && self.lasts_at(now, one))?;
        Some(Arc::clone(&one.result))
    }

    fn lasts_at(&self, now: Instant, one: &Kept<T>) -> bool {
        now.saturating_duration_since(one.since) <= self.lasts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_results_make_room() {
        let results = Results::new(10, Duration::from_secs(60));
        for (id, bytes) in [("1", 4), ("2", 4), ("3", 4), ("large", 99)] {
            results.keep(id.to_owned(), bytes, bytes);
        }
        let there = |id: &str| results.get(id).is_some();
        assert_eq!(["1", "2", "3", "large"].map(there), [false, false, false, true]);
        assert_eq!(results.get("large").as_deref(), Some(&99));
    }

    #[test]
    fn results_are_kept_for_their_time() {
        let lasts = Duration::from_secs(60);
        let results = Results::new(10, lasts);
        let begin = Instant::now();
        results.keep_at(begin, "1".to_owned(), (), 1);
        let (last, late) = (begin + lasts, begin + lasts + Duration::from_nanos(1));
        assert!(results.get_at(last, "1").is_some());
        assert!(!results.sweep_at(last), "it lasts to the end of its time");
        assert!(results.get_at(late, "1").is_none());
        assert!(results.sweep_at(late));
        assert!(!results.sweep_at(late), "nothing is left");
    }
}
