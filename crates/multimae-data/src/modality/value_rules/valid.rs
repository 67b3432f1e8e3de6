//! The stored numbers that are measurements.

use serde::{Deserialize, Serialize};

use super::{Encoding, NumberRange, Quantity, Stored, ValueRules};

/// The stored numbers of a modality that are measurements. NaN and infinite numbers never are.
///
/// Invalid pixels are NaN from decoding on, in every channel, so that a map is its own valid mask:
/// it goes through crop, resize and flip with the values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "ValidForm", into = "ValidForm")]
pub enum Valid {
    /// Every finite number, as in the published code.
    #[default]
    All,
    /// By the quantity. A distance is invalid up to 0, at the largest value of its file's type, and, in
    /// floats and integers of more than 16 bits, at 65535, which they have from files of 16 bits. A unit
    /// vector is invalid that is shorter than 0.5 or longer than 1.5. Of all else every finite number
    /// is valid.
    Quantity,
    /// A rule of the modality's own.
    Own(ValidRule),
}

/// A rule for valid numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ValidRule {
    /// Stored numbers that are invalid, those of the quantity if absent. A pixel of several
    /// channels is invalid if all of them hold such numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except: Option<Vec<Excepted>>,
    /// The smallest valid number, after the division by `divisor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f32>,
    /// The largest valid number, after the division by `divisor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f32>,
}

/// An invalid stored number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected a number or `saturated`")]
pub enum Excepted {
    /// A number.
    Number(f32),
    /// The largest value of the file's type: 255 for 8 bits, 65535 for 16 bits.
    Named(Saturated),
}

/// The word for the largest value of a file's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Saturated {
    /// That word.
    Saturated,
}

/// [`Valid`] as it is written.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    untagged,
    expecting = "`valid`: expected `all`, `quantity` or a map as in {except: [0, saturated], min: \
                 0.3, max: 10}"
)]
enum ValidForm {
    Named(ValidName),
    Own(ValidRule),
}

#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum ValidName {
    All,
    Quantity,
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Valid {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Valid".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        ValidForm::json_schema(generator)
    }
}

impl From<ValidForm> for Valid {
    fn from(form: ValidForm) -> Self {
        match form {
            ValidForm::Named(ValidName::All) => Self::All,
            ValidForm::Named(ValidName::Quantity) => Self::Quantity,
            ValidForm::Own(rule) => Self::Own(rule),
        }
    }
}

impl From<Valid> for ValidForm {
    fn from(valid: Valid) -> Self {
        match valid {
            Valid::All => Self::Named(ValidName::All),
            Valid::Quantity => Self::Named(ValidName::Quantity),
            Valid::Own(rule) => Self::Own(rule),
        }
    }
}

impl Valid {
    /// Whether every finite number is valid.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::All
    }

    /// The problem with the rule for this encoding, if there is one.
    pub(crate) fn problem(&self, encoding: &Encoding) -> Option<String> {
        let Self::Own(rule) = self else { return None };
        if !matches!(encoding, Encoding::Continuous { .. }) {
            return Some("`valid` is for numbers; labels have `ignore`".to_owned());
        }
        let numbers = rule.except.iter().flatten().filter_map(|excepted| match excepted {
            Excepted::Number(number) => Some(*number),
            Excepted::Named(_) => None,
        });
        if let Some(bad) = numbers.chain(rule.min).chain(rule.max).find(|x| !x.is_finite()) {
            return Some(format!(
                "`valid`: {bad} must be finite; numbers that are not are always invalid"
            ));
        }
        match (rule.min, rule.max) {
            (Some(min), Some(max)) if min > max => {
                Some(format!("`valid`: min {min} is above max {max}"))
            }
            _ => None,
        }
    }
}

/// Smallest and largest length of a stored unit vector; others mark unknown pixels, as (0, 0, 0)
/// does whether it stands for itself or for three components of -1.
const UNIT_LENGTH: (f32, f32) = (0.5, 1.5);

/// The largest value of 16 bits, by which converted files mark unknown distances too.
const SIXTEEN_BITS: f32 = 65535.0;

/// The invalid numbers of a file, whose type is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InvalidNumbers {
    stored: Vec<f32>,
    /// Smallest and largest valid number after the division, if there is a range.
    range: Option<(f32, f32)>,
    /// The stored number for 0, and the difference of stored numbers for 1.
    zero: f32,
    unit: f32,
    /// Smallest and largest length of valid vectors, if it counts.
    length: Option<(f32, f32)>,
}

