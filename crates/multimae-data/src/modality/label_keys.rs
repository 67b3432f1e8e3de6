//! The keys that stored labels call for.

use std::collections::BTreeSet;

/// The largest values of integer types: none is a class, unless there are as many classes.
const LARGEST: [i64; 6] =
    [255, 32_767, 65_535, 2_147_483_647, 4_294_967_295, 9_223_372_036_854_775_807];
/// Classes that are stored at a distance of at least this are listed one by one.
const APART: i64 = 16;
/// The most classes that are.
const MOST_APART: usize = 16;
/// A gap below the largest value that is this many times the largest gap of the others sets it
/// apart.
const ISOLATED: i64 = 2;

/// The keys of a modality that stored labels call for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LabelKeys {
    /// The value that seems to mark pixels without a label: a negative one, or the largest value of
    /// a type, far above all others.
    pub(crate) ignore: Option<i64>,
    /// The stored values of the classes, if they are few and far apart; empty otherwise.
    pub(crate) values: Vec<i64>,
}

impl LabelKeys {
    /// The keys for labels that occur. `most` is the greatest class, if it is known.
    pub(crate) fn of(stored: &BTreeSet<i64>, most: Option<i64>) -> Self {
        let mut classes: Vec<i64> = stored.iter().copied().filter(|&label| label >= 0).collect();
        let negative = stored.iter().copied().filter(|&label| label < 0).max();
        let ignore = negative.or_else(|| isolated(&classes, most));
        classes.retain(|&label| Some(label) != ignore);
        let listed = are_listed(&classes, most);
        Self { ignore, values: if listed { classes } else { Vec::new() } }
    }
}

/// The greatest label, if it is no class but the largest value of a type.
fn isolated(labels: &[i64], most: Option<i64>) -> Option<i64> {
    let (&last, others) = labels.split_last()?;
    let is_free = LARGEST.contains(&last) && most.is_none_or(|most| last > most);
    let alone = match (most, others) {
        (Some(_), _) => !are_listed(labels, most),
        (None, []) => true,
        // Perhaps a mask.
        (None, [_]) => false,
        (None, [.., next]) => {
            let gap = gaps(others).max().unwrap_or_default();
            last - next > ISOLATED.saturating_mul(gap)
        }
    };
    (is_free && alone).then_some(last)
}

/// Whether these are classes that `values` has to list: few that are far apart, and as many as
/// there are classes.
fn are_listed(labels: &[i64], most: Option<i64>) -> bool {
    let all = most.is_none_or(|most| usize::try_from(most).is_ok_and(|n| labels.len() == n + 1));
    all && (2..=MOST_APART).contains(&labels.len()) && gaps(labels).all(|gap| gap >= APART)
}

fn gaps(labels: &[i64]) -> impl Iterator<Item = i64> + '_ {
    labels.windows(2).map(|pair| pair[1] - pair[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(stored: &[i64], most: Option<i64>) -> (Option<i64>, Vec<i64>) {
        let keys = LabelKeys::of(&stored.iter().copied().collect(), most);
        (keys.ignore, keys.values)
    }

    #[test]
    fn the_largest_value_of_a_type_is_void_where_it_stands_alone() {
        for void in LARGEST {
            for most in [None, Some(5)] {
                assert_eq!(keys(&[0, 1, 2, 3, 4, 5, void], most), (Some(void), vec![]));
            }
            // Few classes of many occur in one file.
            assert_eq!(keys(&[0, void], Some(40)).0, Some(void).filter(|&void| void > 40));
        }
        assert_eq!(keys(&[-1, 0, 1, 2], None), (Some(-1), vec![]));
        // No largest value, or a class.
        assert_eq!(keys(&[0, 1, 2, 254], None), (None, vec![]));
        assert_eq!(keys(&[0, 1, 254, 255], None), (None, vec![]));
        assert_eq!(keys(&[0, 1, 255], Some(299)), (None, vec![]));
        assert_eq!(keys(&[], None), (None, vec![]));
    }

    #[test]
    fn few_values_far_apart_are_the_classes() {
        for values in [vec![0, 255], vec![0, 65535], vec![0, 128, 255], vec![0, 85, 170, 255]] {
            assert_eq!(keys(&values, None), (None, values.clone()));
            assert_eq!(keys(&values, Some(values.len() as i64 - 1)), (None, values.clone()));
        }
        assert_eq!(keys(&[0, 1, 2, 3], None), (None, vec![]));
        assert_eq!(keys(&[0, 128], Some(2)), (None, vec![]));
        // With a value for void beside them.
        assert_eq!(keys(&[0, 128, 256, 65535], None), (Some(65535), vec![0, 128, 256]));
        assert_eq!(keys(&[-1, 0, 128, 255], None), (Some(-1), vec![0, 128, 255]));
    }
}
