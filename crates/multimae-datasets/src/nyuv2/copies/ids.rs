//! Official ids in the numbers that copies give to frames.

use std::collections::BTreeSet;

use crate::nyuv2::splits::Splits;

/// The list and the file number of every frame of a list.
type Numbered = (&'static str, u32);

/// The first number of a numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    Zero,
    One,
}

impl Base {
    /// The official id of a number.
    pub(super) fn id(self, number: u32) -> u32 {
        match self {
            Self::Zero => number.saturating_add(1),
            Self::One => number,
        }
    }
}

/// Whether all numbers are official ids of this base, on the official lists `train` and `test` that
/// they are said to be on.
pub(super) fn are_official(numbers: &[Numbered], base: Base, official: &Splits) -> bool {
    !numbers.is_empty()
        && numbers
            .iter()
            .all(|&(list, number)| official.official_list(base.id(number)) == Some(list))
}

/// The base by which numbers are exactly the ids of an official list, `train` or `test`, if there is
/// one: for copies that do not say how they count.
pub(super) fn base_of_whole(numbers: &[u32], list: &str, official: &Splits) -> Option<Base> {
    let ids: BTreeSet<u32> = official.official_ids(list).collect();
    let fits = |base: &Base| {
        let of: BTreeSet<u32> = numbers.iter().map(|&number| base.id(number)).collect();
        of.len() == numbers.len() && of == ids
    };
    [Base::Zero, Base::One].into_iter().find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_official_on_their_own_lists_alone() {
        let official = Splits::official().unwrap();
        assert!(are_official(&[("test", 0), ("train", 2)], Base::Zero, &official));
        assert!(!are_official(&[("test", 0), ("train", 2)], Base::One, &official));
        // Frame 1 is on the test list.
        assert!(!are_official(&[("train", 0)], Base::Zero, &official));
        assert!(!are_official(&[("test", 1449)], Base::Zero, &official));
        assert!(!are_official(&[], Base::Zero, &official));
    }

    #[test]
    fn a_whole_list_tells_its_base() {
        let official = Splits::official().unwrap();
        let ids: Vec<u32> = official.official_ids("test").collect();
        assert_eq!(base_of_whole(&ids, "test", &official), Some(Base::One));
        let from_zero: Vec<u32> = ids.iter().map(|id| id - 1).collect();
        assert_eq!(base_of_whole(&from_zero, "test", &official), Some(Base::Zero));
        assert_eq!(base_of_whole(&ids[1..], "test", &official), None);
        let plain: Vec<u32> = (0..654).collect();
        assert_eq!(base_of_whole(&plain, "test", &official), None);
    }
}
