//! The samples of shards, by the place of their keys.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::index::ShardTable;

/// No row.
const NONE: u32 = u32::MAX;

/// The shards of the same samples, one per folder.
#[derive(Debug)]
pub(super) struct ShardGroup {
    /// The first part of the ids, if the shard holds a class.
    class: Option<String>,
    /// In the order of the folders.
    pub(super) shards: Vec<Shard>,
}

/// One tar.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) path: PathBuf,
    pub(super) table: ShardTable,
    /// Its rows by those of the group's first shard, if they differ.
    rows: Option<Vec<u32>>,
}

/// A key that the first shard of a group lacks, and the folders that have it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ExtraKey {
    pub(super) id: String,
    pub(super) present: Vec<bool>,
}

impl Shard {
    pub(super) fn new(path: PathBuf, table: ShardTable) -> Self {
        Self { path, table, rows: None }
    }

    /// Its row of a row of the group.
    pub(super) fn row(&self, row: usize) -> Option<usize> {
        match &self.rows {
            None => Some(row),
            Some(rows) => rows.get(row).filter(|&&row| row != NONE).map(|&row| row as usize),
        }
    }
}

impl ShardGroup {
    /// Pairs the keys of shards. Also gives the keys that the first one lacks.
    pub(super) fn new(class: Option<&str>, shards: Vec<Shard>) -> (Self, Vec<ExtraKey>) {
        let mut group = Self { class: None, shards };
        let first_key = group.shards.first().filter(|shard| shard.table.rows > 0);
        let first_key = first_key.map(|shard| shard.table.key(0)).unwrap_or_default();
        // Some tars of a class have its folder inside.
        let inside = |class: &&str| !first_key.starts_with(&format!("{class}/"));
        group.class = class.filter(inside).map(str::to_owned);
        let extra = group.pair();
        (group, extra)
    }

    fn pair(&mut self) -> Vec<ExtraKey> {
        let Some((first, others)) = self.shards.split_first_mut() else { return Vec::new() };
        let mut extra: indexmap::IndexMap<String, Vec<bool>> = indexmap::IndexMap::new();
        let folders = others.len() + 1;
        for (place, other) in others.iter_mut().enumerate() {
            if other.table.has_keys_of(&first.table) {
                continue;
            }
            let mut rows: HashMap<&str, u32> =
                (0..other.table.rows).map(|row| (other.table.key(row), row as u32)).collect();
            let own = |row| rows.remove(first.table.key(row)).unwrap_or(NONE);
            let paired = (0..first.table.rows).map(own).collect();
            let mut left: Vec<u32> = rows.into_values().collect();
            left.sort_unstable();
            for row in left {
                let key = other.table.key(row as usize).to_owned();
                extra.entry(key).or_insert_with(|| vec![false; folders])[place + 1] = true;
            }
            other.rows = Some(paired);
        }
        let keys = extra.into_iter();
        keys.map(|(key, present)| ExtraKey { id: self.id_of(&key).into_owned(), present }).collect()
    }

    /// The number of samples.
    pub(super) fn rows(&self) -> usize {
        self.shards.first().map_or(0, |shard| shard.table.rows)
    }

    /// The first shard.
    pub(super) fn path(&self) -> &Path {
        self.shards.first().map_or(Path::new(""), |shard| &shard.path)
    }

    /// The id of a sample.
    pub(super) fn id(&self, row: usize) -> Cow<'_, str> {
        self.id_of(self.shards.first().map(|shard| shard.table.key(row)).unwrap_or_default())
    }

    fn id_of<'a>(&self, key: &'a str) -> Cow<'a, str> {
        match &self.class {
            None => Cow::Borrowed(key),
            Some(class) => Cow::Owned(format!("{class}/{key}")),
        }
    }

    /// The first key that a shard has in another place than the first shard of the group.
    pub(super) fn first_moved(&self) -> Option<(&Shard, &str)> {
        let first = self.shards.first()?;
        self.shards.iter().find_map(|shard| {
            let rows = shard.rows.as_ref()?;
            let moved =
                rows.iter().enumerate().find(|(at, row)| *at as u32 != **row && **row != NONE);
            moved.map(|(at, _)| (shard, first.table.key(at)))
        })
    }
}

/// The groups of a data set as one sequence of rows.
#[derive(Debug)]
pub(super) struct Rows {
    groups: Vec<ShardGroup>,
    /// The first row of every group, then the number of rows.
    starts: Vec<usize>,
}

