//! Writing shards.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use multimae_io::atomic::{AtomicFile, remove_stale_parts, write_atomically};
use serde_json::json;

use super::info::TIMM_INFO;
use super::plan::{PlannedShard, plan};
use super::refresh::tables;
use super::scan::scan;
use crate::capped::Capped;
use crate::file_source::FileSource;
use crate::names::plain_folder;
use crate::packed::Outcome;
use crate::sample_files::{FolderFiles, SampleFile, SampleFiles};
use crate::{Error, PairingProblems, Result};

/// The time of every member, in seconds after 1970: the same files give the same bytes. Not 0, which
/// some programs refuse.
const MODIFIED: u64 = 1_153_704_088;

/// The arrangement of shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardLayout {
    /// WebDataset's: a tar holds all files of its samples, as `<id>.<folder>.<extension>`.
    WebDataset,
    /// 4M's: a folder per modality, with tars of the same names and the same samples.
    Folders,
}

/// The size of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardSize {
    /// The most samples.
    Samples(usize),
    /// The most bytes of all tars of a shard, unless it has a single sample.
    Bytes(u64),
}

/// The options of writing shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardOptions {
    /// The folders of the modalities, below the data folder.
    pub folders: Vec<String>,
    /// The arrangement.
    pub layout: ShardLayout,
    /// The size of a shard.
    pub size: ShardSize,
    /// Lists whose samples get shards of their own, `<split>-00000.tar`, in place of one series of
    /// all samples, `shard-00000.tar`, with a copy of all lists beside it.
    pub splits: Vec<String>,
    /// The folder whose files have no name of their own in WebDataset's layout: `<id>.jpg` rather
    /// than `<id>.rgb.jpg`. Tools that read images alone look for these.
    pub unnamed: Option<String>,
}

/// The summary of writing shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardSummary {
    /// Whether all shards are there; otherwise the next call continues.
    pub outcome: Outcome,
    /// Samples in all shards.
    pub samples: usize,
    /// Tars in all.
    pub shards: usize,
    /// Tars of an earlier call that were complete and up to date.
    pub kept: usize,
    /// Bytes of all tars.
    pub bytes: u64,
    /// Files that are no images or arrays.
    pub ignored: usize,
    /// [Stray](crate::is_stray) files and folders.
    pub stray: usize,
}

/// Writes the files of a data folder into tars in the folder `out`, byte by byte as they are, in the
/// order of their ids, with an index at the end. [`Dataset::open`](crate::Dataset::open) makes the
/// same samples from them, in the same order.
///
/// Every tar appears when it is complete. A call that was stopped is continued by the next one with
/// the same options. `progress` gets the samples done and in all.
///
/// # Errors
/// [`Error::MissingFolder`]; [`Error::Pairing`] if several files have one id, or, in 4M's layout, a
/// sample lacks a modality; [`Error::Shards`] if an id has a dot in its last part, at which readers
/// of tars would cut it, or `out` holds other tars; [`Error::List`]; [`Error::Io`].
pub fn write_shards(
    root: &Path,
    out: &Path,
    options: &ShardOptions,
    progress: impl FnMut(u64, u64),
    stop: &AtomicBool,
) -> Result<ShardSummary> {
    let folders = folders(root, options)?;
    let names: Vec<&str> = folders.iter().map(String::as_str).collect();
    let files = FolderFiles::find(root, &names)?;
    write_from(&files, out, options, progress, stop)
}

/// Writes the files of any data set; the folders are those of the options, in their order.
pub(crate) fn write_from(
    files: &dyn SampleFiles,
    out: &Path,
    options: &ShardOptions,
    mut progress: impl FnMut(u64, u64),
    stop: &AtomicBool,
) -> Result<ShardSummary> {
    let folders = folders(files.root(), options)?;
    let source = Source { folders, files };
    source.check(options)?;
    let lists = files.lists()?;
    let shards = plan(files, &lists, &source.folders, options)?;
    let total = shards.iter().map(|shard| shard.samples.len() as u64).sum();
    let tars = shards.iter().map(|shard| source.tars(shard, out, options));
    let tars: Vec<Vec<Tar<'_>>> = tars.collect::<Result<_>>()?;
    prepare(out, &tars)?;
    let (ignored, stray) = files.passed_over();
    let mut summary = ShardSummary {
        outcome: Outcome::Stopped,
        samples: total as usize,
        shards: tars.iter().map(Vec::len).sum(),
        kept: 0,
        bytes: 0,
        ignored,
        stray,
    };
    let mut done = 0;
    for (shard, own) in shards.iter().zip(&tars) {
        for tar in own {
            if tar.is_written()? {
                summary.kept += 1;
            } else if !tar.write(stop)? {
                return Ok(summary);
            }
            summary.bytes += fs_err::metadata(&tar.path)?.len();
        }
        done += shard.samples.len() as u64;
        progress(done, total);
    }
    finish(&lists, out, options, &shards, &tars)?;
    summary.outcome = Outcome::Complete;
    Ok(summary)
}

