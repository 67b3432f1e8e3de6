//! The arguments that the training commands share.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use multimae_config::{Override, Recipe, Resolved};
use multimae_group::Wire;
use multimae_train::run::{ResumeOptions, RunFolder, RunStart};
use serde_json::{Value, json};

/// The recipe, the data and the folder of a run.
#[derive(Debug, Args)]
pub(crate) struct TrainingArguments {
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
    /// Resume the run that the folder holds, with its recipe unless one is given
    #[arg(long)]
    resume: bool,
    /// Resume with more epochs than the run was begun with: EPOCHS in all. From there on the learning
    /// rate and the weight decay follow the schedules of a run of EPOCHS
    #[arg(long, value_name = "EPOCHS", requires = "resume")]
    extend_to: Option<u64>,
    /// Resume although files of the data have other sizes than when the run was begun; the samples
    /// must be the same
    #[arg(long, requires = "resume")]
    accept_changed_files: bool,
    /// Form of gradients on their way between processes, where a launcher starts several
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) gradients: GradientForm,
}

/// The form of gradients between processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum GradientForm {
    /// 32 bits per value
    #[default]
    F32,
    /// bfloat16: half the bytes, 8 bits of precision in every term of the sum
    Bf16,
}

impl From<GradientForm> for Wire {
    fn from(form: GradientForm) -> Self {
        match form {
            GradientForm::F32 => Self::F32,
            GradientForm::Bf16 => Self::Bf16,
        }
    }
}

/// The recipe and the folder that the arguments resolve to.
pub(crate) struct Resolution<R> {
    /// The recipe.
    pub(crate) resolved: Resolved<R>,
    /// The folder of the run.
    pub(crate) out: PathBuf,
    /// Whether the run that the folder holds is resumed.
    pub(crate) start: RunStart,
}

impl TrainingArguments {
    /// The recipe and the run's folder.
    pub(crate) fn resolve<R: Recipe>(&self) -> anyhow::Result<Resolution<R>> {
        let mut overrides = self.overrides.clone();
        if let Some(data) = &self.data {
            overrides.push(Override::new("data_path", json!(data.to_string_lossy())));
        }
        if let Some(out) = &self.out {
            overrides.push(Override::new("output_dir", json!(out.to_string_lossy())));
        }
        if let Some(epochs) = self.extend_to {
            overrides.push(Override::new("epochs", json!(epochs)));
        }
        let own_recipe = self.out.as_deref().filter(|_| self.resume).map(RunFolder::recipe_in);
        let config = self.config.clone().or(own_recipe.filter(|path| path.exists()));
        let mut resolved = Resolved::<R>::load(config.as_deref(), &overrides)?;
        let values = resolved.recipe.values();
        let value = |key| values.iter().find(|(name, _)| *name == key).map(|(_, value)| value);
        let Some(out) = value("output_dir").and_then(Value::as_str).map(PathBuf::from) else {
            bail!("no folder for the run: give --out DIR, or `output_dir` in the recipe");
        };
        let continues = value("auto_resume").and_then(Value::as_bool).unwrap_or_default();
        let options = ResumeOptions {
            extend: self.extend_to.is_some(),
            accept_changed_files: self.accept_changed_files,
        };
        let resumes = self.resume || (continues && RunFolder::holds_run(&out));
        if resumes && RunFolder::holds_run(&out) {
            let run = RunFolder::recipe_in(&out);
            resolved = Resolved::<R>::load_for_run(config.as_deref(), &run, &overrides)?;
        }
        Ok(Resolution { resolved, out, start: RunStart::new(resumes, options) })
    }
}
