//! The shape of nested lists.

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
    // Where each list has to begin in an array of this shape.
    let mut sizes: Vec<usize> = Vec::new();
    let mut size = 1;
    for &len in shape.iter().rev() {
        sizes.push(size);
        size *= len;
    }
    sizes.reverse();
    let level = |place: usize| match place {
        0 => Some(0),
        _ => sizes
            .iter()
            .position(|&size| place.is_multiple_of(size))
            .and_then(|axis| i16::try_from(axis + 1).ok()),
    };
    let fits = repetitions.iter().enumerate().all(|(place, &found)| level(place) == Some(found));
    if fits && size == repetitions.len() { Ok(shape) } else { Err(ragged(repetitions.len())) }
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
