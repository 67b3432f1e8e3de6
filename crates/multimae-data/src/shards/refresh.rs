//! Indexes of folders: read, and made again where shards have changed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

use multimae_io::atomic::{remove_stale_parts, write_atomically};
use multimae_io::mapping;

use super::index::{FileState, Index, ShardTable};
use super::observer::{Indexing, notify};
use super::scan::scan;
use crate::{Error, Result};

/// The name of an index, in the folder of its shards.
pub const INDEX_FILE: &str = "shards.index";
/// The least number of threads that scan: they wait for the disk more than they compute.
const LEAST_THREADS: usize = 4;

/// The tables of some shards of one folder.
pub(super) struct Tables {
    /// In the order of the names.
    pub(super) tables: Vec<ShardTable>,
    /// For the user: an index could not be written.
    pub(super) notice: Option<String>,
}

impl FileState {
    /// # Errors
    /// If there is no such file; the message names it.
    pub(super) fn of(path: &Path) -> Result<Self> {
        Ok(Self::from(&fs_err::metadata(path)?))
    }
}

impl From<&std::fs::Metadata> for FileState {
    fn from(metadata: &std::fs::Metadata) -> Self {
        let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = since.and_then(|time| u64::try_from(time.as_nanos()).ok()).unwrap_or(0);
        Self { len: metadata.len(), modified }
    }
}

/// The tables of shards by the index of their folder. Shards that are not in it, or have changed
/// since, are scanned, and the index is written again.
///
/// # Errors
/// [`Error::Shard`] for the first shard that cannot be used; [`Error::Io`].
pub(super) fn tables(folder: &Path, names: &[String]) -> Result<Tables> {
    let states = names.iter().map(|name| FileState::of(&folder.join(name)));
    let states = states.collect::<Result<Vec<_>>>()?;
    let path = folder.join(INDEX_FILE);
    let mut known = load(&path);
    let stale: Vec<usize> = (0..names.len())
        .filter(|&at| known.get(&names[at]).is_none_or(|table| table.state != states[at]))
        .collect();
    let mut notice = None;
    if !stale.is_empty() {
        for table in scan_all(folder, names, &states, &stale)? {
            known.insert(table.name.clone(), table);
        }
        known.retain(|name, table| {
            let now = FileState::of(&folder.join(name));
            now.is_ok_and(|now| now == table.state)
        });
        match write(&path, &known) {
            // The written file is mapped: its pages are not the memory of this process.
            Ok(()) => known = replaced(known, &path),
            Err(problem) => {
                notice = Some(format!(
                    "the index of the shards in {} could not be written ({problem}); it is kept in \
                     memory and made again at every start",
                    folder.display()
                ));
            }
        }
    }
    let changed = |name: &String| Error::Shard {
        path: folder.join(name),
        problem: "it changed while its index was made; wait until it is written".to_owned(),
    };
    let tables = names.iter().map(|name| known.remove(name).ok_or_else(|| changed(name)));
    Ok(Tables { tables: tables.collect::<Result<_>>()?, notice })
}

/// The tables of an index by the names of the shards; none if there is no index of this version.
pub(super) fn load(path: &Path) -> HashMap<String, ShardTable> {
    let index = mapping::contents(path).ok().and_then(|bytes| Index::parse(&bytes));
    let tables = index.map(Index::into_tables).unwrap_or_default();
    tables.into_iter().map(|table| (table.name.clone(), table)).collect()
}

/// The same tables from a file, where that has them.
fn replaced(mut known: HashMap<String, ShardTable>, path: &Path) -> HashMap<String, ShardTable> {
    for (name, table) in load(path) {
        if known.get(&name).is_some_and(|old| old.state == table.state) {
            known.insert(name, table);
        }
    }
    known
}

fn write(path: &Path, known: &HashMap<String, ShardTable>) -> Result<(), String> {
    let mut tables: Vec<ShardTable> = known.values().cloned().collect();
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    let bytes = Index::new(tables).to_bytes()?;
    let write = || {
        remove_stale_parts(path.parent().unwrap_or(Path::new(".")))?;
        write_atomically(path, &bytes)
    };
    write().map_err(|error: std::io::Error| error.to_string())
}

/// Scans shards in several threads; the first one that fails is the error.
fn scan_all(
    folder: &Path,
    names: &[String],
    states: &[FileState],
    stale: &[usize],
) -> Result<Vec<ShardTable>> {
    let next = AtomicUsize::new(0);
    let total = stale.len() as u64;
    let found = Mutex::new(Vec::with_capacity(stale.len()));
    let lock = || found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.max(LEAST_THREADS).min(stale.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&at) = stale.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let table = scan_one(folder, &names[at], states[at]);
                    if table.is_err() {
                        next.store(stale.len(), Ordering::Relaxed);
                    }
                    // Observers are called one after the other.
                    let mut found = lock();
                    found.push((at, table));
                    notify(Indexing { folder, done: found.len() as u64, total });
                }
            });
        }
    });
    notify(Indexing { folder, done: total, total });
    let mut found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, table)| table).collect()
}

pub(super) fn scan_one(folder: &Path, name: &str, state: FileState) -> Result<ShardTable> {
    let path = folder.join(name);
    let table = ShardTable::of(name, state, scan(&path)?);
    table.ok_or_else(|| Error::Shard {
        path,
        problem: "its keys take more than 4 GiB; write smaller shards".to_owned(),
    })
}
