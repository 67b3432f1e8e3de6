//! The types that recipe keys can have.

use indexmap::IndexMap;
use multimae::encoder::EncoderConfig;
use multimae::modality::Size;
use multimae::nn::LoraConfig;
use multimae::prompts::PromptConfig;
use multimae::tuning::Tuning;
use serde_json::{Map, Value, json};

use super::keys::RecipeValue;

fn expected<T: RecipeValue>(value: &Value) -> String {
    format!("{value} is not {}", T::kind())
}

/// A number, also one that YAML takes for a text, such as `1e-4` in YAML 1.1.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|number: &f64| number.is_finite())
}

fn whole(value: &Value) -> Option<u64> {
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
}

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
}

/// How prompts begin.
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

    fn kind() -> String {
        format!("{} | null", T::kind())
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
}

/// Names joined by `-`, as in `rgb-depth-semseg`, or a list of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl Names {
    /// From names joined by `-`.
    #[must_use]
    pub fn joined(text: &str) -> Self {
        Self(text.split('-').filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }
}

impl RecipeValue for Names {
    fn read(value: &Value) -> Result<Self, String> {
        let names = match value {
            Value::String(text) => Self::joined(text),
            Value::Array(list) => {
                let names: Option<Vec<_>> =
                    list.iter().map(|name| name.as_str().map(str::to_owned)).collect();
                Self(names.ok_or_else(|| expected::<Self>(value))?)
            }
            Value::Null => Self(Vec::new()),
            _ => return Err(expected::<Self>(value)),
        };
        for (index, name) in names.0.iter().enumerate() {
            if names.0[..index].contains(name) {
                return Err(format!("`{name}` is listed twice"));
            }
        }
        Ok(names)
    }

    fn write(&self) -> Value {
        json!(self.0)
    }

    fn kind() -> String {
        "names, joined by `-` or in a list".to_owned()
    }
}

/// One number for all modalities, or one each.
#[derive(Debug, Clone, PartialEq)]
pub struct Alphas(pub Vec<f64>);

impl Alphas {
    /// One number per modality.
    ///
    /// # Errors
    /// If there are several numbers, but not one per modality.
    pub fn for_modalities(&self, count: usize) -> Result<Vec<f64>, String> {
        match self.0.as_slice() {
            [one] => Ok(vec![*one; count]),
            many if many.len() == count => Ok(many.to_vec()),
            many => Err(format!("`alphas` has {} numbers for {count} modalities", many.len())),
        }
    }
}

impl RecipeValue for Alphas {
    fn read(value: &Value) -> Result<Self, String> {
        let numbers = match value {
            Value::Array(list) => list.iter().map(number).collect::<Option<Vec<_>>>(),
            single => number(single).map(|number| vec![number]),
        };
        match numbers {
            Some(numbers) if !numbers.is_empty() && numbers.iter().all(|&n| n > 0.0) => {
                Ok(Self(numbers))
            }
            _ => Err(expected::<Self>(value)),
        }
    }

    fn write(&self) -> Value {
        match self.0.as_slice() {
            [one] => json!(one),
            many => json!(many),
        }
    }

    fn kind() -> String {
        "a positive number, or a list with one per input modality".to_owned()
    }
}

/// The entries of a map as what `read` makes of each; null is a map of none. `None` if the value is
/// no map.
fn by_name<T>(
    value: &Value,
    read: impl Fn((&String, &Value)) -> Result<(String, T), String>,
) -> Result<Option<IndexMap<String, T>>, String> {
    match value {
        Value::Null => Ok(Some(IndexMap::new())),
        Value::Object(entries) => entries.iter().map(read).collect::<Result<_, _>>().map(Some),
        _ => Ok(None),
    }
}

/// Numbers by task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskWeights(pub IndexMap<String, f64>);

