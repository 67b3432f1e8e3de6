//! `multimae pretrain`.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use multimae_train::observer::{Event, Observer};
use multimae_train::pretrain::{Pretraining, Setting};
use multimae_train::recipe::{Override, Resolved};
use multimae_train::run::RunFolder;
use serde_json::json;

use crate::{interrupt, terminal::TrainingTerminal};

/// Pre-train a multi-modal masked autoencoder.
///
/// Writes recipe.yaml, metrics.jsonl, TensorBoard events, checkpoints/, pictures/, report.html and,
/// at the end, model.safetensors into the run's folder. Ctrl-C writes a checkpoint and ends;
/// --resume goes on from the last one.
#[derive(Debug, Args)]
pub(crate) struct Pretrain {
    /// Recipe in YAML; the published configuration files load unchanged
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the data (`data_path` in the recipe)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder of the run (`output_dir` in the recipe)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Set a key of the recipe; dots go into maps, as in modalities.depth.divisor=1000
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<Override>,
    /// Go on with the run that the folder holds, with its recipe unless one is given
    #[arg(long)]
    resume: bool,
}

impl Pretrain {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let stop = interrupt::flag()?;
        let (resolved, out) = self.resolve()?;
        let mut terminal = TrainingTerminal::new();
        for notice in resolved.notices {
            terminal.event(&Event::Notice(notice));
        }
        let begun = RunFolder::holds_run(&out);
        let resume = self.resume || (resolved.recipe.auto_resume && begun);
        let setting = Setting::new(resolved.recipe)?;
        Pretraining::new(setting, &out, resume, &mut terminal)?.run(&stop)?;
        Ok(())
    }

    /// The recipe and the run's folder.
    fn resolve(&self) -> anyhow::Result<(Resolved, PathBuf)> {
        let mut overrides = self.overrides.clone();
        if let Some(data) = &self.data {
            overrides.push(Override::new("data_path", json!(data.to_string_lossy())));
        }
        if let Some(out) = &self.out {
            overrides.push(Override::new("output_dir", json!(out.to_string_lossy())));
        }
        let own_recipe = self.out.as_deref().filter(|_| self.resume).map(RunFolder::recipe_in);
        let config = self.config.clone().or(own_recipe.filter(|path| path.exists()));
        let resolved = Resolved::load(config.as_deref(), &overrides)?;
        let Some(out) = resolved.recipe.output_dir.clone() else {
            bail!("no folder for the run: give --out DIR, or `output_dir` in the recipe");
        };
        Ok((resolved, PathBuf::from(out)))
    }
}
