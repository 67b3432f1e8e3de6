//! `multimae finetune`.

use clap::Args;
use multimae_config::FinetuneRecipe;
use multimae_group::agree;
use multimae_train::finetune::{FinetuneSetup, Finetuning};
use multimae_train::observer::Event;

use crate::processes;
use crate::terminal;
use crate::training::{Resolution, TrainingArguments};

/// Fine-tune a model for depth, segmentation, both together, or classes of images.
///
/// Begins with the pre-trained weights that the recipe's `finetune` names: a run's folder or a
/// file. Writes the same files as pretrain; model.safetensors is the best model by its score on the
/// evaluation samples, with everything that predicting needs. Its scores are printed, beside those
/// of predicting the mean depth and the most frequent class.
#[derive(Debug, Args)]
pub(crate) struct Finetune {
    #[command(flatten)]
    arguments: TrainingArguments,
}

impl Finetune {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        processes::run(self.arguments.gradients, |together, stop| {
            let resolution =
                processes::resolved::<FinetuneRecipe>(together, || self.arguments.resolve())?;
            let Resolution { resolved, out, start } = resolution;
            let mut observer = terminal::observer(&*together.group);
            for notice in resolved.notices {
                observer.event(&Event::Notice(notice));
            }
            let setup = agree(&*together.group, FinetuneSetup::new(resolved.recipe))?;
            let run = (out.as_path(), start);
            Finetuning::together(setup, run, &mut *observer, together.clone())?.run(stop)?;
            Ok(())
        })
    }
}
