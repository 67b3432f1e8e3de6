//! `multimae pretrain`.

use std::sync::atomic::AtomicBool;

use clap::Args;
use multimae_config::PretrainRecipe;
use multimae_group::agree;
use multimae_train::observer::Event;
use multimae_train::pretrain::{PretrainSetup, Pretraining};
use multimae_train::together::Together;

use crate::processes;
use crate::terminal;
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
        processes::run(self.arguments.gradients, |together, stop| {
            let resolution = processes::resolved(together, || self.arguments.resolve())?;
            train(resolution, together, stop)
        })
    }
}

/// Trains by a recipe, or resumes the run that `out` holds.
pub(crate) fn train(
    Resolution { resolved, out, start }: Resolution<PretrainRecipe>,
    together: &Together,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let mut observer = terminal::observer(&*together.group);
    for notice in resolved.notices {
        observer.event(&Event::Notice(notice));
    }
    let setup = agree(&*together.group, PretrainSetup::new(resolved.recipe))?;
    let run = (out.as_path(), start);
    Pretraining::together(setup, run, &mut *observer, together.clone())?.run(stop)?;
    Ok(())
}
