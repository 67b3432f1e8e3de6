//! `multimae shards`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use indicatif::HumanBytes;
use multimae_data::convert::{find_folders, write_shards};
use multimae_data::doctor::Kind;
use multimae_data::packed::Outcome;
use multimae_data::shards::{ShardLayout, ShardOptions, ShardSize};
use multimae_data::stray_notice;

use crate::{interrupt, terminal};

/// Write a data set as tar shards, which other tools read too.
///
/// Files keep their bytes and their order, and every command that takes a folder of data takes the
/// shards, and makes the same samples from them. Each shard appears when it is complete: stopped by
/// Ctrl-C, the same command continues.
#[derive(Debug, Args)]
pub(crate) struct ShardsCommand {
    /// Data: a folder with a folder per modality and the lists; or a pack, tables or shards
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder to write the shards to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Write these folders only
    #[arg(long, value_name = "FOLDER", value_delimiter = ',')]
    folders: Vec<String>,
    /// Arrangement of the shards
    #[arg(long, value_enum, default_value_t = LayoutName::Webdataset)]
    layout: LayoutName,
    /// Samples per shard
    #[arg(long, value_name = "N", default_value_t = 10_000, conflicts_with = "per_shard_mb")]
    per_shard: usize,
    /// Megabytes per shard, in place of a number of samples
    #[arg(long, value_name = "MB")]
    per_shard_mb: Option<u64>,
    /// Lists whose samples get shards of their own; otherwise one series has all samples, and the
    /// lists lie beside it
    #[arg(long, value_name = "SPLIT", value_delimiter = ',')]
    splits: Vec<String>,
    /// Folder whose files are named `ID.jpg` rather than `ID.FOLDER.jpg`, for tools that read images
    /// alone; also if those of the data are named so
    #[arg(long, value_name = "FOLDER")]
    unnamed: Option<String>,
}

/// The arrangements of shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LayoutName {
    /// WebDataset's: every tar holds all files of its samples
    Webdataset,
    /// 4M's: a folder per modality, with tars of the same names
    Folders,
}

impl ShardsCommand {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let stop = interrupt::flag()?;
        let options = ShardOptions {
            folders: self.chosen()?,
            layout: match self.layout {
                LayoutName::Webdataset => ShardLayout::WebDataset,
                LayoutName::Folders => ShardLayout::Folders,
            },
            size: match self.per_shard_mb {
                Some(megabytes) => ShardSize::Bytes(megabytes.saturating_mul(1_000_000)),
                None => ShardSize::Samples(self.per_shard),
            },
            splits: self.splits.clone(),
            unnamed: self.unnamed.clone(),
        };
        let bar = terminal::bar(0, "samples");
        let progress = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let summary = write_shards(&self.data, &self.out, &options, progress, &stop)
            .with_context(|| format!("writing shards of {}", self.data.display()))?;
        bar.finish_and_clear();
        if summary.outcome == Outcome::Stopped {
            terminal::line("stopped; complete shards stay, and the same command continues");
            return Ok(());
        }
        if summary.kept > 0 {
            terminal::line(&format!("{} shards were there already", summary.kept));
        }
        if summary.ignored > 0 {
            terminal::line(&format!("{} files are no images or arrays", summary.ignored));
        }
        if let Some(notice) = stray_notice(summary.stray) {
            terminal::line(&notice);
        }
        terminal::line(&format!(
            "{} samples of {} in {} shards, {}; use them as --data {}",
            summary.samples,
            options.folders.join(", "),
            summary.shards,
            HumanBytes(summary.bytes),
            self.out.display()
        ));
        Ok(())
    }

    /// The folders to write.
    fn chosen(&self) -> anyhow::Result<Vec<String>> {
        let unnamed: BTreeMap<String, Kind> =
            self.unnamed.iter().map(|name| (name.clone(), Kind::Color)).collect();
        let found = find_folders(&self.data, &unnamed)?;
        let there: Vec<String> = found.into_iter().map(|folder| folder.folder).collect();
        for name in self.folders.iter().chain(&self.unnamed) {
            if !there.contains(name) {
                bail!("{} has no folder `{name}`, but {}", self.data.display(), there.join(", "));
            }
        }
        Ok(if self.folders.is_empty() { there } else { self.folders.clone() })
    }
}
