//! The reference of all keys in `docs/reference`, written from their declarations.

use std::fmt::Write as _;

use super::keys::KeyInfo;
use super::{FinetuneRecipe, PretrainRecipe, Recipe, schema};

/// The first line of every page that is written by the program.
pub const GENERATED: &str = "<!-- Written by `multimae reference --out docs/reference`. -->";

/// The files of the reference of recipes, by name.
#[must_use]
pub fn files() -> Vec<(&'static str, String)> {
    let pretraining = "Recipes of `multimae pretrain`.";
    let finetuning =
        "Recipes of `multimae finetune`; cells of `multimae compare` change the same keys.";
    let mut files = vec![
        ("pretrain.md", keys::<PretrainRecipe>("Keys of pre-training", pretraining)),
        ("finetune.md", keys::<FinetuneRecipe>("Keys of fine-tuning", finetuning)),
    ];
    files.extend(schema::files());
    files
}

/// The keys of a recipe, a table per group.
fn keys<R: Recipe>(title: &str, about: &str) -> String {
    let mut text = format!(
        "{GENERATED}\n\n# {title}\n\n{about} A key is set in the recipe's file, or by `--set \
         key=value`.\n"
    );
    let mut group = "";
    for key in R::keys() {
        if key.group != group {
            group = key.group;
            let head = "| key | meaning | values | default |\n|---|---|---|---|";
            let _ = write!(text, "\n## {group}\n\n{head}\n");
        }
        text.push_str(&row(&key));
    }
    let head =
        "Published files may set these; each is named in a notice.\n\n| key | why |\n|---|---|";
    let _ = write!(text, "\n## Keys that change nothing here\n\n{head}\n");
    for (key, why) in R::without_meaning() {
        let _ = writeln!(text, "| `{key}` | {why} |");
    }
    if !R::ALIASES.is_empty() {
        text.push_str("\n## Other names\n\n| published | here |\n|---|---|\n");
        for (published, here) in R::ALIASES {
            let _ = writeln!(text, "| `{published}` | `{here}` |");
        }
    }
    text
}

fn row(key: &KeyInfo) -> String {
    let doc: Vec<&str> = key.doc.iter().map(|line| line.trim()).collect();
    let cell = |text: &str| text.replace('|', "\\|");
    let default = cell(&key.default.to_string());
    let (doc, mut kind) = (cell(&doc.join(" ")), cell(&key.kind));
    if let Some(range) = key.range {
        let _ = write!(kind, ", {range}");
    }
    format!("| `{}` | {doc} | {kind} | `{default}` |\n", key.name)
}
