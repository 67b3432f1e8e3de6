//! The change of values where a frame is mirrored.

use serde::{Deserialize, Serialize};

use super::super::LabelRule;
use super::{DataModality, Encoding, NumberRange, Quantity};

/// The change of a modality's values where a frame is mirrored left to right. Whatever it is, mirroring
/// twice changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "FlipForm", into = "FlipForm")]
pub enum Flip {
    /// By the quantity: the first channel of a direction is negated, all else stays.
    #[default]
    Quantity,
    /// None: values only move.
    Nothing,
    /// A rule of the modality's own.
    Own(FlipRule),
}

/// A rule for mirrored values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct FlipRule {
    /// Channels of numbers whose sign changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub negate: Vec<usize>,
    /// Pairs that change places: labels as stored, or channels of numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub swap: Vec<[i64; 2]>,
}

/// [`Flip`] as it is written.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    untagged,
    expecting = "`flip`: expected `nothing`, `quantity`, or a map as in {negate: [0]} or {swap: [[3, \
                 4]]}"
)]
enum FlipForm {
    Named(FlipName),
    Own(FlipRule),
}

#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum FlipName {
    Quantity,
    Nothing,
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Flip {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Flip".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        FlipForm::json_schema(generator)
    }
}

impl From<FlipForm> for Flip {
    fn from(form: FlipForm) -> Self {
        match form {
            FlipForm::Named(FlipName::Quantity) => Self::Quantity,
            FlipForm::Named(FlipName::Nothing) => Self::Nothing,
            FlipForm::Own(rule) => Self::Own(rule),
        }
    }
}

impl From<Flip> for FlipForm {
    fn from(flip: Flip) -> Self {
        match flip {
            Flip::Quantity => Self::Named(FlipName::Quantity),
            Flip::Nothing => Self::Named(FlipName::Nothing),
            Flip::Own(rule) => Self::Own(rule),
        }
    }
}

impl Flip {
    /// Whether the change follows from the quantity.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::Quantity
    }

    fn rule(&self, encoding: &Encoding) -> FlipRule {
        match (self, encoding) {
            (Self::Quantity, Encoding::Continuous { quantity: Quantity::Direction, .. }) => {
                FlipRule { negate: vec![0], swap: Vec::new() }
            }
            (Self::Quantity | Self::Nothing, _) => FlipRule::default(),
            (Self::Own(rule), _) => rule.clone(),
        }
    }

    /// The problem with the rule for this encoding, if there is one.
    pub(super) fn problem(&self, encoding: &Encoding) -> Option<String> {
        let Self::Own(rule) = self else { return None };
        let all: Vec<i64> = rule.swap.iter().flatten().copied().collect();
        if let Some(problem) = rule.not_its_own_inverse(&all) {
            return Some(format!("`flip`: {problem}"));
        }
        match encoding {
            Encoding::Color { .. } => Some("`flip` is for numbers and labels".to_owned()),
            Encoding::Labels { .. } if !rule.negate.is_empty() => {
                Some("`flip`: `negate` is for numbers; labels have `swap`".to_owned())
            }
            Encoding::Labels { classes, .. } => {
                let labels = LabelRule::of(encoding)?;
                let is_class = |label: i64| labels.classes().any(|class| class == label);
                let known = |stored: i64| labels.label(stored).is_some_and(is_class);
                let bad = all.iter().find(|&&stored| !known(stored))?;
                Some(format!("`flip`: {bad} is no label of the {classes} classes"))
            }
            Encoding::Continuous { channels, .. } => {
                let negated = rule.negate.iter().map(|&channel| channel as i64);
                let bad = |channel: &i64| !(0..*channels as i64).contains(channel);
                let bad = negated.chain(all).find(bad)?;
                Some(format!("`flip`: there is no channel {bad} of {channels}"))
            }
        }
    }
}

impl FlipRule {
    /// Why applying the rule twice would change something.
    fn not_its_own_inverse(&self, swapped: &[i64]) -> Option<String> {
        if let Some(twice) = repeated(swapped) {
            return Some(format!("{twice} is swapped twice"));
        }
        if let Some(twice) = repeated(&self.negate) {
            return Some(format!("channel {twice} is negated twice"));
        }
        let negated =
            |channel: i64| usize::try_from(channel).is_ok_and(|c| self.negate.contains(&c));
        let [a, b] = self.swap.iter().find(|[a, b]| negated(*a) != negated(*b))?;
        Some(format!(
            "of the channels {a} and {b}, which are swapped, one is negated and one is not; \
             negate both or none"
        ))
    }
}

/// A number that occurs again.
fn repeated<T: Ord + Copy>(numbers: &[T]) -> Option<T> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

impl DataModality {
    /// Whether values have a direction in the picture, so that turning the picture would have to turn
    /// them: they change with mirroring.
    pub(crate) fn has_directions(&self) -> bool {
        let direction =
            matches!(self.encoding, Encoding::Continuous { quantity: Quantity::Direction, .. });
        direction || self.rules.flip.rule(&self.encoding) != FlipRule::default()
    }

