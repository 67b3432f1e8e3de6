//! Zip archives in memory, as PyTorch and NumPy write them.
//!
//! Sizes come from the file and are never trusted: stored entries are parts of the file, deflated
//! ones are unpacked up to a bound that depends on the size of the file.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;
use indexmap::IndexMap;

use super::Problem;

/// How every local header of a zip file begins, and so most zip files.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";
const CENTRAL_MAGIC: &[u8] = b"PK\x01\x02";
const END_MAGIC: &[u8] = b"PK\x05\x06";
const END64_MAGIC: &[u8] = b"PK\x06\x06";
const LOCATOR64_MAGIC: &[u8] = b"PK\x06\x07";

const LOCAL_LEN: usize = 30;
const CENTRAL_LEN: usize = 46;
const END_LEN: usize = 22;
const END64_LEN: usize = 56;
const LOCATOR64_LEN: usize = 20;
/// The end record is followed by a comment of at most this length.
const MAX_COMMENT: usize = u16::MAX as usize;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const ENCRYPTED: u16 = 1;
/// The extra field with the 64-bit sizes.
const ZIP64_FIELD: u16 = 1;

/// All deflated entries together may unpack to this much, and [`INFLATE_RATIO`] times the file.
const INFLATE_FREE: u64 = 256 << 20;
const INFLATE_RATIO: u64 = 64;

/// Where an entry's content is.
#[derive(Debug, Clone)]
struct Entry {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    header: u64,
}

/// A zip archive.
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    entries: IndexMap<String, Entry>,
    /// Bytes that may still be unpacked.
    inflate: Cell<u64>,
}

