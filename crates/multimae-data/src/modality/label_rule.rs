//! The rule from stored values to labels.

use std::collections::{BTreeMap, BTreeSet};

use super::{ClassMap, Encoding, LabelKeys};
use crate::capped::Capped;

/// The usual stored value of pixels that do not count.
const USUAL_VOID: i64 = 255;
/// A label that is no class in any data set: no file stores it unless it means void.
pub(super) const NO_CLASS: i64 = -1;

/// The stored value that is ignored where a recipe does not say: 255, unless 255 is a class; then
/// -1, which leaves every class in place.
#[must_use]
pub fn usual_void(classes: Option<usize>, offset: i64, values: &[i64]) -> i64 {
    let classes = classes.and_then(|classes| i64::try_from(classes).ok()).unwrap_or(0);
    let is_class = match values {
        [] => (0..classes).contains(&(USUAL_VOID + offset)),
        values => values.contains(&USUAL_VOID),
    };
    if is_class { NO_CLASS } else { USUAL_VOID }
}

/// The labels of stored values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRule {
    classes: i64,
    ignore: Option<i64>,
    offset: i64,
    /// Stored values with their labels, sorted; empty where labels are stored values plus offset.
    by_value: Vec<(i64, i64)>,
    /// The labels of stored values or colours, which then says everything.
    map: Option<ClassMap>,
}

impl LabelRule {
    /// A rule without a list of stored values: labels are stored values plus `offset`.
    #[must_use]
    pub fn new(classes: usize, ignore: Option<i64>, offset: i64) -> Self {
        let classes = i64::try_from(classes).unwrap_or(i64::MAX);
        Self { classes, ignore, offset, by_value: Vec::new(), map: None }
    }

    /// The rule of an encoding, if it is one of labels.
    #[must_use]
    pub fn of(encoding: &Encoding) -> Option<Self> {
        let Encoding::Labels { classes, ignore, offset, values, map } = encoding else {
            return None;
        };
        let mut by_value: Vec<(i64, i64)> = values.iter().copied().zip(0..).collect();
        by_value.sort_unstable();
        Some(Self { by_value, map: map.clone(), ..Self::new(*classes, *ignore, *offset) })
    }

    /// The stored value that is ignored.
    #[must_use]
    pub fn ignored_value(&self) -> Option<i64> {
        self.ignore
    }

