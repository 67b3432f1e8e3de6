//! `multimae pretrain`.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use clap::Args;
use multimae_config::{PretrainRecipe, Resolved};
use multimae_train::observer::{Event, Observer};
use multimae_train::pretrain::{PretrainSetup, Pretraining};
use multimae_train::run::RunStart;

use crate::interrupt;
use crate::terminal::TrainingTerminal;
use crate::training::{Resolution, TrainingArguments};

/// Pre-train a multi-modal masked autoencoder.
///
/// Writes recipe.yaml, metrics.jsonl, TensorBoard events, checkpoints/, pictures/, report.html and,
/// at the end, model.safetensors into the run's folder. Ctrl-C writes a checkpoint and ends;
/// --resume resumes from the last one.
#[derive(Debug, Args)]
pub(crate) struct Pretrain {
    #[command(flatten)]
    arguments: TrainingArguments,
}

impl Pretrain {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let stop = interrupt::flag()?;
        let Resolution { resolved, out, start } = self.arguments.resolve()?;
        train(resolved, &out, start, &stop)
    }
}

/// Trains by a recipe, or resumes the run that `out` holds.
pub(crate) fn train(
    resolved: Resolved<PretrainRecipe>,
    out: &Path,
    start: RunStart,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let mut terminal = TrainingTerminal::new();
    for notice in resolved.notices {
        terminal.event(&Event::Notice(notice));
    }
    let setup = PretrainSetup::new(resolved.recipe)?;
    Pretraining::new(setup, out, start, &mut terminal)?.run(stop)?;
    Ok(())
}
