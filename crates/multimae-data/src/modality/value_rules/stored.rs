//! The stored number that stands for 0.

use serde::{Deserialize, Serialize};

use super::Encoding;

/// The stored number that stands for 0. Numbers of a [`RawMap`](crate::RawMap) are counted from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stored {
    /// 0 itself.
    #[default]
    Plain,
    /// This number, for example 32768 for optical flow in 16 bits.
    ZeroAt(f32),
    /// Vectors of length 1, whose components from -1 to 1 fill the range of the file's type: in 8 bits
    /// 0 to 255 (0 at 127.5), in 16 bits 0 to 65535 (0 at 32767.5). Signed numbers and floats have 0
    /// at 0, floats are components themselves.
    UnitVectors,
}

/// The smallest and the largest value of an integer type, symmetric for signed ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct NumberRange {
    pub(crate) min: f32,
    pub(crate) max: f32,
}

impl Stored {
    /// Whether stored numbers stand for themselves.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::Plain
    }

    /// Zero and one as stored in a type; `None` for the range of floats.
    pub(crate) fn zero_and_one(self, range: Option<NumberRange>) -> (f32, f32) {
        match (self, range) {
            (Self::Plain, _) | (Self::UnitVectors, None) => (0.0, 1.0),
            (Self::ZeroAt(zero), _) => (zero, zero + 1.0),
            (Self::UnitVectors, Some(NumberRange { min, max })) => (0.5 * (min + max), max),
        }
    }

    /// Counts stored numbers from zero.
    pub(crate) fn convert(self, numbers: &mut [f32], range: Option<NumberRange>) {
        let (zero, one) = self.zero_and_one(range);
        let unit = one - zero;
        match self {
            Self::Plain => {}
            Self::ZeroAt(_) => numbers.iter_mut().for_each(|x| *x -= zero),
            Self::UnitVectors => numbers.iter_mut().for_each(|x| *x = (*x - zero) / unit),
        }
    }

    /// The problem with the rule for this encoding, if there is one.
    pub(super) fn problem(self, encoding: &Encoding) -> Option<String> {
        let Encoding::Continuous { channels, divisor, .. } = encoding else {
            return (!self.is_plain()).then(|| "`stored` and `zero` are for numbers".to_owned());
        };
        match self {
            Self::Plain => None,
            Self::ZeroAt(zero) => {
                (!zero.is_finite()).then(|| format!("`zero`: {zero} must be finite"))
            }
            Self::UnitVectors if *channels < 2 || *divisor != 1.0 => Some(format!(
                "`stored: unit_vectors` is for two channels or more and needs no `divisor`, and it \
                 has {channels} and {divisor}"
            )),
            Self::UnitVectors => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_vectors_fill_the_range_of_their_type() {
        let of = |range: Option<NumberRange>, stored: &[f32]| {
            let mut numbers = stored.to_vec();
            Stored::UnitVectors.convert(&mut numbers, range);
            numbers
        };
        let range = |min, max| Some(NumberRange { min, max });
        assert_eq!(of(range(0.0, 255.0), &[0.0, 127.5, 255.0]), [-1.0, 0.0, 1.0]);
        assert_eq!(of(range(0.0, 65535.0), &[0.0, 65535.0]), [-1.0, 1.0]);
        assert_eq!(of(range(-127.0, 127.0), &[-127.0, 0.0]), [-1.0, 0.0]);
        assert_eq!(of(None, &[-0.5, 1.0]), [-0.5, 1.0]);
        let mut flow = [32768.0, 32704.0];
        Stored::ZeroAt(32768.0).convert(&mut flow, range(0.0, 65535.0));
        assert_eq!(flow, [0.0, -64.0]);
    }
}