    /// Whether labels are those of a [`ClassMap`].
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        self.map.is_some()
    }

    /// Whether the stored values are colours, of which a [`ClassMap`] has the labels.
    #[must_use]
    pub fn is_of_colors(&self) -> bool {
        self.map.as_ref().is_some_and(ClassMap::is_of_colors)
    }

    /// The label of ignored pixels: the stored value itself, or -1 with a list or a map of stored
    /// values, whose labels count from 0 whatever is stored.
    #[must_use]
    pub fn void(&self) -> Option<i64> {
        if let Some(map) = &self.map {
            return map.ignores().then_some(NO_CLASS);
        }
        if self.by_value.is_empty() { self.ignore } else { self.ignore.map(|_| NO_CLASS) }
    }

    /// The label of a stored value, if it is allowed.
    #[must_use]
    pub fn label(&self, stored: i64) -> Option<i64> {
        if let Some(map) = &self.map {
            return map.label(stored);
        }
        if self.ignore == Some(stored) {
            return self.void();
        }
        if !self.by_value.is_empty() {
            let at = self.by_value.binary_search_by_key(&stored, |&(value, _)| value).ok()?;
            return Some(self.by_value[at].1);
        }
        let label = stored.checked_add(self.offset)?;
        if (0..self.classes).contains(&label) {
            Some(label)
        } else if stored >= 0 && label < 0 {
            self.ignore
        } else {
            None
        }
    }

    /// The value that files store for a label; the first one of those that a map brings to it.
    #[must_use]
    pub fn stored(&self, label: i64) -> i64 {
        if let Some(map) = &self.map {
            return map.stored(label).unwrap_or(label);
        }
        if Some(label) == self.void() {
            return self.ignore.unwrap_or(label);
        }
        let found = self.by_value.iter().find(|&&(_, own)| own == label);
        found.map_or_else(|| label.saturating_sub(self.offset), |&(value, _)| value)
    }

    /// The labels that are classes: all but an ignored one.
    pub fn classes(&self) -> impl Iterator<Item = i64> + '_ {
        let void = self.void();
        (0..self.classes).filter(move |&label| Some(label) != void)
    }

    /// Checks that every stored value is allowed.
    ///
    /// # Errors
    /// The values that are not, and the keys to set.
    pub(crate) fn check(&self, stored: impl Iterator<Item = i64> + Clone) -> Result<(), String> {
        let mut outside = BTreeMap::<i64, usize>::new();
        for value in stored.clone().filter(|&value| self.label(value).is_none()) {
            *outside.entry(value).or_default() += 1;
        }
        if outside.is_empty() { Ok(()) } else { Err(self.complaint(&outside, &stored.collect())) }
    }

    fn complaint(&self, outside: &BTreeMap<i64, usize>, stored: &BTreeSet<i64>) -> String {
        if let Some(map) = &self.map {
            let found: Vec<String> = outside
                .iter()
                .map(|(&value, pixels)| format!(" {} ({pixels} pixels)", map.name(value)))
                .collect();
            return format!(
                "stored values that are not in the class map: {}; add them to the map, or `other` \
                 with a class or `ignore`, or correct the file",
                listed(&found)
            );
        }
        let found: Vec<String> =
            outside.iter().map(|(label, pixels)| format!(" {label} ({pixels} pixels)")).collect();
        let ignored = match self.ignore {
            Some(ignore) => format!("label {ignore} is ignored"),
            None => "no label is ignored".to_owned(),
        };
        let shifted = match self.offset {
            0 => String::new(),
            offset => format!(" after the offset {offset}"),
        };
        let classes = if self.by_value.is_empty() {
            format!("the {} classes 0..{}{shifted}", self.classes, self.classes)
        } else {
            let values: Vec<i64> = self.by_value.iter().map(|&(value, _)| value).collect();
            format!("the {} classes stored as {}", self.classes, listed(&as_words(&values)))
        };
        format!(
            "labels outside {classes}: {}; {ignored}; {}",
            listed(&found),
            self.remedy(outside, stored)
        )
    }

    /// The keys to set so that the stored values are allowed.
    fn remedy(&self, outside: &BTreeMap<i64, usize>, stored: &BTreeSet<i64>) -> String {
        let keys = LabelKeys::of(stored, Some((self.classes - 1).saturating_sub(self.offset)));
        let void = keys.ignore.filter(|void| outside.contains_key(void));
        if let Some(last) = keys.values.last() {
            let ignore = void.map_or_else(String::new, |void| format!(" and `ignore: {void}`"));
            return format!(
                "set `values: {:?}`{ignore} of the modality if these are its classes, or \
                 `ignore: {last}` if {last} marks pixels without a label; otherwise correct the \
                 file",
                keys.values
            );
        }
        match void {
            Some(void) if outside.len() == 1 => format!(
                "set `ignore: {void}` of the modality if {void} marks pixels without a label; \
                 otherwise correct `classes`, `offset` or `values`, or the file"
            ),
            Some(void) => format!(
                "set `ignore: {void}` of the modality if {void} marks pixels without a label, and \
                 correct `classes`, `offset` or `values`, or the file, for the others"
            ),
            None => {
                "set `classes`, `ignore`, `offset` or `values` of the modality, or correct the file"
                    .to_owned()
            }
        }
    }
}

fn listed(words: &[String]) -> String {
    Capped(words, ",").to_string().trim_start_matches(',').trim_start().to_owned()
}

