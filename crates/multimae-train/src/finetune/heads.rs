//! The heads of a recipe's tasks.

use multimae::output_adapters::TaskHead;
use multimae_config::HeadOutput;

use crate::Result;
use multimae_config::FinetuneRecipe;

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
    let head = recipe.head(name, predicts, outputs)?;
    Ok(TaskHead { name: name.to_owned(), main_tasks: recipe.main_tasks(), head })
}
