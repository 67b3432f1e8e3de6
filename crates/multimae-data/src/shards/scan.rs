//! One pass over the headers of a tar.

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::{IndexMap, IndexSet};
use multimae_io::positioned::read_exact_at;
use tar::{EntryType, Header, PaxExtensions};

use super::naming::{MemberName, is_readable};
use crate::names::composed;
use crate::{Error, Result};

/// Tars are made of blocks of this number of bytes.
pub(super) const BLOCK: u64 = 512;
/// The largest extended header that is read: names and attributes.
const LONGEST_HEADER: u64 = 1 << 20;
/// More fields than this are those of keys that are cut at a dot inside a name.
const MOST_FIELDS: usize = 64;

/// The first bytes of compressed files, the format, its ending, and the command that unpacks it.
const COMPRESSED: [(&[u8], &str, &str, &str); 4] = [
    (b"\x1f\x8b", "gzip", ".gz", "gunzip"),
    (b"\xfd7zXZ\0", "xz", ".xz", "unxz"),
    (b"\x28\xb5\x2f\xfd", "zstd", ".zst", "unzstd --rm"),
    (b"BZh", "bzip2", ".bz2", "bunzip2"),
];

/// The place of a member's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    /// The first block of [`BLOCK`] bytes; a header is before it, so it is not 0.
    pub(super) block: u32,
    /// Bytes.
    pub(super) len: u32,
}

/// The samples of a tar.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ScannedShard {
    /// The keys with a member that can be read, in their order in the file.
    pub(super) keys: Vec<String>,
    /// The fields that occur, in lower case.
    pub(super) fields: IndexSet<String>,
    /// Members by the place of their key and their field.
    pub(super) members: Vec<(u32, u32, Member)>,
    /// Fields that cannot be read, such as `json`, and the number of their members.
    pub(super) other_fields: BTreeMap<String, u64>,
}

/// Reads the headers of a tar.
///
/// # Errors
/// [`Error::Shard`] if it is compressed, cut, damaged, or its members do not follow the rule of
/// keys; [`Error::Io`].
pub(super) fn scan(path: &Path) -> Result<ScannedShard> {
    let fault = |problem| Error::Shard { path: path.to_owned(), problem };
    let file = fs_err::File::open(path)?;
    let len = file.metadata()?.len();
    let mut scanner = Scanner::default();
    let mut archive = Members { file: &file, len, at: 0, pending: Pending::default() };
    while let Some(member) = archive.next(path).map_err(fault)? {
        scanner.add(&member).map_err(fault)?;
    }
    Ok(scanner.shard)
}

/// A regular file of a tar.
struct RegularFile {
    path: String,
    offset: u64,
    len: u64,
}

/// The regular files of a tar, one after the other.
struct Members<'a> {
    file: &'a fs_err::File,
    /// Bytes of the file.
    len: u64,
    /// The next header.
    at: u64,
    pending: Pending,
}

/// Extended headers, which belong to the member behind them.
#[derive(Default)]
struct Pending {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl Members<'_> {
    fn next(&mut self, archive: &Path) -> Result<Option<RegularFile>, String> {
        loop {
            let Some(header) = self.header(archive)? else { return Ok(None) };
            let size = match self.pending.size {
                Some(size) if !is_extension(header.entry_type()) => size,
                _ => header.entry_size().map_err(|error| self.damaged(&error.to_string()))?,
            };
            let offset = self.at + BLOCK;
            let kind = header.entry_type();
            // Links and devices have no bytes, whatever size they state.
            let stored = if has_bytes(kind) { size } else { 0 };
            let end = offset.checked_add(stored).filter(|end| *end <= self.len);
            let end = end.ok_or_else(|| {
                format!(
                    "it ends after {} bytes, within the member `{}` of {size} bytes; it was cut, \
                     copy it again",
                    self.len,
                    self.name(&header)
                )
            })?;
            self.at = end.next_multiple_of(BLOCK);
            if is_extension(kind) {
                self.extend(kind, offset, size)?;
                continue;
            }
            let name = self.name(&header);
            if kind == EntryType::GNUSparse || self.pending.sparse {
                return Err(format!(
                    "`{name}` is a sparse file, which has no bytes of its own to read in place; \
                     pack again without --sparse"
                ));
            }
            let pending = std::mem::take(&mut self.pending);
            if !matches!(kind, EntryType::Regular | EntryType::Continuous) || name.ends_with('/') {
                continue;
            }
            let bytes = pending.path.unwrap_or_else(|| header.path_bytes().into_owned());
            let path = String::from_utf8(bytes)
                .map_err(|_| format!("the name of `{name}` is not valid UTF-8; rename it"))?;
            return Ok(Some(RegularFile { path, offset, len: size }));
        }
    }

