//! The arguments of a training script in a PyTorch checkpoint: its entry `args`, as a rule an
//! `argparse.Namespace`.

use indexmap::IndexMap;
use multimae::encoder::EncoderConfig;
use multimae::weights::{ArchitectureHints, Value};
use multimae_config::EncoderChoice;

/// The entry of a checkpoint that holds them.
const ARGS: &str = "args";

/// The arguments of the published training scripts on which predictions depend, as far as a file has
/// them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainingArguments {
    /// The encoder, of `model`.
    pub encoder: Option<EncoderConfig>,
    /// `decoder_num_heads`.
    pub decoder_heads: Option<usize>,
    /// `decoder_use_task_queries`.
    pub task_queries: Option<bool>,
    /// `standardize_depth`.
    pub standardize_depth: Option<bool>,
    /// `imagenet_default_mean_and_std`.
    pub imagenet_normalisation: Option<bool>,
    /// `num_encoded_tokens`.
    pub encoded_tokens: Option<usize>,
}

impl TrainingArguments {
    /// Those in the entries of a checkpoint; none of them if it has no arguments.
    #[must_use]
    pub fn of(entries: &IndexMap<String, Value>) -> Self {
        let Some(args) = entries.get(ARGS) else { return Self::default() };
        let count = |key: &str| match args.get(key)? {
            Value::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        };
        let flag = |key: &str| match args.get(key)? {
            Value::Bool(value) => Some(*value),
            _ => None,
        };
        let encoder = match args.get("model") {
            Some(Value::Str(name)) => EncoderChoice::named(name).map(|choice| choice.config),
            _ => None,
        };
        Self {
            encoder,
            decoder_heads: count("decoder_num_heads"),
            task_queries: flag("decoder_use_task_queries"),
            standardize_depth: flag("standardize_depth"),
            imagenet_normalisation: flag("imagenet_default_mean_and_std"),
            encoded_tokens: count("num_encoded_tokens"),
        }
    }

    /// Whether the file says nothing of the model.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The sizes that tensors do not show, for an encoder of this dimension: a name may be that of
    /// another one.
    #[must_use]
    pub fn hints(&self, width: usize) -> ArchitectureHints {
        let encoder = self.encoder.as_ref().filter(|encoder| encoder.width == width);
        ArchitectureHints {
            encoder_heads: encoder.map(|encoder| encoder.heads),
            decoder_heads: self.decoder_heads,
            task_queries: self.task_queries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_count_where_they_are_of_the_expected_kind() {
        let namespace = |fields: &[(&str, Value)]| {
            let field = |(key, value): &(&str, Value)| (Value::Str((*key).into()), value.clone());
            let fields = fields.iter().map(field).collect();
            let args = Value::Object { class: "argparse.Namespace".into(), items: vec![], fields };
            TrainingArguments::of(&[(ARGS.to_owned(), args)].into_iter().collect())
        };
        let found = namespace(&[
            ("model", Value::Str("pretrain_multimae_large".into())),
            ("decoder_num_heads", Value::Int(16)),
            ("standardize_depth", Value::Bool(false)),
            ("num_encoded_tokens", Value::Int(-1)),
        ]);
        assert_eq!(found.standardize_depth, Some(false));
        assert_eq!(found.encoded_tokens, None);
        let hints = found.hints(1024);
        assert_eq!((hints.encoder_heads, hints.decoder_heads), (Some(16), Some(16)));
        assert_eq!(found.hints(768).encoder_heads, None);
        assert!(namespace(&[("model", Value::Str("swin".into()))]).is_empty());
        assert!(TrainingArguments::of(&IndexMap::new()).is_empty());
    }
}