impl<'a> Archive<'a> {
    /// Reads the directory of an archive.
    ///
    /// # Errors
    /// If there is none, or it is damaged.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Problem> {
        let (offset, size, count) = find_directory(bytes)?;
        let directory =
            part(bytes, offset, size).ok_or("damaged: the zip directory is outside of the file")?;
        let entries = read_directory(directory, count)?;
        let inflate = INFLATE_FREE.saturating_add(bytes.len() as u64 * INFLATE_RATIO);
        Ok(Self { bytes, entries, inflate: Cell::new(inflate) })
    }

    /// The names of the entries in the order of the directory.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The content of an entry, checked against its checksum.
    ///
    /// # Errors
    /// If there is no such entry, it is damaged, or it unpacks to more than is allowed.
    pub(super) fn read(&self, name: &str) -> Result<Cow<'a, [u8]>, Problem> {
        let damaged = |what: &str| format!("damaged: entry `{name}` {what}");
        let entry = self.entries.get(name).ok_or_else(|| damaged("is missing"))?;
        if entry.flags & ENCRYPTED != 0 {
            return Err(format!("entry `{name}` is encrypted"));
        }
        let packed = self.packed(entry).ok_or_else(|| damaged("is outside of the file"))?;
        let content = match entry.method {
            STORED if entry.packed == entry.size => Cow::Borrowed(packed),
            STORED => return Err(damaged("has two sizes")),
            DEFLATED => Cow::Owned(self.inflate(packed, entry.size).map_err(|e| damaged(&e))?),
            other => return Err(format!("entry `{name}` is packed by method {other}")),
        };
        // 0 stands for none: PyTorch can be told not to compute checksums.
        if entry.crc != 0 && checksum(&content) != entry.crc {
            return Err(damaged("does not match its checksum"));
        }
        Ok(content)
    }

    fn packed(&self, entry: &Entry) -> Option<&'a [u8]> {
        let header = part(self.bytes, entry.header, LOCAL_LEN as u64)?;
        if !header.starts_with(MAGIC) {
            return None;
        }
        let names = u64::from(u16_at(header, 26)?) + u64::from(u16_at(header, 28)?);
        let start = entry.header.checked_add(LOCAL_LEN as u64)?.checked_add(names)?;
        part(self.bytes, start, entry.packed)
    }

    fn inflate(&self, packed: &[u8], size: u64) -> Result<Vec<u8>, Problem> {
        let left = self.inflate.get();
        let left = left.checked_sub(size).ok_or("unpacks to more than is allowed")?;
        self.inflate.set(left);
        // Grows as it is read: nothing is allocated for a size that is only claimed.
        let mut content = Vec::new();
        DeflateDecoder::new(packed)
            .take(size.saturating_add(1))
            .read_to_end(&mut content)
            .map_err(|e| format!("does not unpack: {e}"))?;
        if content.len() as u64 != size {
            return Err("unpacks to another size than it says".to_owned());
        }
        Ok(content)
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn part(bytes: &[u8], start: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    bytes.get(start..end)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

/// Offset and size of the directory and the number of its entries.
fn find_directory(bytes: &[u8]) -> Result<(u64, u64, u64), Problem> {
    let end = find_end(bytes).ok_or("not a zip file, or cut off: it has no zip directory")?;
    let found = match end64(bytes, end) {
        Some(found) => Some(found),
        None => end_record(bytes, end),
    };
    found.ok_or_else(|| "damaged: the end of the zip file makes no sense".to_owned())
}

fn find_end(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(END_LEN)?;
    (last.saturating_sub(MAX_COMMENT)..=last).rev().find(|&at| {
        bytes[at..].starts_with(END_MAGIC)
            && u16_at(bytes, at + 20).is_some_and(|len| at + END_LEN + len as usize == bytes.len())
    })
}

fn end_record(bytes: &[u8], at: usize) -> Option<(u64, u64, u64)> {
    let (count, size, offset) =
        (u16_at(bytes, at + 10)?, u32_at(bytes, at + 12)?, u32_at(bytes, at + 16)?);
    Some((offset.into(), size.into(), count.into()))
}

/// The 64-bit form of the end record, where there is one.
fn end64(bytes: &[u8], end: usize) -> Option<(u64, u64, u64)> {
    let locator = end.checked_sub(LOCATOR64_LEN)?;
    if !bytes[locator..].starts_with(LOCATOR64_MAGIC) {
        return None;
    }
    let record = part(bytes, u64_at(bytes, locator + 8)?, END64_LEN as u64)?;
    if !record.starts_with(END64_MAGIC) {
        return None;
    }
    Some((u64_at(record, 48)?, u64_at(record, 40)?, u64_at(record, 32)?))
}

fn read_directory(directory: &[u8], count: u64) -> Result<IndexMap<String, Entry>, Problem> {
    let mut entries = IndexMap::new();
    let mut rest = directory;
    for _ in 0..count {
        let (name, entry, len) =
            read_entry(rest).ok_or("damaged: the zip directory makes no sense")?;
        if entries.insert(name.clone(), entry).is_some() {
            return Err(format!("damaged: two entries are called `{name}`"));
        }
        rest = &rest[len..];
    }
    Ok(entries)
}

/// The first entry of the rest of the directory, and its length.
fn read_entry(bytes: &[u8]) -> Option<(String, Entry, usize)> {
    if !bytes.starts_with(CENTRAL_MAGIC) {
        return None;
    }
    let len_at = |at| u16_at(bytes, at).map(usize::from);
    let (name_len, extra_len, comment_len) = (len_at(28)?, len_at(30)?, len_at(32)?);
    let extra_start = CENTRAL_LEN + name_len;
    let end = extra_start + extra_len + comment_len;
    bytes.get(..end)?;
    let name = std::str::from_utf8(&bytes[CENTRAL_LEN..extra_start]).ok()?.to_owned();
    let mut entry = Entry {
        flags: u16_at(bytes, 8)?,
        method: u16_at(bytes, 10)?,
        crc: u32_at(bytes, 16)?,
        packed: u32_at(bytes, 20)?.into(),
        size: u32_at(bytes, 24)?.into(),
        header: u32_at(bytes, 42)?.into(),
    };
    widen(&mut entry, &bytes[extra_start..extra_start + extra_len])?;
    Some((name, entry, end))
}

/// Replaces the sizes that did not fit 32 bits.
fn widen(entry: &mut Entry, mut extra: &[u8]) -> Option<()> {
    while extra.len() >= 4 {
        let (id, len) = (u16_at(extra, 0)?, usize::from(u16_at(extra, 2)?));
        let field = extra.get(4..4 + len)?;
        if id == ZIP64_FIELD {
            let mut at = 0;
            // In this order, and only those that did not fit.
            for value in [&mut entry.size, &mut entry.packed, &mut entry.header] {
                if *value == u64::from(u32::MAX) {
                    *value = u64_at(field, at)?;
                    at += 8;
                }
            }
        }
        extra = &extra[4 + len..];
    }
    Some(())
}

/// Contents begin at multiples of this, as in PyTorch's files, so that they can be mapped.
const ALIGNMENT: usize = 64;
/// PyTorch's padding field, `FB` in the file.
const PADDING_FIELD: [u8; 2] = *b"FB";
/// Version 4.5 of the format has the 64-bit sizes.
const VERSION: u16 = 45;
/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;
/// 1 January 1980, the first day of the format: files do not depend on the clock.
const DATE: u16 = 1 << 5 | 1;

struct Written {
    name: String,
    crc: u32,
    size: u64,
    header: u64,
}

/// Builds an archive of stored entries.
#[derive(Default)]
pub(super) struct ArchiveWriter {
    bytes: Vec<u8>,
    entries: Vec<Written>,
}

impl ArchiveWriter {
    /// An empty archive; `capacity` is a guess at its size.
    pub(super) fn new(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), entries: Vec::new() }
    }

    /// Adds an entry. Names must be shorter than 64 KiB and differ.
    pub(super) fn add(&mut self, name: &str, content: &[u8]) {
        let entry = Written {
            name: name.to_owned(),
            crc: checksum(content),
            size: content.len() as u64,
            header: self.bytes.len() as u64,
        };
        let mut extra = entry.sizes64(&[entry.size, entry.size]);
        let start = self.bytes.len() + LOCAL_LEN + name.len() + extra.len() + 4;
        let padding = start.next_multiple_of(ALIGNMENT) - start;
        extra.extend(PADDING_FIELD);
        extra.extend((padding as u16).to_le_bytes());
        extra.extend(std::iter::repeat_n(b'Z', padding));

        self.bytes.extend(MAGIC);
        entry.write_common(&mut self.bytes, extra.len());
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(extra);
        self.bytes.extend(content);
        self.entries.push(entry);
    }

    /// The bytes of the archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let start = self.bytes.len() as u64;
        for entry in &self.entries {
            entry.write_central(&mut self.bytes);
        }
        let end = self.bytes.len() as u64;
        let count = self.entries.len() as u64;
        write_end(&mut self.bytes, start, end, count);
        self.bytes
    }
}