    /// The next header, `None` at the end of the archive.
    fn header(&self, archive: &Path) -> Result<Option<Header>, String> {
        let mut header = Header::new_old();
        if self.at == self.len {
            let problem = match self.len {
                0 => "it is empty",
                _ => "it ends without the mark of an end: it was cut, or its writer was stopped",
            };
            return Err(format!("{problem}; copy or write it again"));
        }
        if self.at + BLOCK > self.len {
            return Err(self.foreign(archive));
        }
        self.read(header.as_mut_bytes(), self.at)?;
        if header.as_bytes().iter().all(|&byte| byte == 0) {
            return self.check_end().map(|()| None);
        }
        let stated = header.cksum().ok();
        if stated != Some(checksum(&header)) {
            return Err(if self.at == 0 {
                self.foreign(archive)
            } else {
                self.damaged("its checksum is wrong")
            });
        }
        Ok(Some(header))
    }

    /// Checks that only zeros follow the mark of the end: other readers, too, would miss the rest.
    fn check_end(&self) -> Result<(), String> {
        let mut block = [0; BLOCK as usize];
        let mut at = self.at + BLOCK;
        // Writers fill up to 20 blocks, or another number of kilobytes.
        while at + BLOCK <= self.len && at < self.at + (1 << 20) {
            self.read(&mut block, at)?;
            if block.iter().any(|&byte| byte != 0) {
                return Err(format!(
                    "after its end, at byte {}, follows another archive, which readers of tars do \
                     not see; join archives by `tar --concatenate --file=all.tar next.tar`",
                    self.at
                ));
            }
            at += BLOCK;
        }
        Ok(())
    }

    /// Reads an extended header.
    fn extend(&mut self, kind: EntryType, offset: u64, size: u64) -> Result<(), String> {
        if size > LONGEST_HEADER {
            return Err(self.damaged(&format!("an extended header has {size} bytes")));
        }
        let mut bytes = vec![0; size as usize];
        self.read(&mut bytes, offset)?;
        match kind {
            EntryType::GNULongName => {
                let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
                bytes.truncate(end);
                self.pending.path = Some(bytes);
            }
            EntryType::XHeader => {
                for extension in PaxExtensions::new(&bytes) {
                    let extension = extension.map_err(|error| self.damaged(&error.to_string()))?;
                    match extension.key_bytes() {
                        b"path" => self.pending.path = Some(extension.value_bytes().to_vec()),
                        b"size" => {
                            let size = extension.value().ok().and_then(|text| text.parse().ok());
                            let size = size.ok_or_else(|| self.damaged("a size cannot be read"))?;
                            self.pending.size = Some(size);
                        }
                        key if key.starts_with(b"GNU.sparse.") => self.pending.sparse = true,
                        _ => {}
                    }
                }
            }
            // Long names of links, and what holds for all members: no name, no size.
            _ => {}
        }
        Ok(())
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<(), String> {
        read_exact_at(self.file.file(), bytes, offset)
            .map_err(|error| format!("at byte {offset}: {error}"))
    }

    fn name(&self, header: &Header) -> String {
        let path = self.pending.path.as_deref();
        let header = header.path_bytes();
        String::from_utf8_lossy(path.unwrap_or(&header)).into_owned()
    }

    fn damaged(&self, problem: &str) -> String {
        format!("the header at byte {} is damaged ({problem}); copy or write it again", self.at)
    }

    /// The problem with a block that is no header.
    fn foreign(&self, archive: &Path) -> String {
        if self.at > 0 {
            let len = self.len;
            return format!(
                "it ends after {len} bytes, within a header; it was cut, copy it again"
            );
        }
        let mut start = [0; 6];
        let start = &mut start[..self.len.min(6) as usize];
        if let Err(problem) = self.read(start, 0) {
            return problem;
        }
        match COMPRESSED.iter().find(|(signature, ..)| start.starts_with(signature)) {
            Some((_, format, ending, unpack)) => {
                let name = archive.display();
                format!(
                    "it is compressed by {format}, so that its members cannot be read in place; \
                     unpack it: mv '{name}' '{name}{ending}' && {unpack} '{name}{ending}'"
                )
            }
            None => "it is not a tar archive".to_owned(),
        }
    }
}

/// The sum of a header's bytes, with blanks in the place of the sum itself.
fn checksum(header: &Header) -> u32 {
    let bytes = header.as_bytes().iter().enumerate();
    bytes.map(|(at, &byte)| if (148..156).contains(&at) { 32 } else { u32::from(byte) }).sum()
}

fn is_extension(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::GNULongName
            | EntryType::GNULongLink
            | EntryType::XHeader
            | EntryType::XGlobalHeader
    )
}

