//! Parts of JSON Schemas.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// The schema of a type that serde reads, with what it refers to inside.
pub(crate) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(fields) = schema.as_object_mut() {
        fields.shift_remove("title");
    }
    schema
}

/// The schema of values that are one of several.
pub(crate) fn any_of(schemas: impl IntoIterator<Item = Value>) -> Value {
    json!({ "anyOf": schemas.into_iter().collect::<Vec<Value>>() })
}

/// The schema of values that several schemas allow.
pub(crate) fn all_of(schemas: impl IntoIterator<Item = Value>) -> Value {
    json!({ "allOf": schemas.into_iter().collect::<Vec<Value>>() })
}

/// The schema of a map, or null for an empty one.
pub(crate) fn map_of(schema: Value) -> Value {
    json!({ "type": ["object", "null"], "additionalProperties": schema })
}

/// The words under which a tagged type is named, from the schema of the type.
pub(crate) fn tags(schema: &Value, tag: &str) -> Vec<Value> {
    let variants = schema["oneOf"].as_array().into_iter().flatten();
    variants.map(|variant| variant["properties"][tag]["const"].clone()).collect()
}
