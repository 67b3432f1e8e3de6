//! Quantisation of values that share a scale.

use multiversion::multiversion;

/// The largest quantised magnitude.
pub(super) const LARGEST: f32 = 127.0;
/// The zero of inputs.
pub(super) const ZERO: u8 = 128;
/// The magnitude, 2^-119, below which all values count as zeros: the reciprocals of smaller scales would
/// overflow.
const SMALLEST: f32 = 128.0 * f32::MIN_POSITIVE;
/// `1.5 * 2^23`: a sum with it has the nearest whole number, the even one of two, in its low bits.
const ROUND: f32 = 12_582_912.0;

/// The scale of some values, and the factor that takes them to quantised ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// NaN if a value is not finite.
    pub scale: f32,
    reciprocal: f32,
}

impl Scale {
    /// Returns the scale of values with this [magnitude](magnitude).
    pub(super) fn of(magnitude: u32) -> Self {
        let largest = f32::from_bits(magnitude);
        if !largest.is_finite() {
            Self { scale: f32::NAN, reciprocal: 0.0 }
        } else if largest < SMALLEST {
            Self { scale: 0.0, reciprocal: 0.0 }
        } else {
            Self { scale: largest / LARGEST, reciprocal: LARGEST / largest }
        }
    }

    /// Quantises an input: rounded, ties to even. The value is arbitrary if the scale is NaN.
    #[inline(always)]
    pub(super) fn input(self, x: f32) -> u8 {
        ((x * self.reciprocal) + (ROUND + f32::from(ZERO))).to_bits() as u8
    }

    /// Quantises a weight: rounded, ties to even. A weight that was dequantised before gets its value
    /// again.
    #[inline(always)]
    pub(super) fn weight(self, x: f32) -> i8 {
        let scale = if self.reciprocal > 0.0 { self.scale } else { f32::INFINITY };
        (x / scale).round_ties_even().clamp(-LARGEST, LARGEST) as i8
    }
}

/// Returns the bits of the largest magnitude; those of infinities and NaN exceed those of numbers.
#[multiversion(targets = "simd")]
pub(super) fn magnitude(x: &[f32]) -> u32 {
    x.iter().map(|x| x.to_bits() & (u32::MAX >> 1)).max().unwrap_or(0)
}

/// Quantises inputs.
#[multiversion(targets = "simd")]
pub(super) fn inputs(to: &mut [u8], x: &[f32], scale: Scale) {
    for (to, &x) in to.iter_mut().zip(x) {
        *to = scale.input(x);
    }
}

/// Quantises weights.
#[multiversion(targets = "simd")]
pub(super) fn weights(to: &mut [i8], x: &[f32], scale: Scale) {
    for (to, &x) in to.iter_mut().zip(x) {
        *to = scale.weight(x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_to_even_and_reach_127() {
        let x = [-127.0, -126.5, -2.5, -1.5, -0.5, -0.0, 0.5, 1.5, 2.5, 3.49, 126.6, 127.0];
        let q = [-127, -126, -2, -2, 0, 0, 0, 2, 2, 3, 127, 127];
        let scale = Scale::of(magnitude(&x));
        assert_eq!(scale.scale, 1.0);
        let mut to = [0; 12];
        inputs(&mut to, &x, scale);
        for at in 0..x.len() {
            assert_eq!(i32::from(to[at]) - 128, q[at], "{}", x[at]);
            assert_eq!(i32::from(scale.weight(x[at])), q[at], "{}", x[at]);
        }
    }

    #[test]
    fn every_magnitude_has_its_place() {
        for exponent in -118..128 {
            for fraction in [1.0, 1.000_000_1, 1.3, 1.999_999_9] {
                let largest = fraction * 2f32.powi(exponent);
                let scale = Scale::of(largest.to_bits());
                for (x, q) in [(largest, 127), (-largest, -127), (largest / 254.1, 0), (0.0, 0)] {
                    assert_eq!(i32::from(scale.input(x)) - 128, q, "{x} of {largest}");
                    assert_eq!(i32::from(scale.weight(x)), q, "{x} of {largest}");
                }
            }
        }
        let tiny = Scale::of(1e-36f32.to_bits());
        assert_eq!((tiny.scale, tiny.input(-1e-36), tiny.weight(1e-36)), (0.0, ZERO, 0));
    }

    #[test]
    fn values_that_are_not_finite_have_no_scale() {
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
            let scale = Scale::of(magnitude(&[1.0, x, f32::MAX]));
            assert!(scale.scale.is_nan());
            assert_eq!(scale.weight(x), 0);
        }
        assert_eq!(magnitude(&[]), 0);
    }
}
