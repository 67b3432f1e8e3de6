//! `multimae pack`.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::HumanBytes;
use multimae_data::convert::{create_pack, find_folders};
use multimae_data::doctor::Kind;
use multimae_data::packed::{Options, Outcome, Pack, PackFolder, Shrink, Summary};
use multimae_data::{Orientation, stray_notice};

use crate::{interrupt, terminal};

/// Names that are printed before the rest is counted.
const NAMED: usize = 10;

/// Decode a data set once, into one file to train from.
///
/// Every epoch then reads the stored values instead of decoding images again; with --encoded, the
/// file holds the images as they are. Every command that takes a folder of data takes the file, and
/// makes exactly the same samples from it. It holds all lists of the folder. Stopped by Ctrl-C,
/// nothing is left.
#[derive(Debug, Args)]
pub(crate) struct PackCommand {
    /// Data: a folder with a folder per modality and the lists; or a pack, tables or shards
    #[arg(long, value_name = "DIR", required_unless_present = "verify")]
    data: Option<PathBuf>,
    /// File to write
    #[arg(long, value_name = "FILE", required_unless_present = "verify")]
    out: Option<PathBuf>,
    /// Pack these folders only
    #[arg(long, value_name = "FOLDER", value_delimiter = ',')]
    folders: Vec<String>,
    /// Kind of a folder, if its name does not tell: color, depth, labels, mask or other;
    /// or of files that share folders with others, as in 'rgb_*=color'
    #[arg(long = "kind", value_name = "FOLDER=KIND", value_parser = kind_of)]
    kinds: Vec<(String, Kind)>,
    /// Read the files of a folder as they are stored, whatever EXIF orientation they carry
    #[arg(long, value_name = "FOLDER")]
    ignore_orientation: Vec<String>,
    /// Keep the files as they are rather than their decoded values: as small as the files, which are
    /// decoded in every epoch
    #[arg(long, conflicts_with_all = ["short_side", "max_side"])]
    encoded: bool,
    /// Reduce larger frames to a shorter side of this many pixels; the samples then differ
    #[arg(long, value_name = "PIXELS", conflicts_with = "max_side")]
    short_side: Option<usize>,
    /// Reduce larger frames to a longer side of this many pixels
    #[arg(long, value_name = "PIXELS")]
    max_side: Option<usize>,
    /// Leave out samples that cannot be read, and name them
    #[arg(long)]
    skip_bad: bool,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// Threads; all processors if 0
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Compare the checksums of all frames of a file that was packed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "out"])]
    verify: Option<PathBuf>,
}

fn kind_of(text: &str) -> Result<(String, Kind), String> {
    let (folder, kind) = text.split_once('=').ok_or("expected FOLDER=KIND, as in raw=depth")?;
    Ok((folder.to_owned(), Kind::from_str(kind)?))
}

impl PackCommand {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if let Some(file) = &self.verify {
            return verify(file);
        }
        // The parser sees to it that both are there.
        let (Some(data), Some(out)) = (&self.data, &self.out) else {
            bail!("give --data DIR and --out FILE, or --verify FILE");
        };
        let stop = interrupt::flag()?;
        let options = Options {
            folders: self.chosen(data)?,
            shrink: self.shrink()?,
            skip_bad: self.skip_bad,
            replace: self.force,
            threads: self.threads,
        };
        let bar = terminal::bar(0, "samples");
        let progress = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let summary = create_pack(data, out, &options, progress, &stop)
            .with_context(|| format!("packing {}", data.display()))?;
        bar.finish_and_clear();
        conclude(out, &summary)
    }

    /// The folders to pack.
    fn chosen(&self, data: &Path) -> anyhow::Result<Vec<PackFolder>> {
        let mut folders = find_folders(data, &self.kinds.iter().cloned().collect())?;
        for name in &self.ignore_orientation {
            match folders.iter_mut().find(|folder| folder.folder == *name) {
                Some(folder) => folder.orientation = Orientation::Ignore,
                None => bail!("{} has no folder `{name}`", data.display()),
            }
        }
        folders.iter_mut().for_each(|folder| folder.encoded = self.encoded);
        if self.folders.is_empty() {
            return Ok(folders);
        }
        for name in &self.folders {
            if !folders.iter().any(|folder| folder.folder == *name) {
                let there: Vec<&str> = folders.iter().map(|f| f.folder.as_str()).collect();
                bail!("{} has no folder `{name}`, but {}", data.display(), there.join(", "));
            }
        }
        folders.retain(|folder| self.folders.contains(&folder.folder));
        Ok(folders)
    }

    fn shrink(&self) -> anyhow::Result<Option<Shrink>> {
        let shrink = match (self.short_side, self.max_side) {
            (Some(pixels), _) => Some(Shrink::ShortSide(pixels)),
            (None, Some(pixels)) => Some(Shrink::MaxSide(pixels)),
            (None, None) => None,
        };
        match shrink {
            Some(Shrink::ShortSide(0) | Shrink::MaxSide(0)) => bail!("a side has a pixel at least"),
            shrink => Ok(shrink),
        }
    }
}

/// Says what became of it.
fn conclude(out: &Path, summary: &Summary) -> anyhow::Result<()> {
    if summary.outcome == Outcome::Stopped {
        terminal::line("stopped; nothing was written");
        return Ok(());
    }
    for rejected in summary.left_out.iter().take(NAMED) {
        terminal::line(&format!("left out: {rejected}"));
    }
    if summary.left_out.len() > NAMED {
        terminal::line(&format!("and {} more", summary.left_out.len() - NAMED));
    }
    let pack = Pack::open(out)?;
    for (folder, content, frames) in pack.folders() {
        let form = if pack.is_encoded(folder) { "encoded files" } else { "frames" };
        terminal::line(&format!("{folder}: {frames} {form} of {}", content.words()));
    }
    if summary.shrunk > 0 {
        terminal::line(&format!("{} samples were reduced", summary.shrunk));
    }
    if summary.ignored > 0 {
        terminal::line(&format!("{} files are no images or arrays", summary.ignored));
    }
    if let Some(notice) = stray_notice(summary.stray) {
        terminal::line(&notice);
    }
    terminal::line(&format!(
        "{} samples, {} (their files: {}), lists: {}; use it as --data {}",
        pack.samples(),
        HumanBytes(summary.bytes),
        HumanBytes(summary.source_bytes),
        if pack.lists().is_empty() { "none".to_owned() } else { pack.lists().join(", ") },
        out.display()
    ));
    Ok(())
}

/// Reads all frames.
fn verify(file: &Path) -> anyhow::Result<()> {
    let stop = interrupt::flag()?;
    let pack = Pack::open(file)?;
    let bar = terminal::bar(0, "frames");
    let progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let damaged = pack.verify(progress, &stop)?;
    bar.finish_and_clear();
    for notice in pack.notices() {
        terminal::line(&format!("note: {notice}"));
    }
    for frame in damaged.iter().take(NAMED) {
        terminal::line(&frame.to_string());
    }
    match damaged.len() {
        0 => terminal::line(&format!("all frames of {} samples are whole", pack.samples())),
        count => bail!("{}: {count} frames are damaged; pack again", file.display()),
    }
    Ok(())
}
