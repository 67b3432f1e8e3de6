//! `tuning` as a list: parts by name, and modules with their sizes.

use multimae::nn::LoraConfig;
use multimae::peft::SideConfig;
use multimae::prompts::PromptConfig;
use multimae::tuning::TuningPart;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::json_schema as schema;
use crate::keys::RecipeValue as _;

/// The names of parts, as a pattern.
pub(super) const PART: &str = "(bias|norm|ssf|lora|prompts|side|last-[0-9]+)";

/// The key of the list, and those that its modules stand for.
const TUNING: &str = "tuning";
const LORA: &str = "lora";
const PROMPTS: &str = "prompts";
const SIDE: &str = "side";

/// A PEFT module in the list `tuning`, besides prompts, whose kinds stand in the list themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum PeftModule {
    /// Low-rank adaptation.
    Lora(LoraConfig),
    /// Scale and shift of features.
    Ssf,
    /// A ladder beside the encoder.
    Side(SideConfig),
}

/// One entry of the list.
#[derive(Debug, Clone, PartialEq)]
enum Entry {
    Part(TuningPart),
    Module(PeftModule),
    Prompts(PromptConfig),
}

impl Entry {
    fn read(value: &Value) -> Result<Self, String> {
        let kind = match value {
            Value::String(part) => {
                let part = part.parse().map_err(|()| unknown(value))?;
                return Ok(Self::Part(part));
            }
            Value::Object(entry) => entry.get("kind").and_then(Value::as_str),
            _ => None,
        };
        let kind = kind.ok_or_else(|| unknown(value))?;
        let read = |problem: serde_json::Error| format!("a module of kind {kind}: {problem}");
        if kinds::<PeftModule>().contains(&json!(kind)) {
            return serde_json::from_value(value.clone()).map(Self::Module).map_err(read);
        }
        if kinds::<PromptConfig>().contains(&json!(kind)) {
            return serde_json::from_value(value.clone()).map(Self::Prompts).map_err(read);
        }
        Err(unknown(value))
    }

    fn part(&self) -> TuningPart {
        match self {
            Self::Part(part) => *part,
            Self::Module(PeftModule::Lora(_)) => TuningPart::Lora,
            Self::Module(PeftModule::Ssf) => TuningPart::Ssf,
            Self::Module(PeftModule::Side(_)) => TuningPart::Side,
            Self::Prompts(_) => TuningPart::Prompts,
        }
    }

    /// The key that holds the module's sizes outside the list, and the sizes.
    fn sizes(&self) -> Option<(&'static str, Value)> {
        match self {
            Self::Module(PeftModule::Lora(lora)) => Some((LORA, lora.write())),
            Self::Module(PeftModule::Side(side)) => Some((SIDE, side.write())),
            Self::Prompts(prompts) => Some((PROMPTS, prompts.write())),
            Self::Part(_) | Self::Module(PeftModule::Ssf) => None,
        }
    }
}

fn kinds<T: JsonSchema>() -> Vec<Value> {
    schema::tags(&schema::of::<T>(), "kind")
}

fn unknown(value: &Value) -> String {
    let modules = [kinds::<PeftModule>(), kinds::<PromptConfig>()].concat();
    let modules: Vec<&str> = modules.iter().filter_map(Value::as_str).collect();
    format!(
        "`{TUNING}`: {value} is no entry of the list; write bias, norm, last-1, ..., or a module \
         as in {{kind: lora, rank: 8}}, whose kind is one of {}",
        modules.join(", ")
    )
}

/// Writes a list under `tuning` as the keys that it stands for: the names of its parts, `lora`, `prompts`
/// and `side`. Modules that the list does not name are set to null, also over those of a base.
///
/// # Errors
/// If an entry is not known, two are of one part, or a module is set by its own key too.
pub(crate) fn expand(map: &mut Map<String, Value>) -> Result<(), String> {
    let Some(Value::Array(list)) = map.get(TUNING) else { return Ok(()) };
    let entries = list.iter().map(Entry::read).collect::<Result<Vec<Entry>, String>>()?;
    let mut modules: Map<String, Value> = Map::new();
    let mut parts: Vec<String> = Vec::new();
    for entry in &entries {
        let part = entry.part().to_string();
        if parts.contains(&part) {
            return Err(format!("`{TUNING}` names {part} twice"));
        }
        parts.push(part);
        modules.extend(entry.sizes().map(|(key, sizes)| (key.to_owned(), sizes)));
    }
    for key in [LORA, PROMPTS, SIDE] {
        let stated = map.get(key).is_some_and(|value| !value.is_null());
        match (modules.shift_remove(key), stated) {
            (Some(_), true) => {
                return Err(format!("`{TUNING}` holds a module that `{key}` sets too; set one"));
            }
            (None, true) => {}
            (sizes, false) => {
                map.insert(key.to_owned(), sizes.unwrap_or_default());
            }
        }
    }
    let parts = if parts.is_empty() { "head".to_owned() } else { parts.join("+") };
    map.insert(TUNING.to_owned(), parts.into());
    Ok(())
}

/// The lists that `tuning` can be, as a JSON Schema.
pub(crate) fn list_schema() -> Value {
    let words = json!({ "type": "string", "pattern": format!("^{PART}$") });
    let modules = [schema::of::<PeftModule>(), schema::of::<PromptConfig>()];
    json!({
        "type": "array",
        "items": schema::any_of([words].into_iter().chain(modules)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FinetuneRecipe, Resolved};

    fn load(recipe: &Value) -> Result<FinetuneRecipe, String> {
        let Value::Object(mut map) = recipe.clone() else { panic!("{recipe}") };
        map.insert("out_domains".to_owned(), "depth".into());
        Resolved::from_map(&map, "r").map(|r| r.recipe).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_means_the_keys_that_it_stands_for() {
        let list = json!({
            "tuning": [
                "norm", { "kind": "lora", "rank": 4 }, { "kind": "deep", "count": 3 },
                { "kind": "side", "width": 16 },
            ],
        });
        let keys = json!({
            "tuning": "norm+lora+prompts+side", "lora": { "rank": 4 },
            "prompts": { "kind": "deep", "count": 3 }, "side": { "width": 16, "taps": [] },
        });
        assert_eq!(load(&list), load(&keys));
        assert_eq!(load(&json!({ "tuning": [] })), load(&json!({ "tuning": "head" })));
        let ssf = json!({ "tuning": [{ "kind": "ssf" }] });
        assert_eq!(load(&ssf), load(&json!({ "tuning": "ssf" })));
    }

    #[test]
    fn a_module_is_set_once() {
        let twice = json!({ "tuning": [{ "kind": "lora" }], "lora": { "rank": 4 } });
        assert!(load(&twice).unwrap_err().contains("`lora` sets too"));
        let twice = json!({ "tuning": [{ "kind": "deep" }, { "kind": "prefix" }] });
        assert!(load(&twice).unwrap_err().contains("names prompts twice"));
    }

    #[test]
    fn a_wrong_entry_is_named_with_the_kinds_there_are() {
        let problem = |entry: Value| load(&json!({ "tuning": [entry] })).unwrap_err();
        let unknown = problem(json!({ "kind": "lorra" }));
        assert!(
            unknown.contains("lorra") && unknown.contains("lora, ssf, side, shallow"),
            "{unknown}"
        );
        assert!(problem(json!({ "kind": "lora", "rnak": 4 })).contains("rnak"));
        assert!(problem(json!("full")).contains("\"full\""));
    }
}
