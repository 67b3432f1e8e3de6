//! Parts that are trained, and parts that tuning adds.

use multimae::nn::LoraConfig;
use multimae::peft::SideConfig;
use multimae::prompts::PromptConfig;
use multimae::tuning::Tuning;
use serde_json::{Value, json};

use super::json_schema::{self as schema, any_of};
use super::scalars::expected;
use super::tuning_list::{PART, list_schema};
use crate::keys::RecipeValue;

impl RecipeValue for Tuning {
    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| expected::<Self>(value))?;
        text.parse()
    }

    fn write(&self) -> Value {
        json!(self.to_string())
    }

    fn kind() -> String {
        Self::NAMES.to_owned()
    }

    fn schema() -> Value {
        let parts = format!("^({PART}(\\+{PART})*)$");
        let names = json!({ "type": "string", "pattern": parts });
        any_of([json!({ "enum": ["full", "head"] }), names, list_schema()])
    }
}

/// Reads a map whose entries are those of a type.
fn structured<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_json::from_value(value.clone()).map_err(|error| error.to_string())
}

impl RecipeValue for PromptConfig {
    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(kind) => structured(&json!({ "kind": kind })),
            _ => structured(value),
        }
    }

    fn write(&self) -> Value {
        json!(self)
    }

    fn kind() -> String {
        "a kind of prompts and its sizes, {kind: deep, count: 10}".to_owned()
    }

    fn schema() -> Value {
        let prompts = schema::of::<Self>();
        let kinds = schema::tags(&prompts, "kind");
        any_of([json!({ "enum": kinds }), prompts])
    }
}

/// The first values of prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptInit {
    /// Uniformly random.
    Random,
    /// From the tokens of training images in front of the same block.
    SelfPrompt,
    /// The values of an adapter.
    Adapter(String),
}

impl RecipeValue for PromptInit {
    fn read(value: &Value) -> Result<Self, String> {
        match value.as_str().map(str::trim) {
            Some("random") => Ok(Self::Random),
            Some("self") => Ok(Self::SelfPrompt),
            Some(path) if !path.is_empty() => Ok(Self::Adapter(path.to_owned())),
            _ => Err(expected::<Self>(value)),
        }
    }

    fn write(&self) -> Value {
        match self {
            Self::Random => json!("random"),
            Self::SelfPrompt => json!("self"),
            Self::Adapter(path) => json!(path),
        }
    }

    fn kind() -> String {
        "random | self | the file of an adapter".to_owned()
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1, "examples": ["random", "self"] })
    }
}

impl RecipeValue for LoraConfig {
    fn read(value: &Value) -> Result<Self, String> {
        structured(value)
    }

    fn write(&self) -> Value {
        json!(self)
    }

    fn kind() -> String {
        "the sizes of low-rank adaptation, {rank: 8, targets: [qkv, proj]}".to_owned()
    }

    fn schema() -> Value {
        schema::of::<Self>()
    }
}

impl RecipeValue for SideConfig {
    fn read(value: &Value) -> Result<Self, String> {
        structured(value)
    }

    fn write(&self) -> Value {
        json!(self)
    }

    fn kind() -> String {
        "the sizes of a side network, {width: 32, taps: [0, 4]}".to_owned()
    }

    fn schema() -> Value {
        schema::of::<Self>()
    }
}
