//! The frames for training, validation and testing. Ids are the official ones: 1-based.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

use super::{Error, Result, mat5};

/// Frames of the labelled set.
pub(super) const FRAMES: u32 = 1449;

/// Frames of the training split to choose models by, as runs of ids (first and last): 101 frames.
/// Whole runs of neighbouring frames, so that views of one room stay on one side; chosen such that
/// all 40 classes occur.
const VAL: [(u32, u32); 19] = [
    (80, 83),
    (177, 179),
    (313, 314),
    (318, 324),
    (353, 354),
    (534, 536),
    (622, 632),
    (735, 742),
    (788, 799),
    (863, 868),
    (996, 1000),
    (1035, 1037),
    (1105, 1105),
    (1137, 1143),
    (1172, 1173),
    (1213, 1215),
    (1266, 1274),
    (1341, 1346),
    (1434, 1440),
];

/// The names of the lists.
pub(super) const LISTS: [&str; 4] = ["train", "test", "train_fit", "val"];

/// The official split, built in.
const OFFICIAL: &str = include_str!("official_splits.txt");

/// The lists of frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Splits {
    train: BTreeSet<u32>,
    test: BTreeSet<u32>,
}

impl Splits {
    /// The official split.
    ///
    /// # Errors
    /// [`Error::Input`] if the built-in text is damaged.
    pub(super) fn official() -> Result<Self> {
        let bad = |problem| Error::Input { path: "official_splits.txt".into(), problem };
        let list = |name| runs(OFFICIAL, name).ok_or_else(|| bad(format!("`{name}` is damaged")));
        Self::new(&list("train")?, &list("test")?).map_err(bad)
    }

    /// Reads `splits.mat`. Its split may be another than the official one, see
    /// [`difference`](Self::difference).
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] if the file is damaged, or a frame does not exist or is on a
    /// list twice or on both.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bad = |problem| Error::Input { path: path.to_owned(), problem };
        let list = |name| -> Result<Vec<u32>> {
            let values = mat5::read_numbers(path, name)?;
            let id = |value: f64| {
                id(value).ok_or_else(|| {
                    bad(format!("`{name}` holds {value}, expected ids from 1 to {FRAMES}"))
                })
            };
            values.into_iter().map(id).collect()
        };
        Self::new(&list("trainNdxs")?, &list("testNdxs")?).map_err(bad)
    }

    fn new(train: &[u32], test: &[u32]) -> std::result::Result<Self, String> {
        let mut seen = BTreeSet::new();
        if let Some(id) = train.iter().chain(test).find(|&&id| !seen.insert(id)) {
            return Err(format!("frame {id} is on its lists twice"));
        }
        Ok(Self { train: train.iter().copied().collect(), test: test.iter().copied().collect() })
    }

    /// Returns the number of frames on other lists than in the official split, in words; `None` if
    /// there are none.
    pub(super) fn difference(&self, official: &Self) -> Option<String> {
        let moved = |&id: &u32| self.official_list(id) != official.official_list(id);
        let moved: Vec<u32> = (1..=FRAMES).filter(moved).collect();
        let &first = moved.first()?;
        let on = |splits: &Self| splits.official_list(first).unwrap_or("no list");
        Some(format!(
            "the split is not the official one: {} of {FRAMES} frames are on another list, frame \
             {first} for one ({} here, {} in the official split)",
            moved.len(),
            on(self),
            on(official)
        ))
    }

    /// `train` or `test`.
    pub(super) fn official_list(&self, id: u32) -> Option<&'static str> {
        let lists = [("train", &self.train), ("test", &self.test)];
        lists.into_iter().find(|(_, ids)| ids.contains(&id)).map(|(list, _)| list)
    }

    /// The ids on the list `train` or `test`, in rising order.
    pub(super) fn official_ids(&self, list: &str) -> impl Iterator<Item = u32> {
        (1..=FRAMES).filter(move |&id| self.official_list(id) == Some(list))
    }

    /// The smallest list that a frame is on: `train_fit`, `val` or `test`.
    pub(super) fn list(&self, id: u32) -> Option<&'static str> {
        match self.official_list(id)? {
            "train" if val().any(|val| val == id) => Some("val"),
            "train" => Some("train_fit"),
            list => Some(list),
        }
    }

    /// The lists, with those of `ids` that are on them, in rising order. Lists of none are left
    /// out.
    pub(super) fn lists(&self, ids: &[u32]) -> BTreeMap<&'static str, Vec<u32>> {
        let mut lists = BTreeMap::<_, Vec<u32>>::new();
        for &id in ids.iter().collect::<BTreeSet<_>>() {
            let on = [self.official_list(id), self.list(id)];
            for list in on.into_iter().flatten().collect::<BTreeSet<_>>() {
                lists.entry(list).or_default().push(id);
            }
        }
        lists
    }
}

