//! Facts about a map of depth.

use crate::decode::Stored;
use crate::modality::InvalidNumbers;
use crate::{Encoding, Interpolation, Quantity, Valid, ValueRules};

/// The share of the pixels on each side that may be speckle: what is fitted lies between.
const SPECKLE: usize = 100;
/// Values of which a larger share are multiples of 8 were shifted.
const SHIFTED: f64 = 0.99;

/// Figures of the valid pixels of a map of depth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::doctor) struct DepthFacts {
    pub(in crate::doctor) min: f32,
    pub(in crate::doctor) max: f32,
    /// The 1 % quantile, the median and the 99 % quantile.
    pub(in crate::doctor) quantiles: [f32; 3],
    /// All are whole numbers.
    pub(in crate::doctor) whole: bool,
    /// Nearly all are multiples of 8.
    pub(in crate::doctor) multiples_of_8: bool,
    /// Invalid pixels with a number above 0, as the largest value of the type is.
    pub(in crate::doctor) saturated: usize,
    /// The largest such number, 0 if no pixel has one.
    pub(in crate::doctor) end: f32,
}

/// The number of invalid pixels, and the figures of the others; `None` if there are none.
pub(super) fn facts(stored: &Stored) -> (usize, Option<DepthFacts>) {
    let mut values = as_training_reads(stored);
    let (saturated, end) = saturated(stored, &values);
    values.retain(|value| !value.is_nan());
    let invalid = stored.values.len() - values.len();
    let facts = quantiles(&mut values).map(|quantiles| {
        let whole = values.iter().all(|value| value.fract() == 0.0);
        let multiples = values.iter().filter(|&value| value % 8.0 == 0.0).count();
        DepthFacts {
            min: values.iter().copied().fold(f32::INFINITY, f32::min),
            max: values.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            quantiles,
            whole,
            multiples_of_8: whole && multiples as f64 > SHIFTED * values.len() as f64,
            saturated,
            end,
        }
    });
    (invalid, facts)
}

/// The number of invalid pixels with a number above 0, and the largest such number.
fn saturated(stored: &Stored, read: &[f32]) -> (usize, f32) {
    let invalid = stored.values.iter().zip(read).filter(|(_, read)| read.is_nan());
    let numbers = invalid.map(|(&stored, _)| stored).filter(|x| *x > 0.0 && x.is_finite());
    numbers.fold((0, 0.0), |(count, end), number| (count + 1, number.max(end)))
}

/// The stored numbers with NaN for invalid pixels, by the rule of training for a distance whose
/// recipe says nothing.
fn as_training_reads(stored: &Stored) -> Vec<f32> {
    let rules = ValueRules { valid: Valid::Quantity, ..ValueRules::default() };
    let distance = Encoding::Continuous {
        channels: 1,
        divisor: 1.0,
        mean: Vec::new(),
        std: Vec::new(),
        interpolation: Interpolation::Nearest,
        standardize: false,
        quantity: Quantity::Distance,
    };
    let mut values = stored.values.clone();
    InvalidNumbers::of(&rules, &distance, stored.pixels.range()).mark(&mut values, 1);
    values
}

/// The 1 % quantile, the median and the 99 % quantile. Moves the values.
fn quantiles(values: &mut [f32]) -> Option<[f32; 3]> {
    let last = values.len().checked_sub(1)?;
    let tail = last / SPECKLE;
    let mut at = |index| *values.select_nth_unstable_by(index, f32::total_cmp).1;
    Some([at(tail), at(last.div_ceil(2)), at(last - tail)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speckle_is_in_no_quantile() {
        let mut values: Vec<f32> = (0..1000).map(|i| 2000.0 + i as f32).collect();
        (values[3], values[500]) = (1.0, 60000.0);
        assert_eq!(quantiles(&mut values), Some([2009.0, 2501.0, 2991.0]));
        assert_eq!(quantiles(&mut [7.0]), Some([7.0; 3]));
        assert_eq!(quantiles(&mut [9.0, 7.0]), Some([7.0, 9.0, 9.0]));
        assert_eq!(quantiles(&mut []), None);
    }
}
