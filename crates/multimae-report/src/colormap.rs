//! Colour maps for single-channel maps such as depth.

use crate::{Error, Result};

/// The colour of values that are not finite: blank paper.
pub const BLANK: [u8; 3] = [255; 3];

/// A perceptual colour map from 0..1 to colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Colormap {
    /// Dark blue to yellow, lightness rises evenly. The field's default.
    #[default]
    Viridis,
    /// Black through purple to pale yellow.
    Magma,
    /// Blue to red like a rainbow, more detail, uneven lightness.
    Turbo,
    /// Black to white.
    Grey,
}

impl Colormap {
    /// The colour at `t`; values outside 0..1 get the colour of the nearer end, NaN is [`BLANK`].
    #[must_use]
    pub fn color(self, t: f64) -> [u8; 3] {
        if t.is_nan() {
            return BLANK;
        }
        let t = t.clamp(0.0, 1.0);
        match self {
            Self::Viridis => colorous::VIRIDIS.eval_continuous(t).into_array(),
            Self::Magma => colorous::MAGMA.eval_continuous(t).into_array(),
            Self::Turbo => colorous::TURBO.eval_continuous(t).into_array(),
            Self::Grey => [(t * 255.0).round() as u8; 3],
        }
    }
}

/// The values at the two ends of a colour map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValueRange {
    /// The value of the first colour.
    pub min: f64,
    /// The value of the last colour.
    pub max: f64,
}

impl ValueRange {
    /// From `min` to `max`.
    ///
    /// # Errors
    /// If they are not finite or in the wrong order.
    pub fn new(min: f64, max: f64) -> Result<Self> {
        if min.is_finite() && max.is_finite() && min <= max {
            Ok(Self { min, max })
        } else {
            Err(Error::Picture(format!("{min} to {max} is no range of values")))
        }
    }

    /// Least and greatest finite value; 0 to 1 if no value is finite.
    #[must_use]
    pub fn of(values: &[f32]) -> Self {
        Self::quantiles(values, 0.0, 1.0)
    }

    /// The values below which the shares `low` and `high` (0..1) of the finite values lie, so that
    /// few outliers do not use up the colours; 0 to 1 if no value is finite.
    #[must_use]
    pub fn quantiles(values: &[f32], low: f64, high: f64) -> Self {
        let mut finite: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
        if finite.is_empty() {
            return Self { min: 0.0, max: 1.0 };
        }
        let last = finite.len() - 1;
        let mut at = |share: f64| {
            let index = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
            f64::from(*finite.select_nth_unstable_by(index, f32::total_cmp).1)
        };
        let (min, max) = (at(low), at(high));
        Self { min, max: max.max(min) }
    }

    /// Returns the place of a value between the ends, 0 at `min` and 1 at `max`. In an empty range
    /// all values lie in the middle. Values that are not finite become NaN.
    #[must_use]
    pub fn position(self, value: f64) -> f64 {
        if !value.is_finite() {
            f64::NAN
        } else if self.max > self.min {
            (value - self.min) / (self.max - self.min)
        } else {
            0.5
        }
    }
}

/// Colours a depth map, or any other map of single values, row-major RGB. Values that are not
/// finite become [`BLANK`].
#[must_use]
pub fn depth_to_rgb(values: &[f32], range: ValueRange, colormap: Colormap) -> Vec<u8> {
    values.iter().flat_map(|&value| colormap.color(range.position(f64::from(value)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_blanks() {
        let range = ValueRange::new(1.0, 3.0).unwrap();
        let values = [1.0, 3.0, 0.0, 9.0, f32::NAN, f32::INFINITY];
        let rgb = depth_to_rgb(&values, range, Colormap::Viridis);
        let (low, high) = ([68, 1, 84], [253, 231, 37]);
        assert_eq!(rgb, [low, high, low, high, BLANK, BLANK].concat());
        assert_eq!(Colormap::Grey.color(0.5), [128; 3]);
    }

    #[test]
    fn ranges_ignore_values_that_are_not_finite() {
        let values = [2.0, f32::NAN, 4.0, f32::NEG_INFINITY, 3.0];
        assert_eq!(ValueRange::of(&values), ValueRange { min: 2.0, max: 4.0 });
        assert_eq!(ValueRange::of(&[f32::NAN]), ValueRange { min: 0.0, max: 1.0 });
        let ramp: Vec<f32> = (0..=100).rev().map(|i| i as f32).collect();
        assert_eq!(ValueRange::quantiles(&ramp, 0.1, 0.9), ValueRange { min: 10.0, max: 90.0 });
        assert_eq!(ValueRange::of(&[5.0]).position(5.0), 0.5);
        assert!(ValueRange::new(2.0, 1.0).is_err() && ValueRange::new(f64::NAN, 1.0).is_err());
    }
}