/// A value in 32 bits, or the mark that says that it is elsewhere in 64.
fn narrow(value: u64) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes()
}

impl Written {
    /// The extra field for those values that do not fit 32 bits; empty if all fit.
    fn sizes64(&self, values: &[u64]) -> Vec<u8> {
        // A local header needs both sizes or none, and they are equal: nothing is packed.
        let wide: Vec<u8> = values
            .iter()
            .filter(|&&value| value >= u64::from(u32::MAX))
            .flat_map(|value| value.to_le_bytes())
            .collect();
        if wide.is_empty() {
            return wide;
        }
        let mut field = ZIP64_FIELD.to_le_bytes().to_vec();
        field.extend((wide.len() as u16).to_le_bytes());
        field.extend(wide);
        field
    }

    /// What local and central headers have in common, from the version to the extra length.
    fn write_common(&self, bytes: &mut Vec<u8>, extra_len: usize) {
        for value in [VERSION, FLAGS, STORED, 0, DATE] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(self.crc.to_le_bytes());
        bytes.extend(narrow(self.size));
        bytes.extend(narrow(self.size));
        bytes.extend((self.name.len() as u16).to_le_bytes());
        bytes.extend((extra_len as u16).to_le_bytes());
    }

    fn write_central(&self, bytes: &mut Vec<u8>) {
        let extra = self.sizes64(&[self.size, self.size, self.header]);
        bytes.extend(CENTRAL_MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        self.write_common(bytes, extra.len());
        // No comment, first disk, no attributes.
        bytes.extend([0; 10]);
        bytes.extend(narrow(self.header));
        bytes.extend(self.name.as_bytes());
        bytes.extend(extra);
    }
}

/// The end records, the 64-bit ones always, as PyTorch writes them.
fn write_end(bytes: &mut Vec<u8>, start: u64, end: u64, count: u64) {
    bytes.extend(END64_MAGIC);
    bytes.extend((END64_LEN as u64 - 12).to_le_bytes());
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend([0; 8]);
    for value in [count, count, end - start, start] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(LOCATOR64_MAGIC);
    bytes.extend([0; 4]);
    bytes.extend(end.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());

    let short = u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
    bytes.extend(END_MAGIC);
    bytes.extend([0; 4]);
    bytes.extend(short);
    bytes.extend(short);
    bytes.extend(narrow(end - start));
    bytes.extend(narrow(start));
    bytes.extend([0; 2]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn sample() -> Vec<u8> {
        let mut writer = ArchiveWriter::default();
        writer.add("a/data.pkl", b"hello");
        writer.add("a/empty", b"");
        writer.add("a/long", &[7; 1000]);
        writer.finish()
    }

    #[test]
    fn contents_come_back_and_are_aligned() {
        let bytes = sample();
        let archive = Archive::open(&bytes).unwrap();
        assert_eq!(archive.names().collect::<Vec<_>>(), ["a/data.pkl", "a/empty", "a/long"]);
        assert_eq!(*archive.read("a/data.pkl").unwrap(), *b"hello");
        assert_eq!(*archive.read("a/empty").unwrap(), *b"");
        let long = archive.read("a/long").unwrap();
        assert_eq!(*long, [7; 1000]);
        assert_eq!((long.as_ptr() as usize - bytes.as_ptr() as usize) % ALIGNMENT, 0);
        assert!(archive.read("b").is_err());
    }

    #[test]
    fn a_changed_content_is_found() {
        let mut bytes = sample();
        let at = bytes.windows(5).position(|part| part == b"hello").unwrap();
        bytes[at] ^= 1;
        let archive = Archive::open(&bytes).unwrap();
        assert!(archive.read("a/data.pkl").unwrap_err().contains("checksum"));
        assert!(archive.read("a/long").is_ok());
    }

    /// An archive with one deflated entry that claims a size.
    fn deflated(content: &[u8], claimed: u32) -> Vec<u8> {
        let mut encoder =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).unwrap();
        let packed = encoder.finish().unwrap();
        let mut writer = ArchiveWriter::default();
        writer.add("x", &packed);
        let mut bytes = writer.finish();
        let central = bytes.windows(4).rposition(|part| part == CENTRAL_MAGIC).unwrap();
        bytes[central + 10..central + 12].copy_from_slice(&DEFLATED.to_le_bytes());
        bytes[central + 16..central + 20].copy_from_slice(&checksum(content).to_le_bytes());
        bytes[central + 24..central + 28].copy_from_slice(&claimed.to_le_bytes());
        bytes
    }

    #[test]
    fn deflated_entries_are_unpacked_up_to_their_size() {
        let content = vec![3; 100_000];
        let bytes = deflated(&content, 100_000);
        assert_eq!(*Archive::open(&bytes).unwrap().read("x").unwrap(), content);
        for claimed in [99_999, 100_001, 0] {
            let bytes = deflated(&content, claimed);
            let problem = Archive::open(&bytes).unwrap().read("x").unwrap_err();
            assert!(problem.contains("another size"), "{problem}");
        }
        let bytes = deflated(&content, u32::MAX - 1);
        let problem = Archive::open(&bytes).unwrap().read("x").unwrap_err();
        assert!(problem.contains("more than is allowed"), "{problem}");
    }
}
