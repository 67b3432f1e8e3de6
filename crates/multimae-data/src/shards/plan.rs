//! The samples of the shards to write.

use std::collections::BTreeSet;
use std::path::Path;

use super::scan::BLOCK;
use super::write::{ShardOptions, ShardSize};
use crate::file_source::FileSource;
use crate::files::Files;
use crate::lists::{Names, parse, read};
use crate::{Error, Result};

/// A shard to write.
pub(super) struct PlannedShard {
    /// The split, or the name of all.
    pub(super) series: String,
    /// The name of the file.
    pub(super) name: String,
    pub(super) ids: Vec<String>,
}

/// The name of the shards of all samples.
const ALL: &str = "shard";

/// Distributes samples over shards, in the order of their ids.
///
/// # Errors
/// [`Error::Config`] if a shard would have no sample; [`Error::List`] if a list is damaged, or names
/// samples that are not there or are in two lists; [`Error::Io`].
pub(super) fn plan(
    root: &Path,
    files: &[Files],
    folders: &[String],
    options: &ShardOptions,
) -> Result<Vec<PlannedShard>> {
    if matches!(options.size, ShardSize::Samples(0) | ShardSize::Bytes(0)) {
        return Err(Error::Config("a shard holds at least one sample".to_owned()));
    }
    let all: BTreeSet<&str> =
        files.iter().flat_map(|files| files.usable.keys()).map(String::as_str).collect();
    let mut series: Vec<(&str, BTreeSet<String>)> = Vec::new();
    for split in &options.splits {
        let path = root.join(format!("{split}.txt"));
        let error = |problem| Err(Error::List { path: path.clone(), problem });
        let known = |id: &str| all.contains(id);
        let sources = folders.iter().map(|folder| FileSource::parse(folder)).collect();
        let names = Names { known: &known, sources };
        let ids: BTreeSet<String> = parse(&read(&path)?, &path, &names)?.into_iter().collect();
        if let Some(id) = ids.iter().find(|id| !all.contains(id.as_str())) {
            return error(format!("its sample `{id}` has no file in any of the folders"));
        }
        for (other, others) in &series {
            if let Some(id) = ids.intersection(others).next() {
                return error(format!(
                    "its sample `{id}` is in the list {other}, too; write one series of all samples, \
                     which keeps the lists as they are"
                ));
            }
        }
        series.push((split, ids));
    }
    if series.is_empty() {
        series.push((ALL, all.into_iter().map(str::to_owned).collect()));
    }
    let mut shards = Vec::new();
    for (name, ids) in series {
        let parts = parts(ids, files, options.size)?;
        shards.extend(parts.into_iter().enumerate().map(|(number, ids)| PlannedShard {
            series: name.to_owned(),
            name: format!("{name}-{number:05}.tar"),
            ids,
        }));
    }
    Ok(shards)
}

fn parts(ids: BTreeSet<String>, files: &[Files], size: ShardSize) -> Result<Vec<Vec<String>>> {
    let mut parts: Vec<Vec<String>> = Vec::new();
    let mut bytes = 0;
    for id in ids {
        let own = match size {
            ShardSize::Bytes(_) => bytes_of(&id, files)?,
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
            part.push(id);
        }
    }
    Ok(parts)
}

/// Bytes of a sample's members: headers, and files in whole blocks.
fn bytes_of(id: &str, files: &[Files]) -> Result<u64> {
    let paths = files.iter().filter_map(|files| files.usable.get(id)?.first());
    let sizes = paths.map(|path| {
        let len = fs_err::metadata(path)?.len();
        Ok(BLOCK + len.next_multiple_of(BLOCK))
    });
    sizes.sum()
}
