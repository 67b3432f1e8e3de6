//! `multimae prepare`.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use multimae_datasets::nyuv2::{self, Classes, Crop, Outcome, Progress, Summary};

use crate::{interrupt, terminal};

/// Bring a published data set into a folder that can be trained on.
#[derive(Debug, Args)]
pub(crate) struct Prepare {
    #[command(subcommand)]
    dataset: DataSet,
}

#[derive(Debug, Subcommand)]
enum DataSet {
    /// NYU Depth V2: 1449 labelled frames, from its MATLAB files.
    Nyuv2(Nyuv2),
}

/// NYU Depth V2: 1449 labelled frames, from its MATLAB files.
///
/// Writes rgb/, depth/ (16-bit PNG, millimetres), label40/ or label13/ (0 is void), mask_valid/
/// (255 where depth is valid), lists (the official train and test, and train in two: train_fit,
/// val), classes.txt, frames.csv and manifest.json. Names are the official ids. Every value is
/// checked. Stopped by Ctrl-C, the same command resumes; a finished folder is left alone.
#[derive(Debug, Args)]
struct Nyuv2 {
    /// nyu_depth_v2_labeled.mat
    #[arg(long, value_name = "FILE")]
    mat: PathBuf,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// splits.mat, with trainNdxs and testNdxs, to use in place of the built-in official split
    #[arg(long, value_name = "FILE")]
    splits: Option<PathBuf>,
    /// Classes of the labels
    #[arg(long, default_value = "40")]
    classes: ClassCount,
    /// classMapping40.mat, to use in place of the built-in map of the 894 labels
    #[arg(long, value_name = "FILE")]
    class_map: Option<PathBuf>,
    /// For an excerpt of the .mat file: a text file with the ids of its frames, in their order
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Let depth count only inside this part of the frame
    #[arg(long, default_value = "none")]
    crop: CropName,
    /// Let depth count only where the sensor measured it (rawDepths), not where it was in-painted
    #[arg(long)]
    measured_only: bool,
    /// Write the folder again if it was prepared before
    #[arg(long)]
    overwrite: bool,
    /// Threads; all processors if 0
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ClassCount {
    #[value(name = "40")]
    Forty,
    #[value(name = "13")]
    Thirteen,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CropName {
    /// The whole frame
    None,
    /// The field of view of the depth sensor, 561 x 427
    Toolbox,
    /// Eigen et al., 560 x 426
    Eigen,
    /// Gupta et al., 560 x 425
    Gupta,
}

impl Prepare {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.dataset {
            DataSet::Nyuv2(nyuv2) => nyuv2.run(),
        }
    }
}

impl Nyuv2 {
    fn run(self) -> anyhow::Result<()> {
        let stop = interrupt::flag()?;
        let bars = Mutex::new(Bars::default());
        let progress = |progress| {
            if let Ok(bars) = bars.lock() {
                bars.show(progress);
            }
        };
        let summary = nyuv2::prepare(&self.out, &self.options(), progress, &stop)
            .with_context(|| format!("preparing NYUv2 in {}", self.out.display()))?;
        if let Ok(bars) = bars.lock() {
            bars.clear();
        }
        self.report(&summary);
        Ok(())
    }

    fn options(&self) -> nyuv2::Prepare {
        nyuv2::Prepare {
            mat: self.mat.clone(),
            splits: self.splits.clone(),
            ids: self.ids.clone(),
            classes: match self.classes {
                ClassCount::Forty => Classes::Forty,
                ClassCount::Thirteen => Classes::Thirteen,
            },
            class_map: self.class_map.clone(),
            crop: match self.crop {
                CropName::None => Crop::None,
                CropName::Toolbox => Crop::Toolbox,
                CropName::Eigen => Crop::Eigen,
                CropName::Gupta => Crop::Gupta,
            },
            measured_only: self.measured_only,
            overwrite: self.overwrite,
            threads: self.threads,
        }
    }

    fn report(&self, summary: &Summary) {
        let (frames, out) = (summary.frames, self.out.display());
        for note in &summary.notes {
            terminal::line(&format!("note: {note}"));
        }
        if summary.outcome == Outcome::CompleteBefore {
            terminal::line(&format!(
                "{out} is complete already, {frames} frames; --overwrite writes it again"
            ));
            return;
        }
        if !summary.published {
            terminal::line("note: the .mat file is not the published one, by its MD5");
        }
        for (list, of) in &summary.statistics {
            terminal::line(&format!(
                "{list:<9}  {:>4} frames, depth {:.3} m on average (deviation {:.3}, from {:.3} to \
                 {:.3}), void {:.1} %",
                of.frames,
                of.depth_mean,
                of.depth_std,
                of.depth_min,
                of.depth_max,
                100.0 * of.label_share.first().copied().unwrap_or_default(),
            ));
        }
        let written = summary.written;
        let end = match summary.outcome {
            Outcome::Stopped => "; stopped: the same command resumes",
            _ => "",
        };
        terminal::line(&format!("{written} of {frames} frames written now, in {out}{end}"));
    }
}

/// A bar for each of the two parts of the work, from when it begins.
#[derive(Default)]
struct Bars {
    checksum: OnceCell<ProgressBar>,
    frames: OnceCell<ProgressBar>,
}

impl Bars {
    fn show(&self, progress: Progress) {
        match progress {
            Progress::Checksum { done, total } => {
                self.checksum.get_or_init(|| checksum_bar(total)).set_position(done);
            }
            Progress::Frames { done, total } => {
                self.checksum.get().inspect(|bar| bar.finish_and_clear());
                self.frames.get_or_init(|| terminal::bar(total, "frames")).set_position(done);
            }
        }
    }

    fn clear(&self) {
        for bar in [&self.checksum, &self.frames].into_iter().filter_map(OnceCell::get) {
            bar.finish_and_clear();
        }
    }
}

fn checksum_bar(total: u64) -> ProgressBar {
    let bar = terminal::bar(total, "MD5");
    let template = "{wide_bar} {bytes}/{total_bytes} {msg}  {bytes_per_sec}  ETA {eta}";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
