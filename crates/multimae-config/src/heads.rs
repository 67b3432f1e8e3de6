//! Heads as recipes state them: a kind, and the sizes that are not the recipe's.

use indexmap::IndexMap;
use multimae::output_adapters::{DptOutput, Upsampling};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::keys::RecipeValue;
use super::values::{by_name, json_schema as schema};

/// The output that a task needs from its head; it decides on the usual kind of head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadOutput {
    /// Real values per pixel.
    Values,
    /// Logits of classes per pixel.
    Labels,
    /// Logits of classes per image.
    Classes,
}

/// Declares the kinds of heads with the sizes of each, all of which may be left out.
macro_rules! heads {
    ($(
        $(#[doc = $doc:literal])+
        $kind:ident = $word:literal: $sizes:ident {
            $( $(#[doc = $size_doc:literal])+ $size:ident: $type:ty, )*
        }
    )*) => {
        /// A kind of head with its own sizes; those that are left out are the recipe's.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "kind")]
        pub enum HeadRecipe {
            $( $(#[doc = $doc])+ #[serde(rename = $word)] $kind($sizes), )*
        }

        $(
            #[doc = concat!("The sizes of a ", $word, " head.")]
            #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields, default)]
            pub struct $sizes { $(
                $(#[doc = $size_doc])+
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $size: Option<$type>,
            )* }
        )*

        /// The sizes that a kind of head has.
        fn sizes_of(kind: &str) -> Option<&'static [&'static str]> {
            match kind {
                $( $word => Some(&[$( stringify!($size) ),*]), )*
                _ => None,
            }
        }

        /// The kinds of heads, as recipes name them.
        const KINDS: &[&str] = &[$( $word ),*];
    };
}

heads! {
    /// Classes of the whole image.
    Linear = "linear": LinearSizes {
        /// Classify the mean of all tokens, not the last one.
        use_mean_pooling: bool,
    }
    /// Class tokens beside the patches (Segmenter).
    Segmenter = "segmenter": SegmenterSizes {
        /// Transformer blocks.
        depth: usize,
        /// Attention heads.
        heads: usize,
        /// Embedding dimension.
        embed_dim: usize,
        /// Hidden dimension of the MLPs over the embedding dimension.
        mlp_ratio: f64,
        /// Stochastic depth of the last block; it rises linearly from 0 at the first.
        drop_path: f64,
    }
    /// ConvNeXt blocks over the last layer.
    ConvNeXt = "convnext": ConvNeXtSizes {
        /// Dimension that a token is projected to before it is spread over its sub-patches.
        embed_dim: usize,
        /// Sub-patches per token, a square number.
        preds_per_patch: usize,
        /// ConvNeXt blocks.
        depth: usize,
        /// Interpolation of the prediction to the resolution of the image.
        interpolate_mode: Upsampling,
    }
    /// A dense prediction transformer's fusion of four layers.
    Dpt = "dpt": DptSizes {
        /// The last layers: those of real values or those of classes.
        head_type: DptOutput,
        /// The four blocks whose outputs are fused, counted from 0, early to late.
        hooks: [usize; 4],
        /// Channels of the four maps before they are brought to the same width.
        layer_dims: [usize; 4],
        /// Channels of the fusion, an even number.
        feature_dim: usize,
    }
    /// A narrow fusion of layers, for parameter-efficient tuning.
    Light = "light": LightSizes {
        /// The blocks whose outputs are added up, counted from 0.
        hooks: Vec<usize>,
        /// Channels of the head.
        width: usize,
        /// Doublings of the resolution, each followed by a separable convolution.
        depth: usize,
    }
}

impl HeadRecipe {
    /// A head of a kind with these sizes.
    pub(super) fn of_kind(kind: &str, sizes: &Map<String, Value>) -> Result<Self, String> {
        let known = sizes_of(kind).ok_or_else(|| {
            format!("`{kind}` is no kind of head; it is one of {}", KINDS.join(", "))
        })?;
        if let Some(unknown) = sizes.keys().find(|size| !known.contains(&size.as_str())) {
            return Err(format!("a {kind} head has no `{unknown}`; it has {}", known.join(", ")));
        }
        let mut entry = sizes.clone();
        entry.insert("kind".to_owned(), kind.into());
        serde_json::from_value(Value::Object(entry)).map_err(|error| error.to_string())
    }
}

/// One entry under `heads:`.
#[derive(Debug, Clone, PartialEq)]
pub enum HeadEntry {
    /// A kind and its sizes.
    Stated(HeadRecipe),
    /// Sizes of the kind that `output_adapter` and the task decide.
    Sizes(Map<String, Value>),
}

/// Heads by task: their kind and the sizes that are not the recipe's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heads(pub IndexMap<String, HeadEntry>);

impl HeadEntry {
    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(kind) => HeadRecipe::of_kind(kind, &Map::new()).map(Self::Stated),
            Value::Object(entry) => {
                let mut sizes = entry.clone();
                match sizes.shift_remove("kind") {
                    None => Ok(Self::Sizes(sizes)),
                    Some(Value::String(kind)) => {
                        HeadRecipe::of_kind(&kind, &sizes).map(Self::Stated)
                    }
                    Some(other) => Err(format!("{other} is no kind of head")),
                }
            }
            _ => Err(format!("{value} is no head; write {{kind: light}} or light")),
        }
    }
}

impl RecipeValue for Heads {
    fn read(value: &Value) -> Result<Self, String> {
        let entry = |(name, value): (&String, &Value)| {
            let entry = HeadEntry::read(value).map_err(|problem| format!("`{name}`: {problem}"))?;
            Ok((name.clone(), entry))
        };
        by_name(value, entry)?.ok_or_else(|| format!("{value} is not {}", Self::kind())).map(Self)
    }

    fn write(&self) -> Value {
        let entries = self.0.iter().map(|(name, entry)| {
            let value = match entry {
                HeadEntry::Stated(head) => json!(head),
                HeadEntry::Sizes(sizes) => json!(sizes),
            };
            (name.clone(), value)
        });
        Value::Object(entries.collect())
    }

    fn kind() -> String {
        "a map from tasks to heads, {kind: ..., size: ...}".to_owned()
    }

    fn schema() -> Value {
        let head = schema::of::<HeadRecipe>();
        let kinds = json!({ "enum": schema::tags(&head, "kind") });
        let sizes = json!({ "type": "object", "not": { "required": ["kind"] } });
        schema::map_of(schema::any_of([kinds, head, sizes]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_head_is_an_error_of_its_key() {
        let problem = |heads: Value| Heads::read(&heads).unwrap_err();
        let misspelt = problem(json!({ "depth": { "kind": "light", "wdith": 3 } }));
        assert_eq!(misspelt, "`depth`: a light head has no `wdith`; it has hooks, width, depth");
        assert!(
            problem(json!({ "depth": "lite" })).contains("linear, segmenter, convnext, dpt, light")
        );
        assert!(problem(json!({ "depth": { "kind": "light", "width": -1 } })).contains("-1"));
        assert!(problem(json!({ "depth": 3 })).contains("{kind: light}"));
    }

    #[test]
    fn heads_are_written_as_they_were_stated() {
        let heads = json!({
            "a": { "kind": "light", "width": 64 }, "b": { "kind": "dpt" }, "c": { "width": 3 },
        });
        assert_eq!(Heads::read(&heads).unwrap().write(), heads);
    }
}
