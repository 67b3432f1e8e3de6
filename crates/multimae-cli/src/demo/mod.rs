//! `multimae demo`.

mod frames;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use multimae_config::{Override, PretrainRecipe, Resolved};
use multimae_io::atomic::write_atomically;
use multimae_synth::SynthOptions;
use multimae_train::compare::{Columns, Comparison, ComparisonPlan, ComparisonRequest, table};
use multimae_train::demo::{Stage, write_report};
use multimae_train::run::{ResumeOptions, RunFolder, RunStart};
use multimae_train::together::Together;
use serde_json::json;

use crate::training::Resolution;
use crate::{compare, interrupt, pretrain, processes, synth, terminal};
use frames::Frames;

/// The recipes, as they are in the project; the demo writes them beside its results.
const RECIPES: [(&str, &str); 3] = [
    (PRETRAIN, include_str!("../../../../recipes/demo/pretrain.yaml")),
    ("finetune.yaml", include_str!("../../../../recipes/demo/finetune.yaml")),
    (COMPARE, include_str!("../../../../recipes/demo/compare.yaml")),
];
const PRETRAIN: &str = "pretrain.yaml";
const COMPARE: &str = "compare.yaml";

/// Height and width of rendered frames.
const SIZE: (usize, usize) = (120, 160);

/// From nothing to a picture: render rooms, pre-train, tune prompts, compare, report.
///
/// Pre-trains a small model on generated rooms or on custom frames, then trains depth and
/// segmentation on it three times: Rein prompts, heads only, and full fine-tuning.
/// Writes DIR with all of it, and report.html. Expect about five minutes on two cores. Stopped by
/// Ctrl-C, the same command resumes.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Folder of the frames, the runs and the report
    #[arg(long, value_name = "DIR", default_value = "demo")]
    out: PathBuf,
    /// Frames of your own: rgb/, depth/ (millimetres), label40/ (0 = void), train.txt, val.txt;
    /// rendered rooms if absent
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// One minute, to see that all works; the pictures show little
    #[arg(long)]
    quick: bool,
    /// Seed of the rooms and of training
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// The amount of data and training.
struct Budget {
    /// Frames to render.
    rooms: usize,
    /// Frames seen in pre-training.
    pretrain: usize,
    /// Frames seen in tuning, per cell.
    tune: usize,
}

impl Budget {
    const FULL: Self = Self { rooms: 320, pretrain: 7000, tune: 1600 };
    const QUICK: Self = Self { rooms: 60, pretrain: 350, tune: 96 };
}

impl Demo {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        processes::alone("demo")?;
        let stop = interrupt::flag()?;
        let budget = if self.quick { Budget::QUICK } else { Budget::FULL };
        let mut stages = Vec::new();
        let recipes = self.write_recipes()?;

        heading(1, "frames");
        let begin = Instant::now();
        let rendered = self.render(&budget, &stop)?;
        if stopped(&stop) {
            return Ok(());
        }
        let frames = Frames::of(&rendered)?;
        stages.push(Stage::new("frames", begin.elapsed(), frames.count));

        heading(2, "pre-training: reconstruct masked patches");
        let begin = Instant::now();
        let backbone = self.pretrain(&recipes, &frames, &budget, &stop)?;
        let seen = frames.epochs(budget.pretrain) * frames.count;
        stages.push(Stage::new("pre-training", begin.elapsed(), seen));
        if stopped(&stop) {
            return Ok(());
        }

        heading(3, "depth and segmentation: Rein prompts, heads only, full fine-tuning");
        let begin = Instant::now();
        let mut plan = self.plan(&recipes, &frames, &budget, &backbone)?;
        let (comparison, _) = compare::train_all(&mut plan, &stop)?;
        let seen = plan.runs.len() * frames.epochs(budget.tune) * frames.count;
        stages.push(Stage::new("tuning", begin.elapsed(), seen));
        if stopped(&stop) {
            return Ok(());
        }

