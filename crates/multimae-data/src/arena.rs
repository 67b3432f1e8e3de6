//! Many strings in one allocation.

use serde::{Deserialize, Serialize};

/// Strings one behind the other: a string takes its bytes and 8 more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StringArena {
    text: String,
    ends: Vec<u64>,
}

impl StringArena {
    /// The number of strings.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Appends a string.
    pub(crate) fn push(&mut self, string: &str) {
        self.text.push_str(string);
        self.ends.push(self.text.len() as u64);
    }

    /// The string at a place; an empty one beyond the end.
    pub(crate) fn get(&self, place: usize) -> &str {
        let end = |place: usize| self.ends.get(place).map(|&end| end as usize);
        let start = place.checked_sub(1).map_or(Some(0), end);
        let range = start.zip(end(place)).map(|(start, end)| start..end);
        range.and_then(|range| self.text.get(range)).unwrap_or_default()
    }

    /// All strings in their order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        (0..self.len()).map(|place| self.get(place))
    }

    /// The place of a string among sorted ones.
    pub(crate) fn find(&self, string: &str) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle).cmp(string) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(middle),
            }
        }
        None
    }

    /// Returns whether every string lies in the text: those of a damaged file may not.
    pub(crate) fn is_sound(&self) -> bool {
        let inside =
            |&end: &u64| usize::try_from(end).is_ok_and(|end| self.text.is_char_boundary(end));
        self.ends.is_sorted()
            && self.ends.iter().all(inside)
            && self.ends.last().copied().unwrap_or(0) == self.text.len() as u64
    }

    /// Gives back the memory that was reserved for more strings.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

impl<S: AsRef<str>> FromIterator<S> for StringArena {
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Self {
        let mut arena = Self::default();
        strings.into_iter().for_each(|string| arena.push(string.as_ref()));
        arena.shrink_to_fit();
        arena
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back_and_are_found() {
        let strings = ["", "a", "caf\u{e9}", "cafe", "z/1"];
        let mut sorted = strings.to_vec();
        sorted.sort_unstable();
        let arena: StringArena = sorted.iter().collect();
        assert_eq!(arena.iter().collect::<Vec<_>>(), sorted);
        for (place, string) in sorted.iter().enumerate() {
            assert_eq!(arena.find(string), Some(place));
        }
        assert_eq!((arena.find("b"), arena.get(5), arena.len()), (None, "", 5));
    }

    #[test]
    fn places_outside_the_text_are_noticed() {
        let sound = |text: &str, ends: &[u64]| {
            StringArena { text: text.to_owned(), ends: ends.to_vec() }.is_sound()
        };
        assert!(sound("", &[]) && sound("ab", &[1, 2]) && sound("\u{e9}", &[0, 2]));
        assert!(!sound("ab", &[2, 1]), "not in order");
        assert!(!sound("ab", &[1, 3]), "beyond the end");
        assert!(!sound("ab", &[1]), "text behind the last one");
        assert!(!sound("\u{e9}", &[1, 2]), "within a character");
    }
}
