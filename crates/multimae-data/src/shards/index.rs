//! The index of a folder's shards: the keys and the places of all members.
//!
//! Little-endian throughout:
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | the signature |
//! | 8..12 | the version |
//! | 12..16 | CRC-32 of all that follows |
//! | 16..24 | the length of the description |
//! | description | names, sizes, times, fields and numbers of samples of the shards ([postcard](https://postcard.jamesmunns.com)) |
//! | per shard | the end of every key (u32); by sample and field the first block and the length of the member (u32 each, 0 for none); the keys |
//!
//! A member takes 8 bytes and a key 4 more than its text. The file is mapped and used as it is.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::scan::{Member, ScannedShard};

/// The signature. The bytes around the letters tell when a transfer took the file for text.
const SIGNATURE: [u8; 8] = *b"\x89MMI\r\n\x1a\n";
/// The version of the format that is written, and the only one that is read.
const VERSION: u32 = 1;
/// The most bytes of names that are copied per byte of an index, so that a damaged one takes no more
/// memory than shards could.
const MOST_COPIES: usize = 64;
/// Bytes before the description.
const HEADER_LEN: usize = 24;

/// The state of a shard by which a changed one is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileState {
    /// Bytes.
    pub(super) len: u64,
    /// Nanoseconds between 1970 and the last change.
    pub(super) modified: u64,
}

/// A shard, apart from its keys and members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ShardEntry {
    name: String,
    state: FileState,
    rows: u32,
    /// Bytes of all keys.
    keys: u32,
    /// Numbers of the fields, in the order of the columns.
    fields: Vec<u32>,
    /// Fields that cannot be read, and the number of their members.
    other_fields: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Description {
    fields: Vec<String>,
    shards: Vec<ShardEntry>,
}

/// The index of a folder's shards.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    tables: Vec<ShardTable>,
}

/// The samples of a shard.
#[derive(Debug, Clone)]
pub(super) struct ShardTable {
    pub(super) name: String,
    pub(super) state: FileState,
    pub(super) rows: usize,
    /// The fields, in the order of the columns.
    pub(super) fields: Vec<String>,
    pub(super) other_fields: BTreeMap<String, u64>,
    key_ends: Bytes,
    members: Bytes,
    keys: Bytes,
}

impl ShardTable {
    /// The table of a shard that was scanned; `None` if its keys have more than 4 GiB.
    pub(super) fn of(name: &str, state: FileState, shard: ScannedShard) -> Option<Self> {
        let mut keys = Vec::new();
        let mut key_ends = Vec::with_capacity(4 * shard.keys.len());
        for key in &shard.keys {
            keys.extend_from_slice(key.as_bytes());
            key_ends.extend_from_slice(&u32::try_from(keys.len()).ok()?.to_le_bytes());
        }
        let (rows, columns) = (shard.keys.len(), shard.fields.len());
        let mut members = vec![0; MEMBER * rows * columns];
        for (row, column, member) in shard.members {
            let at = MEMBER * (row as usize * columns + column as usize);
            members[at..at + 4].copy_from_slice(&member.block.to_le_bytes());
            members[at + 4..at + MEMBER].copy_from_slice(&member.len.to_le_bytes());
        }
        Some(Self {
            name: name.to_owned(),
            state,
            rows,
            fields: shard.fields.into_iter().collect(),
            other_fields: shard.other_fields,
            key_ends: key_ends.into(),
            members: members.into(),
            keys: keys.into(),
        })
    }

    /// The key of a sample.
    pub(super) fn key(&self, row: usize) -> &str {
        let start = row.checked_sub(1).map_or(0, |before| u32_at(&self.key_ends, before));
        let bytes = self.keys.get(start as usize..u32_at(&self.key_ends, row) as usize);
        // The checksum vouches for the text.
        bytes.and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// The member of a sample in a column, if it has one.
    pub(super) fn member(&self, row: usize, column: usize) -> Option<Member> {
        let at = 2 * (row * self.fields.len() + column);
        let (block, len) = (u32_at(&self.members, at), u32_at(&self.members, at + 1));
        (block > 0).then_some(Member { block, len })
    }

    /// Whether another shard has the same keys in the same order.
    pub(super) fn has_keys_of(&self, other: &Self) -> bool {
        self.key_ends == other.key_ends && self.keys == other.keys
    }
}

/// Bytes of the place of a member.
const MEMBER: usize = 8;

/// The `index`-th number; 0 beyond the end.
fn u32_at(bytes: &[u8], index: usize) -> u32 {
    let number = bytes.get(4 * index..4 * index + 4).and_then(|bytes| bytes.try_into().ok());
    number.map_or(0, u32::from_le_bytes)
}

impl Index {
    pub(super) fn new(tables: Vec<ShardTable>) -> Self {
        Self { tables }
    }

    pub(super) fn into_tables(self) -> Vec<ShardTable> {
        self.tables
    }

    /// # Errors
    /// If it cannot be written as bytes.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut names = indexmap::IndexSet::new();
        let shards = self.tables.iter().map(|table| ShardEntry {
            name: table.name.clone(),
            state: table.state,
            rows: table.rows as u32,
            keys: table.keys.len() as u32,
            fields: table
                .fields
                .iter()
                .map(|field| names.insert_full(field.clone()).0 as u32)
                .collect(),
            other_fields: table.other_fields.clone(),
        });
        let shards = shards.collect();
        let description = Description { fields: names.into_iter().collect(), shards };
        let description = postcard::to_allocvec(&description).map_err(|e| e.to_string())?;
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&SIGNATURE);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&(description.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&description);
        for table in &self.tables {
            bytes.extend_from_slice(&table.key_ends);
            bytes.extend_from_slice(&table.members);
            bytes.extend_from_slice(&table.keys);
        }
        let crc = crc32fast::hash(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        Ok(bytes)
    }

