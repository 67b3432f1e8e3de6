//! The heads of a recipe's tasks.

use multimae::output_adapters::{HeadConfig, TaskHead};
use multimae_tasks::HeadOutput;
use serde_json::{Map, Value, json};

use crate::{Error, Result};
use multimae_config::keys::RecipeValue as _;
use multimae_config::{FinetuneRecipe, HeadChoice};

/// Returns the head of a task with this number of outputs.
///
/// # Errors
/// If the recipe's sizes are none of the head's.
pub(super) fn head(
    recipe: &FinetuneRecipe,
    name: &str,
    predicts: HeadOutput,
    outputs: usize,
) -> Result<TaskHead> {
    let own = recipe.heads.0.get(name).cloned().unwrap_or_default();
    let usual = usual_kind(recipe, predicts);
    let kind = own.get("kind").and_then(Value::as_str).unwrap_or(&usual).to_owned();
    let mut config = sizes(recipe, &kind, predicts);
    config.extend(own.clone());
    config.insert("kind".to_owned(), json!(kind));
    config.insert("num_classes".to_owned(), json!(outputs));
    let problem = |problem: String| Error::Recipe(format!("head of `{name}`: {problem}"));
    let head: HeadConfig = serde_json::from_value(Value::Object(config.clone()))
        .map_err(|error| problem(error.to_string()))?;
    let known = serde_json::to_value(&head).unwrap_or_default();
    if let Some(unknown) = own.keys().find(|key| known.get(key.as_str()).is_none()) {
        let names = known.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
        return Err(problem(format!(
            "a {kind} head has no `{unknown}`; it has {}",
            names.unwrap_or_default().join(", ")
        )));
    }
    Ok(TaskHead { name: name.to_owned(), main_tasks: recipe.main_tasks(), head })
}

fn usual_kind(recipe: &FinetuneRecipe, predicts: HeadOutput) -> String {
    let joint = recipe.tasks.out_domains.0.len() > 1;
    let by_task = match predicts {
        HeadOutput::Classes => return "linear".to_owned(),
        HeadOutput::Values => HeadChoice::Dpt,
        HeadOutput::Labels => HeadChoice::ConvNeXt,
    };
    let choice = match recipe.output_adapter {
        Some(HeadChoice::Dpt | HeadChoice::ConvNeXt) | None if joint => by_task,
        Some(choice) => choice,
        None => by_task,
    };
    choice.write().as_str().unwrap_or_default().to_owned()
}

/// The sizes that the recipe's keys give to a kind of head.
fn sizes(recipe: &FinetuneRecipe, kind: &str, predicts: HeadOutput) -> Map<String, Value> {
    let depth = recipe.arch.model.config.depth;
    // The published blocks 2, 5, 8 and 11 of 12 are the ends of the quarters.
    let hooks: Vec<usize> = (1..=4).map(|k| (depth * k / 4).max(1) - 1).collect();
    let sizes = match kind {
        "linear" => json!({ "use_mean_pooling": recipe.use_mean_pooling }),
        "segmenter" => json!({
            "embed_dim": recipe.arch.decoder_dim,
            "depth": recipe.arch.decoder_depth,
            "drop_path": recipe.drop_path_decoder,
        }),
        "convnext" => json!({
            "embed_dim": recipe.arch.decoder_dim,
            "depth": recipe.arch.decoder_depth,
            "preds_per_patch": recipe.decoder_preds_per_patch,
            "interpolate_mode": recipe.decoder_interpolate_mode.write(),
        }),
        "dpt" => json!({
            "hooks": hooks,
            "head_type": if predicts == HeadOutput::Labels { "semseg" } else { "regression" },
        }),
        "light" => json!({ "hooks": hooks }),
        _ => json!({}),
    };
    match sizes {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