impl RecipeValue for TaskWeights {
    fn read(value: &Value) -> Result<Self, String> {
        let entry = |(name, value): (&String, &Value)| match number(value) {
            Some(weight) if weight >= 0.0 => Ok((name.clone(), weight)),
            _ => Err(format!("`{name}`: {value} is no weight of at least 0")),
        };
        by_name(value, entry)?.ok_or_else(|| expected::<Self>(value)).map(Self)
    }

    fn write(&self) -> Value {
        json!(self.0)
    }

    fn kind() -> String {
        "a map from tasks to numbers".to_owned()
    }
}

/// Heads by task: their kind and what differs from its usual sizes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heads(pub IndexMap<String, Map<String, Value>>);

impl RecipeValue for Heads {
    fn read(value: &Value) -> Result<Self, String> {
        let entry = |(name, value): (&String, &Value)| match value {
            Value::Object(head) => Ok((name.clone(), head.clone())),
            Value::String(kind) => {
                let head = [("kind".to_owned(), json!(kind))].into_iter().collect();
                Ok((name.clone(), head))
            }
            _ => Err(format!("`{name}`: {value} is no head; write {{kind: light}} or light")),
        };
        by_name(value, entry)?.ok_or_else(|| expected::<Self>(value)).map(Self)
    }

    fn write(&self) -> Value {
        json!(self.0)
    }

    fn kind() -> String {
        "a map from tasks to heads, {kind: ..., size: ...}".to_owned()
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
}

/// The sizes of an encoder, by name or by numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderChoice {
    named: Option<String>,
    /// The sizes, without stochastic depth.
    pub config: EncoderConfig,
}

impl EncoderChoice {
    /// ViT-Base.
    pub(super) fn base() -> Self {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: RecipeValue + PartialEq + std::fmt::Debug>(value: &Value) -> T {
        let read = T::read(value).unwrap();
        assert_eq!(T::read(&read.write()).unwrap(), read);
        read
    }

    #[test]
    fn numbers_may_be_written_as_texts() {
        assert_eq!(round_trip::<f64>(&json!("1e-4")), 1e-4);
        assert_eq!(round_trip::<usize>(&json!(3.0)), 3);
        assert!(usize::read(&json!(-1)).is_err());
        assert!(usize::read(&json!(1.5)).is_err());
        assert!(f64::read(&json!("nan")).is_err());
        assert!(round_trip::<bool>(&json!("yes")));
    }

    #[test]
    fn none_has_three_spellings() {
        for none in [json!(null), json!(""), json!("None")] {
            assert_eq!(round_trip::<Option<f64>>(&none), None);
        }
        assert_eq!(round_trip::<Option<f64>>(&json!(3)), Some(3.0));
    }

    #[test]
    fn names_and_sizes() {
        let names = round_trip::<Names>(&json!("rgb-depth"));
        assert_eq!(names, round_trip::<Names>(&json!(["rgb", "depth"])));
        assert!(Names::read(&json!("rgb-rgb")).is_err());
        assert_eq!(round_trip::<Size>(&json!([96, 128])), Size::new(96, 128));
        assert_eq!(round_trip::<Size>(&json!(224)), Size::square(224));
        assert!(Size::read(&json!([96, 128, 3])).is_err());
    }

    #[test]
    fn encoders_by_name_or_by_numbers() {
        let base = round_trip::<EncoderChoice>(&json!("pretrain_multimae_base"));
        assert_eq!(base.config, EncoderConfig::base());
        let own = round_trip::<EncoderChoice>(&json!({ "width": 64, "depth": 2, "heads": 4 }));
        assert_eq!(own.config.width, 64);
        assert!(EncoderChoice::read(&json!({ "width": 64, "depth": 2 })).is_err());
        assert!(EncoderChoice::read(&json!("huge")).is_err());
    }

    #[test]
    fn an_integer_alpha_is_a_number() {
        assert_eq!(round_trip::<Alphas>(&json!(1)).for_modalities(3).unwrap(), [1.0; 3]);
        assert!(Alphas(vec![1.0, 2.0]).for_modalities(3).is_err());
        assert!(Alphas::read(&json!(0)).is_err());
    }
}
