//! `multimae synth`.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::Args;
use multimae_synth::{SynthOptions, write_dataset};

use crate::{interrupt, terminal};

/// Render furnished rooms: RGB, metric depth, labels in NYUv2-40 ids, surface normals.
///
/// Writes rgb/, depth/ (16-bit PNG, millimetres), label40/, normal/, the lists train.txt and
/// val.txt, and manifest.json. The same seed gives the same rooms. Stopped by Ctrl-C, the same
/// command resumes.
#[derive(Debug, Args)]
pub(crate) struct Synth {
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number of frames
    #[arg(long, default_value_t = 400)]
    count: usize,
    /// Seed of the rooms
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Size of the frames, width x height
    #[arg(long, value_name = "WxH", default_value = "160x120")]
    size: FrameSize,
    /// Share of the frames that val.txt lists
    #[arg(long, default_value_t = 0.1)]
    val_share: f64,
    /// Threads; all processors if 0
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// `WxH`.
#[derive(Debug, Clone, Copy)]
struct FrameSize {
    width: usize,
    height: usize,
}

impl FromStr for FrameSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side = |text: &str| text.parse().ok().filter(|&side: &usize| side > 0);
        let sides = text.split_once('x').and_then(|(w, h)| side(w).zip(side(h)));
        let (width, height) = sides.ok_or("expected WIDTHxHEIGHT, for example 320x240")?;
        Ok(Self { width, height })
    }
}

impl std::fmt::Display for FrameSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl Synth {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let stop = interrupt::flag()?;
        let options = SynthOptions {
            count: self.count,
            seed: self.seed,
            size: (self.size.height, self.size.width),
            val_share: self.val_share,
            threads: self.threads,
        };
        render(&self.out, &options, &stop)
    }
}

/// Renders rooms into a folder, or those of them that it lacks.
pub(crate) fn render(out: &Path, options: &SynthOptions, stop: &AtomicBool) -> anyhow::Result<()> {
    let bar = terminal::bar(options.count as u64, "rooms");
    let summary = write_dataset(out, options, |done, _| bar.set_position(done as u64), stop)
        .with_context(|| format!("rendering rooms into {}", out.display()))?;
    bar.finish_and_clear();
    terminal::line(&format!("{summary}, in {}", out.display()));
    Ok(())
}