/// The names of the folders, of which each can name a field or a folder of shards.
fn folders(root: &Path, options: &ShardOptions) -> Result<Vec<String>> {
    let names: Vec<String> = options.folders.iter().map(|folder| plain_folder(folder)).collect();
    let flat = options.layout == ShardLayout::WebDataset;
    let wrong = |name: &&String| flat && name.contains(['/', '.']) || FileSource::is_pattern(name);
    match names.iter().find(wrong) {
        None => Ok(names),
        Some(name) => Err(Error::Shards {
            root: root.to_owned(),
            problem: format!(
                "the folder `{name}` cannot name a field of a sample; use the layout of folders, or \
                 rename it"
            ),
        }),
    }
}

/// The files to write.
struct Source<'a> {
    folders: Vec<String>,
    /// In the order of the folders.
    files: &'a dyn SampleFiles,
}

/// One tar to write.
struct Tar<'a> {
    path: PathBuf,
    files: &'a dyn SampleFiles,
    members: Vec<TarMember>,
}

/// A file in a tar.
struct TarMember {
    name: String,
    sample: usize,
    folder: usize,
}

impl<'a> Source<'a> {
    /// Checks that readers of tars find the samples again.
    fn check(&self, options: &ShardOptions) -> Result<()> {
        let ids = self.files.ids();
        if options.layout == ShardLayout::Folders {
            let names: Vec<&str> = self.folders.iter().map(String::as_str).collect();
            let mut problems = PairingProblems::default();
            for (sample, id) in ids.iter().enumerate() {
                let present = (0..names.len()).map(|folder| self.files.file(sample, folder));
                let present =
                    present.map(|file| Ok(file?.is_some())).collect::<Result<Vec<_>>>()?;
                problems.check_presence(id, &present, &names, false);
            }
            if !problems.is_empty() {
                let (root, problems) = (self.files.root().to_owned(), Box::new(problems));
                return Err(Error::Pairing { root, problems });
            }
        }
        let last = |id: &&str| id.rsplit('/').next().unwrap_or_default().contains('.');
        let dotted: Vec<&str> = ids.iter().filter(last).collect();
        if dotted.is_empty() {
            return Ok(());
        }
        Err(Error::Shards {
            root: self.files.root().to_owned(),
            problem: format!(
                "readers of tars end a key at the first dot of a name, and the names of {} samples \
                 have dots inside; rename their files, with `_` for example:{}",
                dotted.len(),
                Capped(&dotted, "\n  ")
            ),
        })
    }

    /// The tars of a shard.
    fn tars(
        &self,
        shard: &PlannedShard,
        out: &Path,
        options: &ShardOptions,
    ) -> Result<Vec<Tar<'a>>> {
        let mut tars: BTreeMap<PathBuf, Vec<TarMember>> = BTreeMap::new();
        for &sample in &shard.samples {
            let id = self.files.ids().get(sample);
            for (place, folder) in self.folders.iter().enumerate() {
                let Some(SampleFile { extension, .. }) = self.files.file(sample, place)? else {
                    continue;
                };
                let unnamed =
                    options.unnamed.as_ref().is_some_and(|own| plain_folder(own) == *folder);
                let (path, name) = match options.layout {
                    ShardLayout::WebDataset if unnamed => {
                        (out.join(&shard.name), format!("{id}.{extension}"))
                    }
                    ShardLayout::WebDataset => {
                        (out.join(&shard.name), format!("{id}.{folder}.{extension}"))
                    }
                    ShardLayout::Folders => {
                        (out.join(folder).join(&shard.name), format!("{id}.{extension}"))
                    }
                };
                let member = TarMember { name, sample, folder: place };
                tars.entry(path).or_default().push(member);
            }
        }
        let tar = |(path, members)| Tar { path, files: self.files, members };
        Ok(tars.into_iter().map(tar).collect())
    }
}

