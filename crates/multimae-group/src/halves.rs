//! The order in which sums are taken.

use std::ops::Range;

/// Adds up `range` by halves: both halves by themselves, the first being the larger one, then the two
/// sums. `leaf` gives the term at a place, if there is one.
///
/// Sums of floating-point numbers depend on their order. In this one, the sum over all terms is
/// exactly the sum of the sums over halves, quarters and so on: one process has the bits of two, four
/// or eight that have neighbouring terms each.
///
/// # Errors
/// Those of `leaf`.
pub fn in_halves<T, E>(
    range: Range<usize>,
    leaf: &mut impl FnMut(usize) -> Result<Option<T>, E>,
    add: &impl Fn(T, T) -> T,
) -> Result<Option<T>, E> {
    match range.len() {
        0 => Ok(None),
        1 => leaf(range.start),
        count => {
            let middle = range.start + count.div_ceil(2);
            let first = in_halves(range.start..middle, leaf, add)?;
            let second = in_halves(middle..range.end, leaf, add)?;
            Ok(match (first, second) {
                (Some(first), Some(second)) => Some(add(first, second)),
                (one, other) => one.or(other),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::in_halves;

    fn sum(values: &[f32], places: std::ops::Range<usize>) -> Option<f32> {
        let mut leaf =
            |place: usize| Ok::<_, Infallible>(places.contains(&place).then(|| values[place]));
        in_halves(0..values.len(), &mut leaf, &|a, b| a + b).unwrap()
    }

    #[test]
    fn sums_of_parts_add_up_bit_for_bit() {
        let values: Vec<f32> =
            (0..37).map(|i| (i as f32 * 0.7).sin() * 10_f32.powi(i % 9)).collect();
        for passes in 1..=37 {
            let values = &values[..passes];
            let whole = sum(values, 0..passes);
            for processes in [1, 2, 4, 8, 16, 32].into_iter().filter(|&n| n <= passes) {
                let of = |pass: usize| pass * processes / passes;
                let parts: Vec<f32> = (0..processes)
                    .map(|rank| {
                        let own: Vec<usize> = (0..passes).filter(|&p| of(p) == rank).collect();
                        sum(values, own[0]..own[own.len() - 1] + 1).unwrap()
                    })
                    .collect();
                let of_parts = sum(&parts, 0..processes);
                assert_eq!(whole, of_parts, "{passes} passes, {processes} processes");
            }
        }
        assert_eq!(sum(&[], 0..0), None);
    }
}
