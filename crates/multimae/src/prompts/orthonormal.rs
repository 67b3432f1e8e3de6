//! Orthonormal rows from random ones.

/// A row that is shorter than this share of what it was lies in the span of those before it.
const DEPENDENT: f64 = 1e-8;

/// Makes rows orthonormal, each from what of it is new beside those before it (Gram and Schmidt),
/// and says whether that is possible: not if there are more rows than columns or one depends on
/// those before.
///
/// `rows` is row-major with `width` columns. It may be changed when the answer is no.
pub(super) fn orthonormalise(rows: &mut [f64], width: usize) -> bool {
    let mut start = 0;
    while start < rows.len() {
        let (done, rest) = rows.split_at_mut(start);
        let Some(row) = rest.get_mut(..width) else { return false };
        let before = norm(row);
        // Twice, since the first time rounding leaves a trace of the others.
        for _ in 0..2 {
            done.chunks(width).for_each(|other| take_away(row, other));
        }
        let after = norm(row);
        if !after.is_finite() || after <= DEPENDENT * before {
            return false;
        }
        row.iter_mut().for_each(|value| *value /= after);
        start += width;
    }
    true
}

/// Takes the part along a row of length 1 out of another.
fn take_away(row: &mut [f64], other: &[f64]) {
    let along = dot(row, other);
    row.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
}

fn norm(row: &[f64]) -> f64 {
    dot(row, row).sqrt()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_row_keeps_its_direction() {
        let mut rows = [3.0, 4.0, 1.0, 0.0];
        assert!(orthonormalise(&mut rows, 2));
        for (got, expected) in rows.iter().zip([0.6, 0.8, 0.8, -0.6]) {
            assert!((got - expected).abs() < 1e-12, "{rows:?}");
        }
    }

    #[test]
    fn dependent_rows_are_refused() {
        assert!(!orthonormalise(&mut [1.0, 2.0, 2.0, 4.0], 2));
        assert!(!orthonormalise(&mut [0.0; 4], 2));
        assert!(!orthonormalise(&mut [1.0, 0.0, 0.0, 1.0, 1.0, 1.0], 2));
        assert!(!orthonormalise(&mut [1.0, f64::NAN], 2));
    }

    proptest! {
        #[test]
        fn rows_become_orthonormal(
            rows in prop::collection::vec(-1.0_f64..1.0, 4 * 9),
        ) {
            let mut rows = rows;
            prop_assume!(orthonormalise(&mut rows, 9));
            for (i, a) in rows.chunks(9).enumerate() {
                for (j, b) in rows.chunks(9).enumerate() {
                    let expected = f64::from(u8::from(i == j));
                    prop_assert!((dot(a, b) - expected).abs() < 1e-9, "{} {}", i, j);
                }
            }
        }
    }
}
