//! JSON Schemas of the recipes, from the declarations of their keys: editors complete and check
//! keys by them.

use serde_json::{Map, Value, json};

use super::file::BASE;
use super::keys::KeyInfo;
use super::{FinetuneRecipe, PretrainRecipe, Recipe};

/// The files of the schemas, by name.
#[must_use]
pub fn files() -> Vec<(&'static str, String)> {
    vec![
        ("pretrain.schema.json", text(&schema::<PretrainRecipe>("Recipe of `multimae pretrain`"))),
        ("finetune.schema.json", text(&schema::<FinetuneRecipe>("Recipe of `multimae finetune`"))),
    ]
}

fn text(schema: &Value) -> String {
    format!("{schema:#}\n")
}

/// The schema of a recipe: a map of its keys, of their other names, and of the published keys that
/// change nothing.
fn schema<R: Recipe>(title: &str) -> Value {
    let keys = R::keys();
    let mut properties = Map::new();
    let base = "A recipe, relative to this file, whose keys hold where this one has none.";
    properties.insert(BASE.to_owned(), json!({ "description": base, "type": ["string", "null"] }));
    for key in &keys {
        properties.insert(key.name.to_owned(), property(key));
    }
    for (alias, name) in R::ALIASES {
        if let Some(key) = keys.iter().find(|key| key.name == *name) {
            let mut property = property(key);
            property["description"] = format!("Published name of `{name}`.").into();
            properties.insert((*alias).to_owned(), property);
        }
    }
    for (key, why) in R::without_meaning() {
        let about = format!("Changes nothing: {why}.");
        properties.insert(key.to_owned(), json!({ "description": about }));
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": title,
        "description": "Written by `multimae reference --out docs/reference`.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

fn property(key: &KeyInfo) -> Value {
    let doc: Vec<&str> = key.doc.iter().map(|line| line.trim()).collect();
    let mut property = json!({ "description": doc.join(" "), "default": key.default });
    if let (Value::Object(values), Some(property)) = (key.schema.clone(), property.as_object_mut())
    {
        property.extend(values);
        if let Some(range) = key.range {
            property.insert("allOf".to_owned(), json!([range.schema()]));
        }
    }
    property
}
