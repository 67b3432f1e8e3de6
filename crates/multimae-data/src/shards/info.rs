//! Files beside shards that state splits and numbers of samples.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::Deserialize;

use crate::names::is_stray;
use crate::{Error, Result};

/// The name of timm's file of splits.
pub(super) const TIMM_INFO: &str = "_info.json";
/// The kind that an index of the `wids` library states.
const WIDS_KIND: &str = "wids-shard-index-v1";
/// Larger JSON files are annotations, not lists of shards.
const LARGEST: u64 = 64 << 20;

/// timm's `_info.json`: the shards of every split.
#[derive(Debug, Deserialize)]
struct TimmInfo {
    splits: IndexMap<String, TimmSplit>,
}

#[derive(Debug, Deserialize)]
struct TimmSplit {
    num_samples: Option<u64>,
    filenames: Vec<String>,
    #[serde(default)]
    shard_lengths: Vec<u64>,
}

/// An index of the `wids` library.
#[derive(Debug, Deserialize)]
struct WidsIndex {
    shardlist: Vec<WidsShard>,
}

#[derive(Debug, Deserialize)]
struct WidsShard {
    url: String,
    nsamples: Option<u64>,
    filesize: Option<u64>,
}

/// The statements of the files beside shards.
#[derive(Debug, Default)]
pub(super) struct Info {
    /// The names of the shards by split.
    pub(super) splits: IndexMap<String, Vec<String>>,
    expected: HashMap<String, Expected>,
    /// The samples of a split, by the file that states them.
    totals: HashMap<String, (u64, PathBuf)>,
}

#[derive(Debug, Default, Clone)]
struct Expected {
    samples: Option<u64>,
    bytes: Option<u64>,
    stated_by: PathBuf,
}

impl Info {
    /// Reads the files in a folder.
    ///
    /// # Errors
    /// [`Error::File`] if one is damaged; [`Error::Io`].
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut info = Self::default();
        let timm = folder.join(TIMM_INFO);
        if timm.is_file() {
            info.add_timm(&timm)?;
        }
        let mut files = Vec::new();
        for entry in fs_err::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let json = path.extension().is_some_and(|extension| extension == "json");
            if json && !is_stray(&name) && name != TIMM_INFO && path.is_file() {
                files.push(path);
            }
        }
        files.sort();
        for path in files {
            info.add_wids(&path)?;
        }
        Ok(info)
    }

    fn add_timm(&mut self, path: &Path) -> Result<()> {
        let damaged = |problem: String| Error::File { path: path.to_owned(), problem };
        let file: TimmInfo = serde_json::from_slice(&fs_err::read(path)?).map_err(|error| {
            damaged(format!("it is not a list of splits as timm has it: {error}"))
        })?;
        for (name, split) in file.splits {
            let lengths = split.shard_lengths.len();
            if lengths > 0 && lengths != split.filenames.len() {
                return Err(damaged(format!(
                    "split `{name}` has {} filenames and {lengths} shard_lengths",
                    split.filenames.len()
                )));
            }
            for (at, file) in split.filenames.iter().enumerate() {
                let samples = split.shard_lengths.get(at).copied();
                self.expect(file, samples, None, path);
            }
            if let Some(samples) = split.num_samples {
                self.totals.insert(name.clone(), (samples, path.to_owned()));
            }
            self.splits.insert(name, split.filenames);
        }
        Ok(())
    }

    /// Other JSON files are not about shards.
    fn add_wids(&mut self, path: &Path) -> Result<()> {
        if fs_err::metadata(path)?.len() > LARGEST {
            return Ok(());
        }
        let bytes = fs_err::read(path)?;
        if !is_wids(&bytes) {
            return Ok(());
        }
        for shard in wids(path, &bytes)?.shardlist {
            self.expect(&shard.url, shard.nsamples, shard.filesize, path);
        }
        Ok(())
    }

    fn expect(&mut self, url: &str, samples: Option<u64>, bytes: Option<u64>, path: &Path) {
        let name = url.rsplit('/').next().unwrap_or(url).to_owned();
        self.expected.insert(name, Expected { samples, bytes, stated_by: path.to_owned() });
    }

    /// Compares the statements about a shard with the shard.
    ///
    /// # Errors
    /// [`Error::Shard`] if they differ.
    pub(super) fn check(&self, path: &Path, samples: usize, bytes: u64) -> Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(expected) = self.expected.get(name.as_ref()) else { return Ok(()) };
        let file = expected.stated_by.display();
        let fault = |what: &str, has: u64, states: u64| Error::Shard {
            path: path.to_owned(),
            problem: format!(
                "it has {has} {what}, and {file} states {states}; copy the shard again, or correct \
                 or delete that file"
            ),
        };
        match (expected.bytes, expected.samples) {
            (Some(states), _) if states != bytes => Err(fault("bytes", bytes, states)),
            (_, Some(states)) if states != samples as u64 => {
                Err(fault("samples", samples as u64, states))
            }
            _ => Ok(()),
        }
    }

    /// Compares the number of samples of a split with what is stated of it.
    ///
    /// # Errors
    /// [`Error::File`] if they differ.
    pub(super) fn check_total(&self, split: &str, samples: usize) -> Result<()> {
        match self.totals.get(split) {
            Some((states, path)) if *states != samples as u64 => Err(Error::File {
                path: path.clone(),
                problem: format!(
                    "it states {states} samples of split `{split}`, and its shards have {samples}; \
                     correct num_samples or filenames"
                ),
            }),
            _ => Ok(()),
        }
    }
}

/// The shards that an index of the `wids` library lists, beside it. `None` if the file is no such
/// index.
///
/// # Errors
/// [`Error::File`] if it is damaged; [`Error::Io`].
pub(super) fn listed_shards(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    if path.extension().is_none_or(|extension| extension != "json") {
        return Ok(None);
    }
    let bytes = fs_err::read(path)?;
    if !is_wids(&bytes) {
        return Ok(None);
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let shards = wids(path, &bytes)?.shardlist.into_iter();
    Ok(Some(shards.map(|shard| folder.join(shard.url)).collect()))
}

fn is_wids(bytes: &[u8]) -> bool {
    bytes.windows(WIDS_KIND.len()).any(|window| window == WIDS_KIND.as_bytes())
}

fn wids(path: &Path, bytes: &[u8]) -> Result<WidsIndex> {
    serde_json::from_slice(bytes).map_err(|error| Error::File {
        path: path.to_owned(),
        problem: format!("it is a damaged index of shards: {error}"),
    })
}