        let report = write_report(&self.out, &stages, &backbone, &plan, &comparison)?;
        self.conclude(&comparison, &plan, &report)
    }

    /// The recipes, where they can be read, changed and used again.
    fn write_recipes(&self) -> anyhow::Result<PathBuf> {
        let dir = self.out.join("recipes");
        fs_err::create_dir_all(&dir)?;
        for (name, text) in RECIPES {
            write_atomically(&dir.join(name), text.as_bytes())?;
        }
        Ok(dir)
    }

    /// The folder of the frames, rendered if none was given.
    fn render(&self, budget: &Budget, stop: &AtomicBool) -> anyhow::Result<PathBuf> {
        if let Some(data) = &self.data {
            return Ok(data.clone());
        }
        let dir = self.out.join("rooms");
        let options = SynthOptions {
            count: budget.rooms,
            seed: self.seed,
            size: SIZE,
            val_share: 0.15,
            threads: 0,
        };
        synth::render(&dir, &options, stop)?;
        Ok(dir)
    }

    /// Trains the backbone, or resumes it; returns its folder.
    fn pretrain(
        &self,
        recipes: &Path,
        frames: &Frames,
        budget: &Budget,
        stop: &AtomicBool,
    ) -> anyhow::Result<PathBuf> {
        let dir = self.out.join("pretrain");
        let epochs = frames.epochs(budget.pretrain);
        let mut set = vec![
            Override::new("data_path", json!(frames.root.to_string_lossy())),
            Override::new("output_dir", json!(dir.to_string_lossy())),
            Override::new("split", json!(frames.train)),
            Override::new("seed", json!(self.seed)),
            Override::new("epochs", json!(epochs)),
            Override::new("eval_freq", json!(epochs.div_ceil(6))),
            Override::new("save_ckpt_freq", json!(epochs.div_ceil(4))),
            Override::new("log_images_freq", json!(epochs.div_ceil(2))),
        ];
        if frames.normals {
            for text in WITH_NORMALS {
                set.push(text.parse().map_err(anyhow::Error::msg)?);
            }
        }
        let resolved = Resolved::<PretrainRecipe>::load(Some(&recipes.join(PRETRAIN)), &set)?;
        let start = RunStart::new(RunFolder::holds_run(&dir), ResumeOptions::default());
        let resolution = Resolution { resolved, out: dir.clone(), start };
        pretrain::train(resolution, &Together::alone(), stop)?;
        Ok(dir)
    }

    fn plan(
        &self,
        recipes: &Path,
        frames: &Frames,
        budget: &Budget,
        backbone: &Path,
    ) -> anyhow::Result<ComparisonPlan> {
        let epochs = frames.epochs(budget.tune);
        let mut set = vec![
            Override::new("finetune", json!(backbone.to_string_lossy())),
            Override::new("split", json!(frames.train)),
            Override::new("epochs", json!(epochs)),
            Override::new("eval_freq", json!(epochs.div_ceil(4))),
            Override::new("log_images_freq", json!(epochs)),
            Override::new("save_ckpt_freq", json!(epochs.div_ceil(2))),
        ];
        set.extend(frames.test.iter().map(|test| Override::new("test_split", json!(test))));
        let request = ComparisonRequest {
            grid: recipes.join(COMPARE),
            out: self.out.join("compare"),
            data: Some(frames.root.clone()),
            set,
            only: Vec::new(),
        };
        Ok(ComparisonPlan::new(&request)?)
    }

    /// The table, what to try next, and where to look.
    fn conclude(
        &self,
        comparison: &Comparison,
        plan: &ComparisonPlan,
        report: &Path,
    ) -> anyhow::Result<()> {
        terminal::result(&table(comparison, Columns::Quality).markdown())
            .context("printing the table")?;
        if let Some(run) = plan.runs.iter().find(|run| run.cell == "prompts") {
            terminal::line(&format!(
                "\npredict a picture of your own:\n  multimae predict --model {} --adapter {} \
                 --input photo.jpg --out {}\n",
                self.out.join("pretrain").display(),
                run.dir.join("adapter.safetensors").display(),
                self.out.join("predictions").display(),
            ));
        }
        compare::failures(plan)?;
        terminal::line(&format!("look at {}", report.display()));
        Ok(())
    }
}

/// Surface normals as a fourth modality: unit vectors, stored as (n + 1) / 2 in 8 bits. Mirrored frames
/// would need mirrored normals.
const WITH_NORMALS: [&str; 5] = [
    "in_domains=rgb-depth-semseg-normal",
    "out_domains=rgb-depth-semseg-normal",
    "modalities.normal={channels: 3, divisor: 127.5, mean: [1, 1, 1], loss: l1}",
    "alphas=[2.0, 0.5, 0.5, 0.5]",
    "hflip=0.0",
];

fn heading(number: usize, text: &str) {
    terminal::line(&format!("[{number} of 3] {text}"));
}

fn stopped(stop: &AtomicBool) -> bool {
    let stopped = stop.load(Ordering::Relaxed);
    if stopped {
        terminal::line("stopped; the same command resumes");
    }
    stopped
}
