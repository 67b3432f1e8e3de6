//! Which frames are for training, validation and testing. Ids are the official ones: 1-based.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Error, Result, mat5};

/// Frames of the labelled set.
pub(super) const FRAMES: u32 = 1449;
/// Sizes of the official training and test split.
const OFFICIAL: (usize, usize) = (795, 654);

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

/// The lists of frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Splits {
    train: BTreeSet<u32>,
    test: BTreeSet<u32>,
}

impl Splits {
    /// Reads and checks `splits.mat`.
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
        if (train.len(), test.len()) != OFFICIAL {
            return Err(format!(
                "it lists {} training and {} test frames; the official split has {} and {}",
                train.len(),
                test.len(),
                OFFICIAL.0,
                OFFICIAL.1
            ));
        }
        let all: BTreeSet<u32> = train.iter().chain(test).copied().collect();
        if all.len() != FRAMES as usize {
            return Err(format!(
                "its lists overlap: they name {} different frames of {FRAMES}",
                all.len()
            ));
        }
        let splits =
            Self { train: train.iter().copied().collect(), test: test.iter().copied().collect() };
        match val().find(|id| !splits.train.contains(id)) {
            Some(id) => Err(format!(
                "frame {id} is not for training; in the official split it is, so this is another one"
            )),
            None => Ok(splits),
        }
    }

    /// Whether a frame is for training, in the official split.
    pub(super) fn is_train(&self, id: u32) -> bool {
        self.train.contains(&id)
    }

    /// The lists, with those of `ids` that are on them, in rising order. Lists of none are left
    /// out.
    pub(super) fn lists(&self, ids: &[u32]) -> BTreeMap<&'static str, Vec<u32>> {
        let val: BTreeSet<u32> = val().collect();
        let mut lists = BTreeMap::<_, Vec<u32>>::new();
        for &id in ids.iter().collect::<BTreeSet<_>>() {
            let on = match (self.train.contains(&id), val.contains(&id)) {
                (true, true) => ["train", "val"].as_slice(),
                (true, false) => &["train", "train_fit"],
                _ if self.test.contains(&id) => &["test"],
                _ => &[],
            };
            on.iter().for_each(|&list| lists.entry(list).or_default().push(id));
        }
        lists
    }
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

    /// Splits of the official sizes.
    fn some_splits() -> (Vec<u32>, Vec<u32>) {
        let val: BTreeSet<u32> = val().collect();
        let others = (1..=FRAMES).filter(|id| !val.contains(id));
        let test: Vec<u32> = others.take(OFFICIAL.1).collect();
        let train = (1..=FRAMES).filter(|id| !test.contains(id)).collect();
        (train, test)
    }

    #[test]
    fn lists_have_their_frames() {
        let (train, test) = some_splits();
        let splits = Splits::new(&train, &test).unwrap();
        let all: Vec<u32> = (1..=FRAMES).collect();
        let lists = splits.lists(&all);
        assert_eq!(LISTS.map(|list| lists[list].len()), [795, 654, 694, 101]);
        let some = splits.lists(&[1000, 81, 1]);
        assert_eq!(some["val"], [81, 1000]);
        assert_eq!(some["test"], [1]);
        assert!(!some.contains_key("train_fit"));
    }

    #[test]
    fn other_splits_are_refused() {
        let (train, test) = some_splits();
        assert!(Splits::new(&train[1..], &test).unwrap_err().contains("794 training"));
        let mut twice = train.clone();
        twice[0] = test[0];
        assert!(Splits::new(&twice, &test).unwrap_err().contains("overlap"));
        let (mut train, mut test) = (train, test);
        let at = train.iter().position(|&id| id == 80).unwrap();
        std::mem::swap(&mut train[at], &mut test[0]);
        assert!(Splits::new(&train, &test).unwrap_err().contains("frame 80"));
    }

    #[test]
    fn ids_are_whole_and_in_range() {
        assert_eq!(
            [1.0, 1449.0, 0.0, 1450.0, 1.5, f64::NAN].map(id),
            [Some(1), Some(1449), None, None, None, None]
        );
    }
}
