//! A validator of the keywords that the schemas of recipes use. An unknown keyword is a panic, so
//! that no rule of a schema goes unchecked.

use regex::Regex;
use serde_json::Value;

/// Whether a schema (draft 7) allows a value.
pub(crate) fn allows(schema: &Value, value: &Value) -> bool {
    match schema {
        Value::Bool(all) => *all,
        Value::Object(rules) => {
            rules.iter().all(|(keyword, rule)| follows(schema, keyword, rule, value))
        }
        other => panic!("{other} is no schema"),
    }
}

fn follows(schema: &Value, keyword: &str, rule: &Value, value: &Value) -> bool {
    let number = value.as_f64();
    let bounded = |test: fn(f64, f64) -> bool| {
        number.is_none_or(|number| test(number, rule.as_f64().unwrap()))
    };
    let count = |length: Option<usize>, test: fn(usize, usize) -> bool| {
        length.is_none_or(|length| test(length, rule.as_u64().unwrap() as usize))
    };
    let schemas = || rule.as_array().unwrap().iter();
    match keyword {
        "$schema" | "title" | "description" | "default" | "examples" | "format" => true,
        "type" => match rule {
            Value::Array(types) => types.iter().any(|kind| is(kind.as_str().unwrap(), value)),
            kind => is(kind.as_str().unwrap(), value),
        },
        "const" => value == rule,
        "enum" => schemas().any(|allowed| allowed == value),
        "anyOf" => schemas().any(|schema| allows(schema, value)),
        "allOf" => schemas().all(|schema| allows(schema, value)),
        "oneOf" => schemas().filter(|schema| allows(schema, value)).count() == 1,
        "not" => !allows(rule, value),
        "minimum" => bounded(|number, bound| number >= bound),
        "maximum" => bounded(|number, bound| number <= bound),
        "exclusiveMinimum" => bounded(|number, bound| number > bound),
        "exclusiveMaximum" => bounded(|number, bound| number < bound),
        "minItems" => count(value.as_array().map(Vec::len), |length, least| length >= least),
        "maxItems" => count(value.as_array().map(Vec::len), |length, most| length <= most),
        "minLength" => count(value.as_str().map(str::len), |length, least| length >= least),
        "uniqueItems" => value.as_array().is_none_or(|items| {
            items.iter().enumerate().all(|(index, item)| !items[..index].contains(item))
        }),
        "items" => value.as_array().is_none_or(|items| match rule {
            Value::Array(each) => each.iter().zip(items).all(|(rule, item)| allows(rule, item)),
            rule => items.iter().all(|item| allows(rule, item)),
        }),
        "pattern" => {
            let pattern = Regex::new(rule.as_str().unwrap()).unwrap();
            value.as_str().is_none_or(|text| pattern.is_match(text))
        }
        "required" => value.as_object().is_none_or(|fields| {
            schemas().all(|field| fields.contains_key(field.as_str().unwrap()))
        }),
        "properties" => value.as_object().is_none_or(|fields| {
            let known = |(name, value): (&String, &Value)| {
                rule.get(name).is_none_or(|schema| allows(schema, value))
            };
            fields.iter().all(known)
        }),
        "additionalProperties" => value.as_object().is_none_or(|fields| {
            let further = |(name, value): (&String, &Value)| {
                schema["properties"].get(name).is_some() || allows(rule, value)
            };
            fields.iter().all(further)
        }),
        other => panic!("the validator does not know `{other}`"),
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}

#[test]
fn the_validator_tells_values_apart() {
    use serde_json::json;
    let schema = json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": { "a": { "type": ["integer", "string"], "minimum": 1, "pattern": "^x" } },
    });
    for (value, fits) in [
        (json!({ "a": 1 }), true),
        (json!({ "a": "xy" }), true),
        (json!({ "a": 0 }), false),
        (json!({ "a": 1.5 }), false),
        (json!({ "a": "y" }), false),
        (json!({ "a": 1, "b": 1 }), false),
        (json!({}), false),
        (json!([1]), false),
    ] {
        assert_eq!(allows(&schema, &value), fits, "{value}");
    }
}
