//! Results that are kept for a while, to be fetched one by one.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indexmap::IndexMap;

/// Files of a result by name, such as `depth.png`.
pub(crate) type Files = IndexMap<String, Vec<u8>>;

struct Kept {
    id: String,
    files: Files,
    bytes: usize,
    since: Instant,
}

/// The newest results.
pub(crate) struct Results {
    kept: Mutex<VecDeque<Kept>>,
    most: usize,
    lasts: Duration,
}

impl Results {
    pub(crate) fn new(most: usize, lasts: Duration) -> Self {
        Self { kept: Mutex::new(VecDeque::new()), most, lasts }
    }

    /// Keeps files under an id that cannot be guessed. Older ones make room.
    pub(crate) fn keep(&self, id: String, files: Files) {
        let bytes = files.values().map(Vec::len).sum();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(Kept { id, files, bytes, since: Instant::now() });
        let mut all: usize = kept.iter().map(|one| one.bytes).sum();
        while let Some(oldest) = kept.front() {
            let stale = oldest.since.elapsed() > self.lasts;
            if !stale && (all <= self.most || kept.len() == 1) {
                break;
            }
            all -= oldest.bytes;
            kept.pop_front();
        }
    }

    /// A file of a result, unless it is gone.
    pub(crate) fn get(&self, id: &str, file: &str) -> Option<Vec<u8>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let one = kept.iter().find(|one| one.id == id && one.since.elapsed() <= self.lasts)?;
        one.files.get(file).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(bytes: usize) -> Files {
        Files::from([("a.png".to_owned(), vec![7; bytes])])
    }

    #[test]
    fn old_results_make_room() {
        let results = Results::new(10, Duration::from_secs(60));
        for (id, bytes) in [("1", 4), ("2", 4), ("3", 4), ("large", 99)] {
            results.keep(id.to_owned(), files(bytes));
        }
        let there = |id: &str| results.get(id, "a.png").is_some();
        assert_eq!(["1", "2", "3", "large"].map(there), [false, false, false, true]);
        assert!(results.get("large", "b.png").is_none());
        let results = Results::new(10, Duration::ZERO);
        results.keep("1".to_owned(), files(1));
        assert!(results.get("1", "a.png").is_none());
    }
}