impl Tar<'_> {
    /// Whether it is there with these members, and none of the files has changed since.
    fn is_written(&self) -> Result<bool> {
        if !self.path.is_file() {
            return Ok(false);
        }
        let written = fs_err::metadata(&self.path)?.modified()?;
        let Ok(shard) = scan(&self.path) else { return Ok(false) };
        if shard.members.len() != self.members.len() || !shard.other_fields.is_empty() {
            return Ok(false);
        }
        for ((row, column, member), wanted) in shard.members.iter().zip(&self.members) {
            let key = shard.keys.get(*row as usize);
            let field = shard.fields.get_index(*column as usize);
            let own = key.zip(field).map(|(key, field)| format!("{key}.{field}"));
            let state = self.files.state(wanted.sample, wanted.folder)?;
            let same = own.is_some_and(|own| own.eq_ignore_ascii_case(&wanted.name))
                && state.len.is_none_or(|len| u64::from(member.len) == len)
                && state.modified <= written;
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes it; `false` if it was stopped.
    fn write(&self, stop: &AtomicBool) -> Result<bool> {
        let file = BufWriter::with_capacity(1 << 20, AtomicFile::create(&self.path)?);
        let mut builder = tar::Builder::new(file);
        for member in &self.members {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let bytes = self.read(member)?;
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(MODIFIED);
            builder.append_data(&mut header, &member.name, bytes.as_slice())?;
        }
        let mut file = builder.into_inner()?;
        file.flush()?;
        let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.commit()?;
        Ok(true)
    }

    fn read(&self, member: &TarMember) -> Result<Vec<u8>> {
        let TarMember { sample, folder, .. } = *member;
        let bad = |problem| -> Error {
            let path = self.files.file(sample, folder).ok().flatten().map(|file| file.path);
            Error::Sample {
                sample: self.files.ids().get(sample).to_owned(),
                modality: member.name.clone(),
                path: path.unwrap_or_default(),
                problem,
            }
        };
        self.files.read(sample, folder).map_err(bad)
    }
}

/// Makes the folders, and checks that they hold no other tars.
fn prepare(out: &Path, tars: &[Vec<Tar<'_>>]) -> Result<()> {
    let paths: BTreeSet<&Path> = tars.iter().flatten().map(|tar| tar.path.as_path()).collect();
    let folders: BTreeSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
    for folder in folders.into_iter().chain([out]) {
        fs_err::create_dir_all(folder)?;
        remove_stale_parts(folder)?;
        for entry in fs_err::read_dir(folder)? {
            let path = entry?.path();
            let is_tar = path.extension().is_some_and(|extension| extension == "tar");
            if is_tar && !paths.contains(path.as_path()) {
                return Err(Error::Shards {
                    root: out.to_owned(),
                    problem: format!(
                        "{} is there and none of the shards to write; give an empty folder, or \
                         remove it",
                        path.display()
                    ),
                });
            }
        }
    }
    Ok(())
}

/// Writes what lies beside the shards: lists or splits, and the index.
fn finish(
    lists: &[(String, Vec<u8>)],
    out: &Path,
    options: &ShardOptions,
    shards: &[PlannedShard],
    tars: &[Vec<Tar<'_>>],
) -> Result<()> {
    if options.splits.is_empty() {
        for (name, text) in lists {
            write_atomically(&out.join(format!("{name}.txt")), text)?;
        }
    } else {
        let info = splits(&options.splits, shards);
        write_atomically(&out.join(TIMM_INFO), &info)?;
    }
    let mut names: BTreeMap<&Path, Vec<String>> = BTreeMap::new();
    for tar in tars.iter().flatten() {
        let name = tar.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        names.entry(tar.path.parent().unwrap_or(out)).or_default().push(name);
    }
    for (folder, names) in names {
        tables(folder, &names)?;
    }
    Ok(())
}

/// The splits as timm's `_info.json` has them.
fn splits(names: &[String], shards: &[PlannedShard]) -> Vec<u8> {
    let split = |name: &String| {
        let own: Vec<&PlannedShard> = shards.iter().filter(|s| s.series == *name).collect();
        let lengths: Vec<usize> = own.iter().map(|shard| shard.samples.len()).collect();
        let value = json!({
            "name": name,
            "num_samples": lengths.iter().sum::<usize>(),
            "filenames": own.iter().map(|shard| shard.name.as_str()).collect::<Vec<_>>(),
            "shard_lengths": lengths,
        });
        (name.clone(), value)
    };
    let splits: serde_json::Map<_, _> = names.iter().map(split).collect();
    format!("{:#}\n", json!({ "splits": splits })).into_bytes()
}
