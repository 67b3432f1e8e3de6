//! Random bits for stochastic rounding.
//!
//! With a decay of 0.999 a step changes the mean square by at most 0.1 %, which is less than half the
//! distance of neighbours in 16 or 8 bits: rounded to the nearest, it would never change. Rounded up
//! with a probability of its share of that distance, it is right on average (Gupta et al., 2015).

/// The share of the low 16 bits that is all of them.
const UNIT: f32 = 1.0 / 65_536.0;

/// 32 random bits for every element of a tensor. They depend on the key and the element's index alone,
/// not on threads or vectors, and repeat after 2^32 elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct RandomBits {
    low: u32,
    high: u32,
}

/// The random bits of the two moments of an element.
#[derive(Debug, Clone, Copy)]
pub(super) struct MomentBits {
    /// 16 bits for the mean.
    pub(super) mean: u32,
    /// 16 bits for the mean square.
    pub(super) square: u32,
}

impl RandomBits {
    /// Those that a key names.
    pub(super) fn new(key: u64) -> Self {
        Self { low: key as u32, high: (key >> 32) as u32 }
    }

    /// Those of an element.
    #[inline(always)]
    pub(super) fn at(self, index: usize) -> MomentBits {
        let bits = mix(mix(index as u32 ^ self.low) ^ self.high);
        MomentBits { mean: bits & 0xFFFF, square: bits >> 16 }
    }
}

/// The finaliser of MurmurHash3 (Appleby): every input bit flips every output bit half of the time.
#[inline(always)]
fn mix(bits: u32) -> u32 {
    let bits = (bits ^ (bits >> 16)).wrapping_mul(0x85EB_CA6B);
    let bits = (bits ^ (bits >> 13)).wrapping_mul(0xC2B2_AE35);
    bits ^ (bits >> 16)
}

/// 16 random bits as a number between 0 and 1, without both.
#[inline(always)]
pub(super) fn fraction(bits: u32) -> f32 {
    (bits as f32 + 0.5) * UNIT
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and variance of fractions.
    fn moments(fractions: impl Iterator<Item = f32>) -> (f64, f64) {
        let all: Vec<f64> = fractions.map(f64::from).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let square = all.iter().map(|x| x * x).sum::<f64>() / all.len() as f64;
        (mean, square - mean * mean)
    }

    #[test]
    fn bits_are_uniform_over_elements_and_over_keys() {
        let count = 100_000;
        // 5 deviations of a mean of as many uniform numbers.
        let tolerance = 5.0 * (1.0 / 12.0 / count as f64).sqrt();
        let one = RandomBits::new(0x0123_4567_89AB_CDEF);
        let keys = || (0..count as u64).map(|key| RandomBits::new(key << 32 | 7).at(3));
        for (mean, variance) in [
            moments((0..count).map(|index| fraction(one.at(index).mean))),
            moments((0..count).map(|index| fraction(one.at(index).square))),
            moments(keys().map(|bits| fraction(bits.mean))),
            moments(keys().map(|bits| fraction(bits.square))),
        ] {
            assert!((mean - 0.5).abs() < tolerance, "{mean}");
            assert!((variance - 1.0 / 12.0).abs() < tolerance, "{variance}");
        }
    }

    #[test]
    fn both_halves_of_the_key_and_the_index_count() {
        let at = |key: u64, index| {
            let MomentBits { mean, square } = RandomBits::new(key).at(index);
            (mean, square)
        };
        assert_eq!(at(5, 6), at(5, 6));
        assert_ne!(at(5, 6), at(5, 7));
        assert_ne!(at(5, 6), at(4, 6));
        assert_ne!(at(5, 6), at(5 | 1 << 40, 6));
    }

    #[test]
    fn fractions_lie_between_0_and_1() {
        assert!(fraction(0) > 0.0 && fraction(0xFFFF) < 1.0);
    }
}