fn as_words(values: &[i64]) -> Vec<String> {
    values.iter().map(|value| format!(" {value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_values(values: &[i64], ignore: Option<i64>) -> LabelRule {
        let encoding = Encoding::Labels {
            classes: values.len(),
            ignore,
            offset: 0,
            values: values.to_vec(),
            map: None,
        };
        LabelRule::of(&encoding).unwrap()
    }

    #[test]
    fn listed_values_are_classes_in_their_order() {
        let mask = of_values(&[0, 255], None);
        assert_eq!([0, 255, 1].map(|stored| mask.label(stored)), [Some(0), Some(1), None]);
        assert_eq!([0, 1].map(|label| mask.stored(label)), [0, 255]);
        // An ignored value is no class, even if its number is that of a class.
        let rule = of_values(&[7, 3], Some(0));
        assert_eq!([7, 3, 0].map(|stored| rule.label(stored)), [Some(0), Some(1), Some(-1)]);
        assert_eq!((rule.void(), rule.stored(-1), rule.stored(1)), (Some(-1), 0, 3));
    }

    #[test]
    fn maps_say_everything() {
        let of = |text: &str| {
            let map: ClassMap = serde_json::from_str(text).unwrap();
            LabelRule::of(&Encoding::mapped(map)).unwrap()
        };
        let rule = of(r#"{"3-4": 1, "9": 0, "255": "ignore"}"#);
        assert_eq!(
            [3, 4, 9, 255, 5].map(|stored| rule.label(stored)),
            [Some(1), Some(1), Some(0), Some(-1), None]
        );
        assert_eq!((rule.void(), rule.stored(1), rule.stored(-1)), (Some(-1), 3, 255));
        assert_eq!(rule.classes().collect::<Vec<_>>(), [0, 1]);
        let error = rule.check([3, 5, 5].into_iter()).unwrap_err();
        assert!(error.contains("not in the class map: 5 (2 pixels)"), "{error}");
        assert!(error.contains("`other`"), "{error}");
        let colors = of(r#"{"0,0,1": 0}"#);
        assert_eq!((colors.void(), colors.is_of_colors()), (None, true));
        let error = colors.check([1, 257].into_iter()).unwrap_err();
        assert!(error.contains("0,1,1 (1 pixels)"), "{error}");
    }

    #[test]
    fn a_negative_label_can_be_ignored() {
        let rule = LabelRule::new(3, Some(-1), 0);
        assert_eq!(
            [-1, 0, 2, 3].map(|stored| rule.label(stored)),
            [Some(-1), Some(0), Some(2), None]
        );
        // With an offset too, and what it brings below 0 is ignored as well.
        let rule = LabelRule::new(3, Some(-1), -1);
        assert_eq!(
            [-1, 0, 1, 3].map(|stored| rule.label(stored)),
            [Some(-1), Some(-1), Some(0), Some(2)]
        );
    }

    #[test]
    fn class_255_is_not_ignored_unless_that_is_said() {
        assert_eq!(usual_void(Some(40), 0, &[]), 255);
        assert_eq!(usual_void(Some(255), 0, &[]), 255);
        assert_eq!(usual_void(Some(256), 0, &[]), -1);
        assert_eq!(usual_void(Some(255), -1, &[]), -1);
        assert_eq!(usual_void(Some(254), -1, &[]), 255);
        assert_eq!(usual_void(Some(2), 0, &[0, 255]), -1);
        assert_eq!(usual_void(None, 0, &[]), 255);
    }

    #[test]
    fn labels_that_are_not_allowed_name_the_key_to_set() {
        let complaint = |ignore, stored: &[i64]| {
            LabelRule::new(3, ignore, 0).check(stored.iter().copied()).unwrap_err()
        };
        let error = complaint(Some(255), &[0, -1, -1]);
        assert!(error.contains("-1 (2 pixels)") && error.contains("`ignore: -1`"), "{error}");
        let error = complaint(None, &[0, 255]);
        assert!(error.contains("`ignore: 255`"), "{error}");
        let error = complaint(None, &[3, 9]);
        assert!(error.contains(": 3 (1 pixels), 9 (1 pixels)"), "{error}");
        assert!(error.contains("`classes`"), "{error}");
        // The keys that `doctor` proposes, too.
        let error = complaint(Some(255), &[0, 2, 65535]);
        assert!(error.contains("`ignore: 65535`"), "{error}");
        let error = complaint(Some(255), &[0, 128, 255]);
        assert!(error.contains("`values: [0, 128, 255]`"), "{error}");
        let error = complaint(Some(255), &[0, 7, 65535]);
        assert!(error.contains("`ignore: 65535`") && error.contains("`classes`"), "{error}");
        let mask = LabelRule::new(2, Some(255), 0).check([0, 65535].into_iter()).unwrap_err();
        assert!(mask.contains("`values: [0, 65535]`") && mask.contains("`ignore: 65535`"));
        let error = of_values(&[0, 255], None).check([0, 7].into_iter()).unwrap_err();
        assert!(error.contains("stored as 0, 255: 7"), "{error}");
    }
}
