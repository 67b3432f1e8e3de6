//! The shape of nested lists.

use std::borrow::Cow;

use crate::decode::Problem;

/// The length of each axis of one value by the repetition levels of its numbers: `lists` for one
/// within the innermost list, less for one that begins further lists.
///
/// # Errors
/// If lists of the same axis have different lengths.
pub(super) fn shape(repetitions: &[i16], lists: i16) -> Result<Vec<usize>, Problem> {
    // The numbers that begin a list of an axis, outermost first; all of them are numbers.
    let begins = |axis: i16| repetitions.iter().filter(|&&level| level <= axis).count().max(1);
    let mut shape = Vec::new();
    for axis in 1..=lists {
        let (all, outer) = (begins(axis), begins(axis - 1));
        if all % outer != 0 {
            return Err(ragged(repetitions.len()));
        }
        shape.push(all / outer);
    }
    // Innermost lists first: behind the first number of a list come those that are within it, and
    // the first numbers of all lists are the numbers of the axis around them.
    let mut levels = Cow::Borrowed(repetitions);
    for (&len, within) in shape.iter().zip(1..=lists).rev() {
        let lists = levels.chunks(len);
        if lists.clone().any(|list| list.len() < len || list[1..].iter().any(|&l| l != within)) {
            return Err(ragged(repetitions.len()));
        }
        levels = Cow::Owned(lists.map(|list| list[0]).collect());
    }
    if levels[..] == [0] { Ok(shape) } else { Err(ragged(repetitions.len())) }
}

fn ragged(numbers: usize) -> Problem {
    format!("its {numbers} numbers are in lists of different lengths, which make no array")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_same_lengths_are_arrays() {
        assert_eq!(shape(&[0, 1, 1], 1), Ok(vec![3]));
        assert_eq!(shape(&[0, 2, 1, 2, 1, 2], 2), Ok(vec![3, 2]));
        assert_eq!(shape(&[0, 3, 2, 3, 1, 3, 2, 3], 3), Ok(vec![2, 2, 2]));
        assert_eq!(shape(&[0, 3, 3, 2, 3, 3], 3), Ok(vec![1, 2, 3]));
        assert_eq!(shape(&[0, 1], 3), Ok(vec![2, 1, 1]));
        assert_eq!(shape(&[0], 2), Ok(vec![1, 1]));
    }

    #[test]
    fn ragged_lists_are_refused() {
        for (levels, lists) in
            [(&[0_i16, 2, 1][..], 2), (&[0, 2, 2, 1, 2, 1], 2), (&[0, 2, 1, 1, 2, 2], 2), (&[], 1)]
        {
            assert!(shape(levels, lists).is_err(), "{levels:?}");
        }
    }
}
