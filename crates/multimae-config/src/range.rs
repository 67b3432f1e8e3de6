//! Ranges of numbers, declared beside the keys that they bound.

use std::fmt;

use serde_json::Value;

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound {
    value: f64,
    included: bool,
}

/// The numbers that a key takes. For a pair, a list or a map, each of them is bounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    low: Bound,
    high: Option<Bound>,
    ordered: bool,
}

/// Numbers from `low` on.
#[must_use]
pub const fn at_least(low: f64) -> Range {
    Range { low: Bound { value: low, included: true }, high: None, ordered: false }
}

/// Numbers above `low`.
#[must_use]
pub const fn above(low: f64) -> Range {
    Range { low: Bound { value: low, included: false }, high: None, ordered: false }
}

impl Range {
    /// The numbers up to `high`.
    #[must_use]
    pub const fn at_most(self, high: f64) -> Self {
        Self { high: Some(Bound { value: high, included: true }), ..self }
    }

    /// The numbers below `high`.
    #[must_use]
    pub const fn below(self, high: f64) -> Self {
        Self { high: Some(Bound { value: high, included: false }), ..self }
    }

    /// A pair whose first number is not above its second.
    #[must_use]
    pub const fn ordered(self) -> Self {
        Self { ordered: true, ..self }
    }

    /// The reason why a key cannot have this value, if a number in it is out of range. Null is in
    /// every range.
    #[must_use]
    pub fn problem(&self, key: &str, value: &Value) -> Option<String> {
        let numbers = numbers(value);
        let fits = numbers.iter().all(|number| self.contains(*number));
        let in_order = !self.ordered || numbers.is_sorted();
        (!fits || !in_order).then(|| format!("`{key}: {value}` must be {self}"))
    }

    /// The bounds as a JSON Schema, of a number, of those of a list and of those of a map.
    pub(crate) fn schema(&self) -> Value {
        let mut bounds = serde_json::Map::new();
        let low = if self.low.included { "minimum" } else { "exclusiveMinimum" };
        bounds.insert(low.to_owned(), self.low.value.into());
        if let Some(Bound { value, included }) = self.high {
            let high = if included { "maximum" } else { "exclusiveMaximum" };
            bounds.insert(high.to_owned(), value.into());
        }
        let each = Value::Object(bounds.clone());
        bounds.insert("items".to_owned(), each.clone());
        bounds.insert("additionalProperties".to_owned(), each);
        Value::Object(bounds)
    }

    fn contains(&self, number: f64) -> bool {
        let Bound { value, included } = self.low;
        let above = number > value || included && number == value;
        let below = self
            .high
            .is_none_or(|Bound { value, included }| number < value || included && number == value);
        above && below
    }
}

/// All numbers in a value.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        Value::Object(map) => map.values().flat_map(numbers).collect(),
        single => single.as_f64().into_iter().collect(),
    }
}

impl fmt::Display for Range {
    /// Writes the range as the words behind "must be".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let low = self.low.value;
        match (self.low.included, self.high) {
            (true, None) => write!(f, "at least {low}")?,
            (false, None) => write!(f, "above {low}")?,
            (included, Some(high)) => {
                let opening = if included { '[' } else { '(' };
                let closing = if high.included { ']' } else { ')' };
                write!(f, "in {opening}{low}, {}{closing}", high.value)?;
            }
        }
        if self.ordered { write!(f, ", the smaller number first") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ends_belong_to_a_range_or_not() {
        let share = above(0.0).at_most(1.0);
        assert_eq!(share.problem("share", &json!(1)), None);
        assert_eq!(share.problem("share", &json!(null)), None);
        let problem = share.problem("share", &json!(0)).unwrap();
        assert_eq!(problem, "`share: 0` must be in (0, 1]");
        let problem = at_least(1.0).problem("count", &json!(0)).unwrap();
        assert_eq!(problem, "`count: 0` must be at least 1");
        let problem = at_least(0.0).below(1.0).problem("rate", &json!(1.0)).unwrap();
        assert_eq!(problem, "`rate: 1.0` must be in [0, 1)");
    }

    #[test]
    fn every_number_of_a_list_or_map_is_bounded() {
        let share = at_least(0.0).at_most(1.0);
        assert_eq!(share.problem("shares", &json!([0.9, 0.1])), None);
        assert!(share.problem("shares", &json!([0.1, 1.5])).is_some());
        assert!(share.problem("shares", &json!({ "a": -1 })).is_some());
        let problem = share.ordered().problem("shares", &json!([0.9, 0.1])).unwrap();
        assert_eq!(problem, "`shares: [0.9,0.1]` must be in [0, 1], the smaller number first");
    }
}