impl InvalidNumbers {
    /// The invalid numbers of a rule, in a file of a type of this range; `None` for floats.
    pub(crate) fn of(
        rules: &ValueRules,
        encoding: &Encoding,
        of_type: Option<NumberRange>,
    ) -> Self {
        let saturated = of_type.map(|range| range.max);
        let (divisor, quantity) = match encoding {
            Encoding::Continuous { divisor, quantity, .. } => (*divisor, *quantity),
            _ => (1.0, Quantity::Plain),
        };
        let (usual, least) = match quantity {
            Quantity::Distance => (unknown_distances(saturated), 0.0),
            Quantity::Plain | Quantity::Direction => (Vec::new(), f32::NEG_INFINITY),
        };
        let (stored, range) = match &rules.valid {
            Valid::All => (Vec::new(), None),
            Valid::Quantity => (usual, Some((least, f32::INFINITY))),
            Valid::Own(rule) => (
                rule.except.as_ref().map_or(usual, |except| numbers(except, saturated)),
                Some((rule.min.unwrap_or(least), rule.max.unwrap_or(f32::INFINITY))),
            ),
        };
        let (zero, one) = rules.stored.zero_and_one(of_type);
        let vectors = rules.stored == Stored::UnitVectors && !rules.valid.is_all();
        let length = vectors.then_some(UNIT_LENGTH);
        Self { stored, range, zero, unit: (one - zero) * divisor, length }
    }

    /// Makes every channel of invalid pixels NaN.
    ///
    /// # Shapes
    /// `channels` planes of stored numbers.
    pub(crate) fn mark(&self, planes: &mut [f32], channels: usize) {
        let inside = |x: f32| match self.range {
            Some((min, max)) => (min..=max).contains(&self.in_unit(x)),
            None => true,
        };
        let measured = |x: f32| x.is_finite() && inside(x);
        let excepted = |x: f32| self.stored.contains(&x);
        if channels == 1 {
            let invalid = |x: &&mut f32| !measured(**x) || excepted(**x);
            planes.iter_mut().filter(invalid).for_each(|x| *x = f32::NAN);
            return;
        }
        let pixels = planes.len() / channels.max(1);
        for pixel in 0..pixels {
            let of_pixel = || planes.iter().skip(pixel).step_by(pixels).copied();
            if !of_pixel().all(measured) || of_pixel().all(excepted) || !self.is_long(of_pixel()) {
                planes.iter_mut().skip(pixel).step_by(pixels).for_each(|x| *x = f32::NAN);
            }
        }
    }
}

impl InvalidNumbers {
    fn in_unit(&self, stored: f32) -> f32 {
        (stored - self.zero) / self.unit
    }

    /// Whether a vector has a valid length.
    fn is_long(&self, stored: impl Iterator<Item = f32>) -> bool {
        let Some((shortest, longest)) = self.length else { return true };
        let squares: f32 = stored.map(|x| self.in_unit(x).powi(2)).sum();
        (shortest * shortest..=longest * longest).contains(&squares)
    }
}

/// The stored numbers by which files mark unknown distances.
fn unknown_distances(saturated: Option<f32>) -> Vec<f32> {
    let wide = saturated.is_none_or(|largest| largest > SIXTEEN_BITS);
    [0.0].into_iter().chain(saturated).chain(wide.then_some(SIXTEEN_BITS)).collect()
}