    /// Reads an index. `None` if it is damaged or of another version: it is only a copy of what the
    /// shards say, and is made again.
    pub(super) fn parse(bytes: &Bytes) -> Option<Self> {
        let header = bytes.get(..HEADER_LEN).filter(|bytes| bytes.starts_with(&SIGNATURE))?;
        if u32_at(header, 2) != VERSION || u32_at(header, 3) != crc32fast::hash(&bytes[16..]) {
            return None;
        }
        let len = u64::from_le_bytes(header[16..].try_into().ok()?);
        let mut rest = bytes.slice(HEADER_LEN..);
        let mut take = |len: usize| (len <= rest.len()).then(|| rest.split_to(len));
        let description = take(usize::try_from(len).ok()?)?;
        let Description { fields, shards } = postcard::from_bytes(&description).ok()?;
        let mut tables = Vec::with_capacity(shards.len());
        // Every shard has a copy of the names of its fields, which the file has once.
        let mut copied = bytes.len().saturating_mul(MOST_COPIES);
        for shard in shards {
            let (rows, columns) = (shard.rows as usize, shard.fields.len());
            for &field in &shard.fields {
                copied = copied.checked_sub(fields.get(field as usize)?.len())?;
            }
            let names = shard.fields.iter().map(|&field| fields.get(field as usize).cloned());
            tables.push(ShardTable {
                name: shard.name,
                state: shard.state,
                rows,
                fields: names.collect::<Option<_>>()?,
                other_fields: shard.other_fields,
                key_ends: take(4 * rows)?,
                members: take(rows.checked_mul(columns)?.checked_mul(MEMBER)?)?,
                keys: take(shard.keys as usize)?,
            });
        }
        rest.is_empty().then_some(Self { tables })
    }
}

/// Reads an index with these bytes behind its checksum, and all keys and members that it holds.
#[cfg(any(test, fuzzing))]
#[cfg_attr(not(fuzzing), allow(unreachable_pub, reason = "public to fuzz targets alone"))]
pub fn read_all(rest: &[u8]) {
    let checksum = crc32fast::hash(rest).to_le_bytes();
    let bytes = [&SIGNATURE[..], &VERSION.to_le_bytes(), &checksum, rest].concat();
    let Some(index) = Index::parse(&bytes.into()) else { return };
    for table in index.into_tables() {
        for row in 0..table.rows {
            let _ = table.key(row);
            for column in 0..table.fields.len() {
                let _ = table.member(row, column);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index() -> Index {
        let state = FileState { len: 4096, modified: 1 << 60 };
        let member = |block| Member { block, len: 100 * block };
        let shard = ScannedShard {
            keys: vec!["a/0001".to_owned(), "b".to_owned()],
            fields: ["jpg".to_owned(), "depth.png".to_owned()].into_iter().collect(),
            members: vec![(0, 0, member(1)), (0, 1, member(3)), (1, 1, member(5))],
            other_fields: [("json".to_owned(), 2)].into_iter().collect(),
        };
        let empty = ScannedShard::default();
        let tables = [("0.tar", shard), ("1.tar", empty)];
        let table = |(name, shard)| ShardTable::of(name, state, shard).unwrap();
        Index::new(tables.map(table).into())
    }

    #[test]
    fn an_index_is_read_as_written() {
        let bytes = Bytes::from(index().to_bytes().unwrap());
        let read = Index::parse(&bytes).unwrap();
        let [first, second] = &read.into_tables()[..] else { panic!("two shards") };
        assert_eq!((first.rows, second.rows), (2, 0));
        assert_eq!((first.name.as_str(), first.state.len), ("0.tar", 4096));
        assert_eq!((first.key(0), first.key(1)), ("a/0001", "b"));
        assert_eq!(first.member(0, 1), Some(Member { block: 3, len: 300 }));
        assert_eq!(first.member(1, 0), None);
        assert_eq!(first.fields, ["jpg", "depth.png"]);
        assert_eq!(first.other_fields["json"], 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 2000, failure_persistence: None, ..ProptestConfig::default()
        })]

        /// Reads indexes whose descriptions claim more than they have.
        #[test]
        fn an_index_with_a_right_checksum_and_other_bytes_never_panics(
            places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            end in any::<prop::sample::Index>(), cut: bool,
        ) {
            let mut rest = index().to_bytes().unwrap()[16..].to_vec();
            for (at, value) in places {
                let at = at.index(rest.len());
                rest[at] = value;
            }
            if cut {
                rest.truncate(end.index(rest.len()));
            }
            read_all(&rest);
        }
    }

    #[test]
    fn names_that_are_copied_too_often_are_damage() {
        let state = FileState { len: 4096, modified: 1 };
        let name = "x".repeat(10_000);
        let shard = |number: usize| {
            let fields = [format!("{name}.png")].into_iter().collect();
            let shard = ScannedShard { fields, ..ScannedShard::default() };
            ShardTable::of(&format!("{number}.tar"), state, shard).unwrap()
        };
        let parsed = |shards: usize| {
            let bytes = Index::new((0..shards).map(shard).collect()).to_bytes().unwrap();
            Index::parse(&bytes.into())
        };
        assert!(parsed(60).is_some());
        assert!(parsed(600).is_none());
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let bytes = index().to_bytes().unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            assert!(Index::parse(&changed.into()).is_none(), "byte {at}");
            assert!(Index::parse(&bytes[..at].to_vec().into()).is_none(), "{at} bytes");
        }
    }
}