fn has_bytes(kind: EntryType) -> bool {
    !matches!(
        kind,
        EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Directory
            | EntryType::Fifo
    )
}

/// Puts members together into samples.
#[derive(Default)]
struct Scanner {
    shard: ScannedShard,
    /// The place of every key.
    places: IndexMap<String, Option<u32>>,
    /// The fields of the last key.
    last_fields: Vec<String>,
}

impl Scanner {
    fn add(&mut self, file: &RegularFile) -> Result<(), String> {
        let Some(name) = MemberName::of(&file.path) else { return Ok(()) };
        let key = composed(name.key);
        let last = self.places.last().is_some_and(|(last, _)| *last == key);
        if !last {
            if self.places.insert(key.clone(), None).is_some() {
                return Err(self.not_adjacent(&key, &file.path));
            }
            self.last_fields.clear();
        }
        if self.last_fields.contains(&name.field) {
            return Err(format!(
                "sample `{key}` has the field `{}` twice (`{}`): a key ends at the first dot of a \
                 name, so names with dots inside, as in frame.0001.jpg, fall together; rename \
                 them, for example to frame_0001.jpg",
                name.field, file.path
            ));
        }
        self.last_fields.push(name.field.clone());
        if !is_readable(&name.field) {
            *self.shard.other_fields.entry(name.field).or_default() += 1;
            return self.check_fields(&key);
        }
        let row = self.row(&key);
        let (column, _) = self.shard.fields.insert_full(name.field);
        let block = u32::try_from(file.offset / BLOCK).ok();
        let len = u32::try_from(file.len).ok();
        let (Some(block), Some(len)) = (block, len) else {
            return Err(format!(
                "member `{}` of {} bytes at byte {} is beyond the limits of an index (members of 4 \
                 GiB, shards of 2 TiB); write smaller shards",
                file.path, file.len, file.offset
            ));
        };
        self.shard.members.push((row, column as u32, Member { block, len }));
        self.check_fields(&key)
    }

    /// The place of the last key, which has a member that can be read.
    fn row(&mut self, key: &str) -> u32 {
        let next = self.shard.keys.len() as u32;
        let Some(place) = self.places.get_mut(key) else { return next };
        *place.get_or_insert_with(|| {
            self.shard.keys.push(key.to_owned());
            next
        })
    }

    fn not_adjacent(&self, key: &str, path: &str) -> String {
        format!(
            "the members of sample `{key}` are not adjacent: `{path}` follows after other samples, \
             and readers of a stream would take it for another sample; write the tar again in the \
             order of names, for example by `tar --sort=name -cf`"
        )
    }

    fn check_fields(&self, key: &str) -> Result<(), String> {
        let fields = self.shard.fields.len() + self.shard.other_fields.len();
        if fields <= MOST_FIELDS {
            return Ok(());
        }
        let names: Vec<&str> = self.shard.fields.iter().map(String::as_str).take(3).collect();
        Err(format!(
            "it has more than {MOST_FIELDS} fields per sample ({}, ... at sample `{key}`): a key \
             ends at the first dot of a name, so names with dots inside, as in frame.0001.jpg, fall \
             together; rename them, for example to frame_0001.jpg",
            names.join(", ")
        ))
    }
}