fn numbers(except: &[Excepted], saturated: Option<f32>) -> Vec<f32> {
    let number = |excepted: &Excepted| match excepted {
        Excepted::Number(number) => Some(*number),
        Excepted::Named(Saturated::Saturated) => saturated,
    };
    except.iter().filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Interpolation;

    fn encoding(channels: usize, quantity: Quantity) -> Encoding {
        Encoding::Continuous {
            channels,
            divisor: 1000.0,
            mean: Vec::new(),
            std: Vec::new(),
            interpolation: Interpolation::Nearest,
            standardize: false,
            quantity,
        }
    }

    /// The indices of stored numbers that a rule calls invalid.
    fn invalid(valid: Valid, quantity: Quantity, channels: usize, stored: &[f32]) -> Vec<usize> {
        let rules = ValueRules { valid, ..ValueRules::default() };
        let mut planes = stored.to_vec();
        let range = Some(NumberRange { min: 0.0, max: 65535.0 });
        InvalidNumbers::of(&rules, &encoding(channels, quantity), range)
            .mark(&mut planes, channels);
        let kept = planes.iter().zip(stored).all(|(a, b)| a.is_nan() || a == b);
        assert!(kept, "valid numbers stay as they are");
        (0..planes.len()).filter(|&index| planes[index].is_nan()).collect()
    }

    #[test]
    fn distances_of_signed_and_wide_types_are_invalid_below_zero_and_at_65535() {
        let signed = |max: f32| Some(NumberRange { min: -max, max });
        for (of_type, largest) in
            [(None, 65535.0), (signed(32767.0), 32767.0), (signed(2_147_483_648.0), 65535.0)]
        {
            let mut planes = [-1.0, 0.0, 1.0, 300.0, largest];
            let encoding = encoding(1, Quantity::Distance);
            let rules = ValueRules { valid: Valid::Quantity, ..ValueRules::default() };
            InvalidNumbers::of(&rules, &encoding, of_type).mark(&mut planes, 1);
            let valid = planes.map(|number| !number.is_nan());
            assert_eq!(valid, [false, false, true, true, false], "{of_type:?}");
        }
    }

    #[test]
    fn distances_are_invalid_at_zero_and_where_they_saturate() {
        let stored = [0.0, 1.0, 65535.0, f32::NAN, f32::INFINITY, 65534.0];
        assert_eq!(invalid(Valid::Quantity, Quantity::Distance, 1, &stored), [0, 2, 3, 4]);
        assert_eq!(invalid(Valid::Quantity, Quantity::Plain, 1, &stored), [3, 4]);
        assert_eq!(invalid(Valid::All, Quantity::Distance, 1, &stored), [3, 4]);
    }

    #[test]
    fn a_rule_of_its_own_names_numbers_and_a_range_in_the_unit() {
        let stored = [0.0, 7.0, 299.0, 300.0, 10000.0, 10001.0, 65535.0];
        let rule = |except, min, max| Valid::Own(ValidRule { except, min, max });
        let seven = rule(Some(vec![Excepted::Number(7.0)]), None, None);
        assert_eq!(invalid(seven, Quantity::Distance, 1, &stored), [1]);
        let range = rule(Some(Vec::new()), Some(0.3), Some(10.0));
        assert_eq!(invalid(range, Quantity::Plain, 1, &stored), [0, 1, 2, 5, 6]);
        // Without `except`, those of the quantity stay.
        let above = rule(None, None, Some(100.0));
        assert_eq!(invalid(above, Quantity::Distance, 1, &stored), [0, 6]);
    }

    #[test]
    fn a_pixel_is_invalid_in_all_of_its_channels() {
        // Three pixels of two channels: (0, 5), (0, 0), (3, NaN).
        let stored = [0.0, 0.0, 3.0, 5.0, 0.0, f32::NAN];
        assert_eq!(invalid(Valid::Quantity, Quantity::Distance, 2, &stored), [1, 2, 4, 5]);
    }

    #[test]
    fn a_range_is_counted_from_zero() {
        let rule = ValidRule { min: Some(-0.001), ..ValidRule::default() };
        let rules = ValueRules {
            valid: Valid::Own(rule),
            stored: Stored::ZeroAt(100.0),
            ..ValueRules::default()
        };
        let mut numbers = [98.0, 99.0, 100.0, 300.0];
        InvalidNumbers::of(&rules, &encoding(1, Quantity::Plain), None).mark(&mut numbers, 1);
        assert!(numbers[0].is_nan() && numbers[1..] == [99.0, 100.0, 300.0]);
    }

    #[test]
    fn vectors_of_no_unit_length_are_unknown() {
        let mut encoding = encoding(3, Quantity::Direction);
        if let Encoding::Continuous { divisor, .. } = &mut encoding {
            *divisor = 1.0;
        }
        let range = Some(NumberRange { min: 0.0, max: 255.0 });
        // Four pixels: (0, 0, 0), the middle, along z, and along x.
        let stored = [0.0, 127.0, 128.0, 255.0, 0.0, 128.0, 127.0, 127.0, 0.0, 127.0, 255.0, 128.0];
        for (valid, expected) in
            [(Valid::Quantity, [true, true, false, false]), (Valid::All, [false; 4])]
        {
            let rules = ValueRules { valid, stored: Stored::UnitVectors, ..ValueRules::default() };
            let mut planes = stored;
            InvalidNumbers::of(&rules, &encoding, range).mark(&mut planes, 3);
            assert_eq!([0, 1, 2, 3].map(|pixel| planes[pixel].is_nan()), expected);
        }
    }

    #[test]
    fn rules_are_written_as_they_are_read() {
        let text = [
            r#""all""#,
            r#""quantity""#,
            r#"{"except":[0.0,"saturated"],"min":0.5}"#,
            r#"{"except":[]}"#,
        ];
        for text in text {
            let valid: Valid = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&valid).unwrap(), text);
        }
        for text in [r#""none""#, "0", r#"{"exept":[0]}"#, r#"{"except":["most"]}"#] {
            let error = serde_json::from_str::<Valid>(text).unwrap_err().to_string();
            assert!(error.contains("`quantity` or a map"), "{text}: {error}");
        }
    }
}
