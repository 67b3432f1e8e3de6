//! The change of values where a frame is mirrored.

use serde::{Deserialize, Serialize};

use super::super::LabelRule;
use super::{DataModality, Encoding, Quantity, Stored};

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
    pub(super) fn problem(&self, encoding: &Encoding, stored: Stored) -> Option<String> {
        let Self::Own(rule) = self else { return None };
        let mut all: Vec<i64> = rule.swap.iter().flatten().copied().collect();
        all.sort_unstable();
        if let Some(twice) = all.windows(2).find(|pair| pair[0] == pair[1]) {
            return Some(format!("`flip`: {} is swapped twice", twice[0]));
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
            Encoding::Continuous { channels, mean, quantity, .. } => {
                let negated = rule.negate.iter().map(|&channel| channel as i64);
                let bad = |channel: &i64| !(0..*channels as i64).contains(channel);
                if let Some(bad) = negated.chain(all).find(bad) {
                    return Some(format!("`flip`: there is no channel {bad} of {channels}"));
                }
                let shifted = !mean.is_empty() && *quantity != Quantity::Direction;
                (!rule.negate.is_empty() && shifted && stored.is_plain()).then(|| {
                    "`flip`: say which stored number stands for 0, as in `zero: 32768`, or `zero: 0` \
                     where numbers have signs; `mean` may be any number"
                        .to_owned()
                })
            }
        }
    }
}

impl DataModality {
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
            before[plane(first)].swap_with_slice(&mut behind[..area]);
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

    /// The normalised value that stands for 0. Where nothing says which stored number does, `mean`.
    fn normalised_zero(&self, channel: usize) -> f32 {
        match &self.encoding {
            Encoding::Continuous { mean, std, .. } if !self.rules.stored.is_plain() => {
                let mean = mean.get(channel).copied().unwrap_or(0.0);
                -mean / std.get(channel).copied().unwrap_or(1.0)
            }
            _ => 0.0,
        }
    }
}
