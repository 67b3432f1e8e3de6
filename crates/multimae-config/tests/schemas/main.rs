//! The JSON Schemas of recipes: the project's recipes and published forms fit them, mistakes do
//! not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod validator;

use std::path::{Path, PathBuf};

use fs_err as fs;
use multimae_config::{FinetuneRecipe, PretrainRecipe, Recipe, Resolved, schema};
use serde_json::{Map, Value, json};
use validator::allows;

/// A file of a schema.
struct Schema(Value);

impl Schema {
    fn new(name: &str) -> Self {
        let (_, text) = schema::files().into_iter().find(|(file, _)| *file == name).unwrap();
        Self(serde_json::from_str(&text).unwrap())
    }

    fn allows(&self, recipe: &Value) -> bool {
        allows(&self.0, recipe)
    }

    /// The keys of a recipe whose values are not allowed.
    fn refused(&self, recipe: &Value) -> Vec<String> {
        let keys = recipe.as_object().unwrap().iter();
        let alone = |(key, value): (&String, &Value)| {
            let recipe = Value::Object([(key.clone(), value.clone())].into_iter().collect());
            (!self.allows(&recipe)).then(|| format!("{key}: {value}"))
        };
        keys.filter_map(alone).collect()
    }
}

fn recipes(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes").join(folder);
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some()).collect();
    assert!(!files.is_empty());
    files
}

fn read(path: &Path) -> Value {
    Value::Object(multimae_config::read_map(path).unwrap())
}

#[test]
fn recipes_of_the_project_fit_their_schema_and_name_it() {
    let pretrain = (Schema::new("pretrain.schema.json"), "pretrain.schema.json");
    let finetune = (Schema::new("finetune.schema.json"), "finetune.schema.json");
    for folder in ["pretrain", "finetune", "tuning", "demo"] {
        for path in recipes(folder) {
            if path.ends_with("demo/compare.yaml") {
                continue;
            }
            let pretrains = folder == "pretrain" || path.ends_with("demo/pretrain.yaml");
            let (schema, name) = if pretrains { &pretrain } else { &finetune };
            let refused = schema.refused(&read(&path));
            assert!(refused.is_empty(), "{}: {refused:?}", path.display());
            let text = fs::read_to_string(&path).unwrap();
            let line = format!("# yaml-language-server: $schema=../../docs/reference/{name}\n");
            assert!(text.starts_with(&line), "{} begins with {line}", path.display());
        }
    }
}

/// Whether a recipe is read, and whether its schema allows it.
fn verdicts<R: Recipe>(schema: &Schema, recipe: &Value) -> (bool, bool) {
    let Value::Object(map) = recipe else { panic!("{recipe}") };
    (Resolved::<R>::from_map(map, "test").is_ok(), schema.allows(recipe))
}

#[test]
fn the_schema_allows_the_forms_that_are_read() {
    let schema = Schema::new("finetune.schema.json");
    let forms = [
        json!({ "lr": "1e-4" }),
        json!({ "nb_classes": 7, "wandb_project": "x" }),
        json!({ "finetune": "None", "clip_grad": "", "input_size": [96, 128] }),
        json!({ "use_mask_valid": "yes", "in_domains": ["rgb"] }),
        json!({ "tuning": "lora+norm+last-2", "lora": { "rank": 4, "targets": ["qkv"] } }),
        json!({ "tuning": "prompts", "prompts": "deep" }),
        json!({ "tuning": "prompts", "prompts": { "kind": "l2p", "layers": 3, "form": "prefix" } }),
        json!({ "heads": { "depth": "light" } }),
        json!({ "heads": { "depth": { "kind": "dpt", "hooks": [2, 5, 8, 11] } } }),
        json!({ "heads": { "depth": { "feature_dim": 128 } } }),
        json!({ "model": { "width": 64, "depth": 12, "heads": 2 } }),
        json!({ "modalities": { "depth": { "divisor": 6553.6, "interpolation": "nearest" } } }),
    ];
    for mut form in forms {
        form["out_domains"] = "depth".into();
        assert_eq!(verdicts::<FinetuneRecipe>(&schema, &form), (true, true), "{form}");
    }
}

#[test]
fn the_schema_refuses_mistakes_that_are_refused() {
    let schema = Schema::new("finetune.schema.json");
    let mistakes = [
        json!({ "learning_rate": 1e-4 }),
        json!({ "lr": -1e-4 }),
        json!({ "lr": "fast" }),
        json!({ "epochs": 0 }),
        json!({ "layer_decay": 1.5 }),
        json!({ "hflip": [0.5] }),
        json!({ "loss": "l3" }),
        json!({ "tuning": "lorra" }),
        json!({ "tuning": "prompts", "prompts": { "kind": "deep", "cuont": 3 } }),
        json!({ "tuning": "prompts", "prompts": { "kind": "depp" } }),
        json!({ "tuning": "lora", "lora": { "targets": ["q"] } }),
        json!({ "heads": { "depth": { "kind": "light", "wdith": 3 } } }),
        json!({ "heads": { "depth": "lite" } }),
        json!({ "modalities": { "depth": { "divider": 1000 } } }),
        json!({ "crop_scale": [0.2, 1.1] }),
    ];
    for mut mistake in mistakes {
        mistake["out_domains"] = "depth".into();
        assert_eq!(verdicts::<FinetuneRecipe>(&schema, &mistake), (false, false), "{mistake}");
    }
}

#[test]
fn every_default_fits_its_key() {
    let values = PretrainRecipe::default();
    let all: Map<String, Value> = multimae_config::keys::Keys::values(&values)
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let refused = Schema::new("pretrain.schema.json").refused(&Value::Object(all));
    assert!(refused.is_empty(), "{refused:?}");
}
