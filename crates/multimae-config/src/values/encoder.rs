//! The sizes of an encoder.

use multimae::encoder::EncoderConfig;
use serde_json::{Value, json};

use super::json_schema::{all_of, any_of};
use super::scalars::expected;
use crate::keys::RecipeValue;

/// The sizes of an encoder, by name or by numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderChoice {
    named: Option<String>,
    /// The sizes, without stochastic depth.
    pub config: EncoderConfig,
}

impl EncoderChoice {
    /// ViT-Base.
    pub(crate) fn base() -> Self {
        Self { named: None, config: EncoderConfig::base() }
    }

    /// One of the named sizes.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let size = ["pretrain_multimae_", "multivit_", "vit_"]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .unwrap_or(name);
        let config = match size {
            "tiny" => EncoderConfig::tiny(),
            "small" => EncoderConfig::small(),
            "base" => EncoderConfig::base(),
            "large" => EncoderConfig::large(),
            _ => return None,
        };
        Some(Self { named: Some(name.to_owned()), config })
    }
}

impl RecipeValue for EncoderChoice {
    fn read(value: &Value) -> Result<Self, String> {
        let sizes = match value {
            Value::String(name) => {
                return Self::named(name).ok_or_else(|| expected::<Self>(value));
            }
            Value::Object(sizes) => sizes,
            _ => return Err(expected::<Self>(value)),
        };
        if let Some(other) =
            sizes.keys().find(|key| !["width", "depth", "heads"].contains(&key.as_str()))
        {
            return Err(format!("`{other}` is none of width, depth, heads"));
        }
        let size = |key: &str| {
            let value = sizes.get(key).ok_or_else(|| format!("`{key}` is missing"))?;
            usize::read(value).map_err(|problem| format!("`{key}`: {problem}"))
        };
        let config = EncoderConfig::new(size("width")?, size("depth")?, size("heads")?);
        Ok(Self { named: None, config })
    }

    fn write(&self) -> Value {
        match &self.named {
            Some(name) => json!(name),
            None => {
                let EncoderConfig { width, depth, heads, .. } = self.config;
                json!({ "width": width, "depth": depth, "heads": heads })
            }
        }
    }

    fn kind() -> String {
        "pretrain_multimae_{tiny | small | base | large}, the size alone, or {width, depth, heads}"
            .to_owned()
    }

    fn schema() -> Value {
        let names = ["pretrain_multimae_", "multivit_", "vit_", ""].iter().flat_map(|prefix| {
            ["tiny", "small", "base", "large"].map(|size| format!("{prefix}{size}"))
        });
        let size = all_of([usize::schema(), json!({ "minimum": 1 })]);
        any_of([
            json!({ "enum": names.collect::<Vec<String>>() }),
            json!({
                "type": "object",
                "properties": { "width": size, "depth": size, "heads": size },
                "required": ["width", "depth", "heads"],
                "additionalProperties": false,
            }),
        ])
    }
}
