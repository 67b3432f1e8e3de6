//! Numbers, texts, flags and sizes.

use multimae::modality::Size;
use serde_json::{Value, json};

use super::json_schema::any_of;
use crate::keys::RecipeValue;

/// A number that YAML takes for a text.
const NUMBER: &str = r"^\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$";

pub(super) fn expected<T: RecipeValue>(value: &Value) -> String {
    format!("{value} is not {}", T::kind())
}

/// A number, also one that YAML takes for a text, such as `1e-4` in YAML 1.1.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|number: &f64| number.is_finite())
}

pub(super) fn whole(value: &Value) -> Option<u64> {
    let number = number(value)?;
    (number >= 0.0 && number.fract() == 0.0 && number < 9e15).then_some(number as u64)
}

impl RecipeValue for f64 {
    fn read(value: &Value) -> Result<Self, String> {
        number(value).ok_or_else(|| expected::<Self>(value))
    }

    fn write(&self) -> Value {
        json!(self)
    }

    fn kind() -> String {
        "a number".to_owned()
    }

    fn schema() -> Value {
        json!({ "type": ["number", "string"], "pattern": NUMBER })
    }
}

impl RecipeValue for u64 {
    fn read(value: &Value) -> Result<Self, String> {
        whole(value).ok_or_else(|| expected::<Self>(value))
    }

    fn write(&self) -> Value {
        json!(self)
    }

    fn kind() -> String {
        "a whole number".to_owned()
    }

    fn schema() -> Value {
        json!({ "type": ["integer", "string"], "pattern": NUMBER, "minimum": 0 })
    }
}

impl RecipeValue for usize {
    fn read(value: &Value) -> Result<Self, String> {
        whole(value).and_then(|n| Self::try_from(n).ok()).ok_or_else(|| expected::<Self>(value))
    }

    fn write(&self) -> Value {
        json!(self)
    }

    fn kind() -> String {
        "a whole number".to_owned()
    }

    fn schema() -> Value {
        json!({ "type": ["integer", "string"], "pattern": NUMBER, "minimum": 0 })
    }
}

impl RecipeValue for i64 {
    fn read(value: &Value) -> Result<Self, String> {
        let whole = number(value).filter(|n| n.fract() == 0.0 && n.abs() < 9e15);
        whole.map(|n| n as Self).ok_or_else(|| expected::<Self>(value))
    }

    fn write(&self) -> Value {
        json!(self)
    }

    fn kind() -> String {
        "a whole number".to_owned()
    }

    fn schema() -> Value {
        json!({ "type": ["integer", "string"], "pattern": NUMBER })
    }
}

impl RecipeValue for bool {
    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::Bool(flag) => Ok(*flag),
            // The words of YAML 1.1, which the published files may use.
            Value::String(text) => match text.to_lowercase().as_str() {
                "true" | "yes" | "on" => Ok(true),
                "false" | "no" | "off" => Ok(false),
                _ => Err(expected::<Self>(value)),
            },
            _ => Err(expected::<Self>(value)),
        }
    }

    fn write(&self) -> Value {
        json!(self)
    }

    fn kind() -> String {
        "true | false".to_owned()
    }

    fn schema() -> Value {
        any_of([json!({ "type": "boolean" }), json!({ "enum": ["yes", "no", "on", "off"] })])
    }
}

impl RecipeValue for String {
    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            _ => Err(expected::<Self>(value)),
        }
    }

    fn write(&self) -> Value {
        json!(self)
    }

    fn kind() -> String {
        "a text".to_owned()
    }

    fn schema() -> Value {
        json!({ "type": ["string", "number"] })
    }
}

impl<T: RecipeValue> RecipeValue for Option<T> {
    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::Null => Ok(None),
            // YAML does not know Python's None; empty means none in the published files.
            Value::String(text) if text.is_empty() || text == "None" => Ok(None),
            other => T::read(other).map(Some),
        }
    }

    fn write(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::write)
    }

    fn fixed(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::fixed)
    }

    fn kind() -> String {
        format!("{} | null", T::kind())
    }

    fn schema() -> Value {
        any_of([T::schema(), json!({ "enum": [null, "", "None"] })])
    }
}

/// Two numbers.
impl RecipeValue for [f64; 2] {
    fn read(value: &Value) -> Result<Self, String> {
        let numbers = value.as_array().map(|list| list.iter().map(number).collect::<Vec<_>>());
        match numbers.as_deref() {
            Some([Some(a), Some(b)]) => Ok([*a, *b]),
            _ => Err(expected::<Self>(value)),
        }
    }

    fn write(&self) -> Value {
        json!(self)
    }

    fn kind() -> String {
        "two numbers, [a, b]".to_owned()
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": f64::schema(), "minItems": 2, "maxItems": 2 })
    }
}

impl RecipeValue for Size {
    fn read(value: &Value) -> Result<Self, String> {
        let side = |value: &Value| whole(value).filter(|&n| n > 0).map(|n| n as usize);
        let size = match value {
            Value::Array(list) => match list.as_slice() {
                [height, width] => side(height).zip(side(width)),
                _ => None,
            },
            square => side(square).map(|side| (side, side)),
        };
        size.map(|(height, width)| Self::new(height, width)).ok_or_else(|| expected::<Self>(value))
    }

    fn write(&self) -> Value {
        if self.height == self.width { json!(self.width) } else { json!([self.height, self.width]) }
    }

    fn kind() -> String {
        "a side in pixels, or [height, width]".to_owned()
    }

    fn schema() -> Value {
        let side = json!({ "type": ["integer", "string"], "pattern": NUMBER, "minimum": 1 });
        let sides = json!({ "type": "array", "items": side, "minItems": 2, "maxItems": 2 });
        any_of([side, sides])
    }
}
