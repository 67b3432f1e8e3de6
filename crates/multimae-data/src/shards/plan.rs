//! The samples of the shards to write.

use std::collections::BTreeSet;

use super::scan::BLOCK;
use super::write::{ShardOptions, ShardSize};
use crate::file_source::FileSource;
use crate::lists::{Names, parse, text};
use crate::sample_files::SampleFiles;
use crate::{Error, Result};

/// A shard to write.
pub(super) struct PlannedShard {
    /// The split, or the name of all.
    pub(super) series: String,
    /// The name of the file.
    pub(super) name: String,
    /// Their places, in the order of their ids.
    pub(super) samples: Vec<usize>,
}

/// The name of the shards of all samples.
const ALL: &str = "shard";

/// Distributes samples over shards, in the order of their ids.
///
/// # Errors
/// [`Error::Config`] if a shard would have no sample; [`Error::List`] if a list is damaged, or names
/// samples that are not there or are in two lists; [`Error::Io`].
pub(super) fn plan(
    files: &dyn SampleFiles,
    lists: &[(String, Vec<u8>)],
    folders: &[String],
    options: &ShardOptions,
) -> Result<Vec<PlannedShard>> {
    if matches!(options.size, ShardSize::Samples(0) | ShardSize::Bytes(0)) {
        return Err(Error::Config("a shard holds at least one sample".to_owned()));
    }
    let mut series: Vec<(&str, BTreeSet<usize>)> = Vec::new();
    for split in &options.splits {
        let samples = listed(split, files, lists, folders)?;
        for (other, others) in &series {
            if let Some(&sample) = samples.intersection(others).next() {
                let path = files.root().join(format!("{split}.txt"));
                let problem = format!(
                    "its sample `{}` is in the list {other}, too; write one series of all samples, \
                     which keeps the lists as they are",
                    files.ids().get(sample)
                );
                return Err(Error::List { path, problem });
            }
        }
        series.push((split, samples));
    }
    if series.is_empty() {
        series.push((ALL, (0..files.ids().len()).collect()));
    }
    let mut shards = Vec::new();
    for (name, samples) in series {
        let parts = parts(samples, folders.len(), files, options.size)?;
        shards.extend(parts.into_iter().enumerate().map(|(number, samples)| PlannedShard {
            series: name.to_owned(),
            name: format!("{name}-{number:05}.tar"),
            samples,
        }));
    }
    Ok(shards)
}

/// The samples of a list.
fn listed(
    split: &str,
    files: &dyn SampleFiles,
    lists: &[(String, Vec<u8>)],
    folders: &[String],
) -> Result<BTreeSet<usize>> {
    let path = files.root().join(format!("{split}.txt"));
    let error = |problem| Error::List { path: path.clone(), problem };
    let (_, bytes) = lists.iter().find(|(name, _)| name == split).ok_or_else(|| {
        let names: Vec<&str> = lists.iter().map(|(name, _)| name.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        error(format!("there is no such list; there is {names}"))
    })?;
    let known = |id: &str| files.ids().find(id).is_some();
    let sources = folders.iter().map(|folder| FileSource::parse(folder)).collect();
    let names = Names { known: &known, sources };
    let text = text(bytes.clone()).map_err(error)?;
    let sample = |id: String| {
        let lost = || error(format!("its sample `{id}` has no file in any of the folders"));
        files.ids().find(&id).ok_or_else(lost)
    };
    parse(&text, &path, &names)?.into_iter().map(sample).collect()
}

fn parts(
    samples: BTreeSet<usize>,
    folders: usize,
    files: &dyn SampleFiles,
    size: ShardSize,
) -> Result<Vec<Vec<usize>>> {
    let mut parts: Vec<Vec<usize>> = Vec::new();
    let mut bytes = 0;
    for sample in samples {
        let own = match size {
            ShardSize::Bytes(_) => bytes_of(sample, folders, files)?,
            ShardSize::Samples(_) => 0,
        };
        bytes += own;
        let full = parts.last().is_none_or(|part| match size {
            ShardSize::Samples(most) => part.len() >= most,
            ShardSize::Bytes(most) => bytes > most,
        });
        if full {
            parts.push(Vec::new());
            bytes = own;
        }
        if let Some(part) = parts.last_mut() {
            part.push(sample);
        }
    }
    Ok(parts)
}

/// Bytes of a sample's members: headers, and files in whole blocks.
fn bytes_of(sample: usize, folders: usize, files: &dyn SampleFiles) -> Result<u64> {
    let mut bytes = 0;
    for folder in 0..folders {
        let Some(file) = files.file(sample, folder)? else { continue };
        let len = match files.state(sample, folder)?.len {
            Some(len) => len,
            // It has to be encoded to be measured.
            None => {
                let encoded = files.read(sample, folder);
                encoded.map_err(|problem| Error::File { path: file.path, problem })?.len() as u64
            }
        };
        bytes += BLOCK + len.next_multiple_of(BLOCK);
    }
    Ok(bytes)
}