    /// Changes the values of a mirrored map, whose pixels were mirrored already or not.
    ///
    /// # Shapes
    /// `planes`: of numbers a plane of `area` values for each channel, normalised; of labels a plane of
    /// scores for each class.
    pub fn mirror_planes(&self, planes: &mut [f32], area: usize) {
        let rule = self.rules.flip.rule(&self.encoding);
        let plane = |channel: usize| channel * area..(channel + 1) * area;
        for &channel in &rule.negate {
            let twice_zero = 2.0 * self.normalised_zero(channel);
            let Some(values) = planes.get_mut(plane(channel)) else { continue };
            match twice_zero == 0.0 {
                true => values.iter_mut().for_each(|x| *x = -*x),
                false => values.iter_mut().for_each(|x| *x = twice_zero - *x),
            }
        }
        for [a, b] in self.swapped(&rule) {
            let (Ok(a), Ok(b)) = (usize::try_from(a), usize::try_from(b)) else { continue };
            let (first, second) = (a.min(b), a.max(b));
            if plane(second).end > planes.len() {
                continue;
            }
            let (before, behind) = planes.split_at_mut(second * area);
            let (one, other) = (&mut before[plane(first)], &mut behind[..area]);
            one.swap_with_slice(other);
            self.renormalise(one, second, first);
            self.renormalise(other, first, second);
        }
    }

    /// Normalises values of channel `from` as those of channel `to`.
    fn renormalise(&self, values: &mut [f32], from: usize, to: usize) {
        let Encoding::Continuous { mean, std, .. } = &self.encoding else { return };
        let of = |channel: usize| {
            let mean = mean.get(channel).copied().unwrap_or(0.0);
            (mean, std.get(channel).copied().unwrap_or(1.0))
        };
        let ((mean, std), (to_mean, to_std)) = (of(from), of(to));
        if (mean, std) != (to_mean, to_std) {
            values.iter_mut().for_each(|x| *x = (*x * std + mean - to_mean) / to_std);
        }
    }

    /// Changes the labels of a mirrored map.
    pub(crate) fn mirror_labels(&self, labels: &mut [i64]) {
        let swapped = self.swapped(&self.rules.flip.rule(&self.encoding));
        if swapped.is_empty() {
            return;
        }
        for label in labels {
            let other = swapped.iter().find_map(|&[a, b]| match *label {
                label if label == a => Some(b),
                label if label == b => Some(a),
                _ => None,
            });
            *label = other.unwrap_or(*label);
        }
    }

    /// The labels or channels that a rule swaps.
    fn swapped(&self, rule: &FlipRule) -> Vec<[i64; 2]> {
        let Some(labels) = LabelRule::of(&self.encoding) else { return rule.swap.clone() };
        let pairs = rule.swap.iter().map(|&[a, b]| Some([labels.label(a)?, labels.label(b)?]));
        pairs.flatten().collect()
    }

    /// The normalised value that stands for 0.
    fn normalised_zero(&self, channel: usize) -> f32 {
        let Encoding::Continuous { mean, std, divisor, .. } = &self.encoding else { return 0.0 };
        let zero = match self.rules.stored.is_plain() {
            true => zero_of_unsigned(*divisor, mean).unwrap_or(0.0),
            false => 0.0,
        };
        let mean = mean.get(channel).copied().unwrap_or(0.0);
        (zero - mean) / std.get(channel).copied().unwrap_or(1.0)
    }

    /// The problem with negated values in a file of unsigned numbers, none of which is known to
    /// stand for 0.
    pub(crate) fn zero_problem(&self, of_type: Option<NumberRange>) -> Option<String> {
        let Encoding::Continuous { mean, divisor, .. } = &self.encoding else { return None };
        let negated = self.rules.flip.rule(&self.encoding).negate;
        let unsigned = of_type.is_some_and(|range| range.min >= 0.0);
        let known = !self.rules.stored.is_plain() || zero_of_unsigned(*divisor, mean).is_some();
        (unsigned && !known && !negated.is_empty()).then(|| {
            format!(
                "it stores unsigned numbers, and mirroring negates channel {} of `{}`: say which \
                 stored number stands for 0, as in `zero: 32768`, `stored: unit_vectors` for \
                 normals, or `flip: nothing`",
                negated[0], self.name
            )
        })
    }
}

/// The value, after the division by `divisor`, that stands for 0 where unsigned integers store
/// components from -1 to 1: the middle of 8 or 16 bits. `None` where nothing says so.
fn zero_of_unsigned(divisor: f32, mean: &[f32]) -> Option<f32> {
    const MIDDLES: [f32; 6] = [127.0, 127.5, 128.0, 32767.0, 32767.5, 32768.0];
    let middle = |value: f32| MIDDLES.contains(&value);
    if [255.0, 65535.0].contains(&divisor) {
        return Some(0.5);
    }
    if middle(divisor) {
        return Some(1.0);
    }
    let first = *mean.first()?;
    (mean.iter().all(|&mean| mean == first) && middle(first * divisor)).then_some(first)
}