/// The ids on the lines of a list: ids and runs of ids, `first-last`.
fn runs(text: &str, list: &str) -> Option<Vec<u32>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(list)?.strip_prefix(' '));
    let run = |word: &str| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let run: RangeInclusive<u32> = first.parse().ok()?..=last.parse().ok()?;
        [run.start(), run.end()].iter().all(|id| (1..=FRAMES).contains(*id)).then_some(run)
    };
    let runs: Option<Vec<_>> = lines.flat_map(str::split_whitespace).map(run).collect();
    Some(runs?.into_iter().flatten().collect())
}

fn val() -> impl Iterator<Item = u32> {
    VAL.iter().flat_map(|&(first, last)| first..=last)
}

fn id(value: f64) -> Option<u32> {
    let id = value as u32;
    (f64::from(id) == value && (1..=FRAMES).contains(&id)).then_some(id)
}

/// Reads the ids of an excerpt: numbers separated by blanks, in the order of its frames.
pub(super) fn read_ids(path: &Path) -> Result<Vec<u32>> {
    let text = fs_err::read_to_string(path)?;
    let bad = |problem| Error::Input { path: path.to_owned(), problem };
    let mut seen = BTreeSet::new();
    let mut ids = Vec::new();
    for word in text.split_whitespace() {
        let id = word.parse().ok().filter(|id| (1..=FRAMES).contains(id));
        let id = id.ok_or_else(|| bad(format!("`{word}` is not an id from 1 to {FRAMES}")))?;
        if !seen.insert(id) {
            return Err(bad(format!("id {id} is there twice")));
        }
        ids.push(id);
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_official_split_is_whole() {
        let splits = Splits::official().unwrap();
        assert_eq!((splits.train.len(), splits.test.len()), (795, 654));
        assert!(splits.train.is_disjoint(&splits.test));
        let all: BTreeSet<u32> = splits.train.union(&splits.test).copied().collect();
        assert!(all.into_iter().eq(1..=FRAMES));
        let ends = |ids: &BTreeSet<u32>| (*ids.first().unwrap(), *ids.last().unwrap());
        assert_eq!((ends(&splits.train), ends(&splits.test)), ((3, 1440), (1, 1449)));
        assert!(val().all(|id| splits.train.contains(&id)), "val is a part of train");
    }

    #[test]
    fn lists_have_their_frames() {
        let splits = Splits::official().unwrap();
        let all: Vec<u32> = (1..=FRAMES).collect();
        let lists = splits.lists(&all);
        assert_eq!(LISTS.map(|list| lists[list].len()), [795, 654, 694, 101]);
        let some = splits.lists(&[1000, 81, 1]);
        assert_eq!(some["val"], [81, 1000]);
        assert_eq!(some["test"], [1]);
        assert!(!some.contains_key("train_fit"));
        assert_eq!([1000, 3, 1].map(|id| splits.list(id).unwrap()), ["val", "train_fit", "test"]);
    }

    #[test]
    fn another_split_is_told_from_the_official_one() {
        let official = Splits::official().unwrap();
        let of = |ids: &BTreeSet<u32>| ids.iter().copied().collect::<Vec<_>>();
        let (mut train, mut test) = (of(&official.train), of(&official.test));
        assert_eq!(Splits::new(&train, &test).unwrap().difference(&official), None);
        let at = train.iter().position(|&id| id == 80).unwrap();
        test.push(train.swap_remove(at));
        let other = Splits::new(&train, &test).unwrap();
        let difference = other.difference(&official).unwrap();
        assert!(difference.contains("1 of 1449 frames"), "{difference}");
        assert!(difference.contains("frame 80 for one (test here, train in"), "{difference}");
        assert_eq!((other.list(80), other.list(81)), (Some("test"), Some("val")));

        test.retain(|&id| id != 1);
        let other = Splits::new(&train, &test).unwrap();
        let difference = other.difference(&official).unwrap();
        assert!(difference.contains("2 of 1449"), "{difference}");
        assert!(difference.contains("frame 1 for one (no list here, test in"), "{difference}");
        assert_eq!((other.list(1), other.lists(&[1])), (None, BTreeMap::new()));
    }

    #[test]
    fn frames_are_on_one_list_once() {
        assert!(Splits::new(&[5, 6], &[7, 6]).unwrap_err().contains("frame 6"));
        assert!(Splits::new(&[5, 5], &[7]).unwrap_err().contains("frame 5"));
    }

    #[test]
    fn runs_are_ids_in_range() {
        let text = "# a 7\na 1-3 5\nab 9\na 8\n";
        assert_eq!(runs(text, "a").unwrap(), [1, 2, 3, 5, 8]);
        for damaged in ["a x", "a 1-1450", "a 3-"] {
            assert_eq!(runs(damaged, "a"), None);
        }
    }

    #[test]
    fn ids_are_whole_and_in_range() {
        assert_eq!(
            [1.0, 1449.0, 0.0, 1450.0, 1.5, f64::NAN].map(id),
            [Some(1), Some(1449), None, None, None, None]
        );
    }
}
