//! Training by several processes of an MPI launcher.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use multimae_config::{Recipe, Resolved};
use multimae_group::{agree, launch};
use multimae_train::run::RunStart;
use multimae_train::together::Together;
use serde_json::{Map, Value, json};

use crate::terminal::Quiet;
use crate::training::{GradientForm, Resolution};
use crate::{interrupt, terminal};

/// The exit code of a group that cannot continue.
const GIVEN_UP: u8 = 1;

/// Does the work of a training command as one of the processes that the launcher started, or alone.
///
/// # Errors
/// Those of the work, on process 0; on others, one that is not shown.
pub(crate) fn run(
    gradients: GradientForm,
    work: impl FnOnce(&Together, &AtomicBool) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let stop = interrupt::flag()?;
    let group = launch::group(terminal::line)?;
    let rank = group.rank();
    let done = work(&Together { group, wire: gradients.into() }, &stop);
    let Err(error) = done else {
        launch::finish();
        return Ok(());
    };
    // Where the group itself failed, others still wait for this process.
    if error.chain().any(|cause| cause.is::<multimae_group::Error>()) {
        terminal::line(&format!("process {rank} of the group:"));
        terminal::error(&error);
        launch::abort(GIVEN_UP);
        return Err(Quiet.into());
    }
    launch::finish();
    Err(if rank == 0 { error } else { Quiet.into() })
}

/// Refuses to run as one of several processes.
///
/// # Errors
/// If a launcher started several.
pub(crate) fn alone(command: &str) -> anyhow::Result<()> {
    match launch::announced() {
        Some(launcher) => anyhow::bail!(
            "{launcher}, but `multimae {command}` is one process: each would write into the same \
             folder. Start it without the launcher; `pretrain` and `finetune` run as several"
        ),
        None => Ok(()),
    }
}

/// The recipe and the folder that process 0 resolves, on all processes.
///
/// # Errors
/// If process 0 cannot resolve them.
pub(crate) fn resolved<R: Recipe>(
    together: &Together,
    resolve: impl FnOnce() -> anyhow::Result<Resolution<R>>,
) -> anyhow::Result<Resolution<R>> {
    let group = &*together.group;
    if group.size() == 1 {
        return resolve();
    }
    let own = if group.rank() == 0 { resolve().map(Some) } else { Ok(None) };
    let own = agree(group, own)?;
    let message = own.as_ref().map(|own| {
        let values = own.resolved.recipe.values().into_iter();
        let recipe: Map<String, Value> = values.map(|(key, v)| (key.to_owned(), v)).collect();
        json!({ "recipe": recipe, "out": own.out }).to_string().into_bytes()
    });
    let message = group.broadcast(message.unwrap_or_default())?;
    agree(group, own.map_or_else(|| received(&message), Ok))
}

/// The recipe and the folder in a message of process 0.
fn received<R: Recipe>(message: &[u8]) -> anyhow::Result<Resolution<R>> {
    let message: Value = serde_json::from_slice(message).context("the recipe of process 0")?;
    let recipe = message["recipe"].as_object().cloned().unwrap_or_default();
    let resolved = Resolved::from_map(&recipe, "the recipe of process 0")?;
    let out = message["out"].as_str().map(PathBuf::from).unwrap_or_default();
    // The folder is process 0's alone.
    Ok(Resolution { resolved, out, start: RunStart::New })
}