impl Rows {
    pub(super) fn new(groups: Vec<ShardGroup>) -> Self {
        let mut starts = vec![0];
        for group in &groups {
            starts.push(starts.last().copied().unwrap_or(0) + group.rows());
        }
        Self { groups, starts }
    }

    pub(super) fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    pub(super) fn groups(&self) -> &[ShardGroup] {
        &self.groups
    }

    /// The number of the group, the group, and the row in it.
    pub(super) fn place(&self, row: usize) -> Option<(usize, &ShardGroup, usize)> {
        let number = self.starts.partition_point(|start| *start <= row).checked_sub(1)?;
        Some((number, self.groups.get(number)?, row - self.starts[number]))
    }

    pub(super) fn id(&self, row: usize) -> Cow<'_, str> {
        self.place(row).map(|(_, group, row)| group.id(row)).unwrap_or_default()
    }

    /// All rows in the order of their ids, or two rows of the same id.
    pub(super) fn sorted(&self) -> Result<Vec<u32>, [u32; 2]> {
        let mut ids = Vec::with_capacity(self.len());
        for group in &self.groups {
            ids.extend((0..group.rows()).map(|row| group.id(row)));
        }
        let mut rows: Vec<(u128, u32)> = (0..ids.len() as u32).map(|row| (0, row)).collect();
        match sort_by_id(&mut rows, &ids, 0) {
            Some(twice) => Err(twice),
            None => Ok(rows.into_iter().map(|(_, row)| row).collect()),
        }
    }
}

/// Sorts rows whose ids are equal up to a place. Gives two rows of the same id, if there are any.
///
/// Comparing texts all over a file is slow, and the ids of a data set begin alike: rows are sorted
/// by 16 bytes behind their common beginning, and those that are still equal once more.
fn sort_by_id(rows: &mut [(u128, u32)], ids: &[Cow<'_, str>], from: usize) -> Option<[u32; 2]> {
    let id = |row: u32| ids.get(row as usize).map(|id| id.as_bytes()).unwrap_or_default();
    let (_, first) = *rows.first()?;
    let mut common = id(first).len();
    for (_, row) in rows.iter() {
        let equal = id(*row).iter().zip(id(first)).skip(from).take(common - from);
        common = from + equal.take_while(|(a, b)| a == b).count();
    }
    for (leading, row) in rows.iter_mut() {
        *leading = leading_bytes(id(*row), common);
    }
    rows.sort_unstable();
    let next = common + size_of::<u128>();
    for equal in rows.chunk_by_mut(|a, b| a.0 == b.0).filter(|rows| rows.len() > 1) {
        // Names have no zero bytes, so bytes behind the end of all of these make no difference.
        if let Some(ended) = equal.iter().position(|(_, row)| id(*row).len() < next) {
            let other = usize::from(ended == 0);
            return Some([equal[other.min(ended)].1, equal[other.max(ended)].1]);
        }
        if let Some(twice) = sort_by_id(equal, ids, next) {
            return Some(twice);
        }
    }
    None
}

/// 16 bytes of an id from a place on, as a number that sorts alike.
fn leading_bytes(id: &[u8], from: usize) -> u128 {
    let mut bytes = [0; 16];
    for (byte, own) in bytes.iter_mut().zip(id.get(from..).unwrap_or_default()) {
        *byte = *own;
    }
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_sorted_by_their_ids(
            ids in prop::collection::vec("[ab]{0,3}(0{14,18})?[abé]{1,3}", 1..60),
        ) {
            let texts: Vec<Cow<'_, str>> = ids.iter().map(|id| Cow::Borrowed(&**id)).collect();
            let mut rows: Vec<(u128, u32)> = (0..ids.len() as u32).map(|row| (0, row)).collect();
            let twice = sort_by_id(&mut rows, &texts, 0);
            let mut sorted = ids.clone();
            sorted.sort();
            match twice {
                Some([first, second]) => {
                    prop_assert!(first != second);
                    prop_assert_eq!(&ids[first as usize], &ids[second as usize]);
                }
                None => {
                    prop_assert!(sorted.windows(2).all(|pair| pair[0] != pair[1]));
                    let found: Vec<&String> = rows.iter().map(|(_, row)| &ids[*row as usize]).collect();
                    prop_assert_eq!(found, sorted.iter().collect::<Vec<_>>());
                }
            }
        }
    }
}
