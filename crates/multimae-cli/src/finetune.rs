//! `multimae finetune`.

use clap::Args;
use multimae_config::FinetuneRecipe;
use multimae_train::finetune::{FinetuneSetup, Finetuning};
use multimae_train::observer::{Event, Observer};

use crate::interrupt;
use crate::terminal::TrainingTerminal;
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
        let stop = interrupt::flag()?;
        let Resolution { resolved, out, start } = self.arguments.resolve::<FinetuneRecipe>()?;
        let mut terminal = TrainingTerminal::new();
        for notice in resolved.notices {
            terminal.event(&Event::Notice(notice));
        }
        let setup = FinetuneSetup::new(resolved.recipe)?;
        Finetuning::new(setup, &out, start, &mut terminal)?.run(&stop)?;
        Ok(())
    }
}
