//! ZIP archives in memory, as PyTorch and NumPy write them.
//!
//! The container is read and written by the `zip` crate. This module adds the limits: sizes come
//! from the file and are never trusted. Stored entries are slices of the file, without a copy;
//! deflated ones are inflated up to a bound that depends on the size of the file.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{Cursor, Read, Write};

use ::zip::read::{ArchiveOffset, Config, ZipFileEntry};
use ::zip::write::SimpleFileOptions;
use ::zip::{
    CompressionMethod, DateTime, HasZipMetadata, System, ZIP64_BYTES_THR, ZipArchive,
    ZipReadOptions, ZipWriter,
};

use super::Problem;

/// The first bytes of every local header, and so of most ZIP files.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";
/// The first bytes of the record that ends a ZIP file, and its length without the comment.
const END_MAGIC: &[u8] = b"PK\x05\x06";
const END_LEN: usize = 22;

/// All deflated entries together may inflate to this much, plus [`INFLATE_RATIO`] times the file.
const INFLATE_FREE: u64 = 256 << 20;
const INFLATE_RATIO: u64 = 64;

/// A ZIP archive.
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    zip: ZipArchive<Cursor<&'a [u8]>>,
    names: Vec<String>,
    /// Bytes that may still be inflated.
    inflate: Cell<u64>,
}

impl<'a> Archive<'a> {
    /// Reads the directory of an archive.
    ///
    /// # Errors
    /// If there is none, it is damaged, or two entries have the same name.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Problem> {
        // Nothing may precede the archive: every position counts from the start of the file.
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let zip = ZipArchive::with_config(config, Cursor::new(bytes))
            .map_err(|error| format!("not a zip file, damaged or cut off: {error}"))?;
        if !ends_with_comment(bytes, zip.comment()) {
            return Err("damaged: bytes follow the end of the zip directory".to_owned());
        }
        if zip.has_duplicate_names() {
            return Err("damaged: two entries of the zip file have the same name".to_owned());
        }
        let name = |raw: &[u8]| std::str::from_utf8(raw).map(str::to_owned);
        let names = zip.file_names_raw().map(name).collect::<Result<_, _>>();
        let names = names.map_err(|_| "damaged: the name of an entry is not UTF-8")?;
        let inflate = INFLATE_FREE.saturating_add(bytes.len() as u64 * INFLATE_RATIO);
        Ok(Self { bytes, zip, names, inflate: Cell::new(inflate) })
    }

    /// The names of the entries in the order of the directory.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.zip.index_for_name_raw(name.as_bytes()).is_some()
    }

    /// The content of an entry, checked against its checksum.
    ///
    /// # Errors
    /// If there is no such entry, it is damaged, encrypted or compressed by an unsupported method,
    /// or it inflates to more than is allowed.
    pub(super) fn read(&self, name: &str) -> Result<Cow<'a, [u8]>, Problem> {
        let damaged = |problem: Problem| format!("damaged: entry `{name}` {problem}");
        let index = self.zip.index_for_name_raw(name.as_bytes());
        let index = index.ok_or_else(|| damaged("is missing".to_owned()))?;
        let entry = self.zip.by_index_data(index).map_err(|e| damaged(format!("is lost: {e}")))?;
        if entry.encrypted() {
            return Err(format!("entry `{name}` is encrypted"));
        }
        match entry.compression() {
            CompressionMethod::Stored => self.stored(&entry).map(Cow::Borrowed).map_err(damaged),
            CompressionMethod::Deflated => self.inflated(entry).map(Cow::Owned).map_err(damaged),
            other => Err(format!("entry `{name}` is compressed by an unsupported method: {other}")),
        }
    }

    /// The content of a stored entry: a part of the file.
    fn stored(&self, entry: &ZipFileEntry<'_>) -> Result<&'a [u8], Problem> {
        if entry.compressed_size() != entry.size() {
            return Err("has two sizes".to_owned());
        }
        let content = self.compressed(entry)?;
        if has_checksum(entry) && crc32fast::hash(content) != entry.crc32() {
            return Err("does not match its checksum".to_owned());
        }
        Ok(content)
    }

    fn inflated(&self, entry: ZipFileEntry<'_>) -> Result<Vec<u8>, Problem> {
        self.compressed(&entry)?;
        let size = entry.size();
        let left = self.inflate.get().checked_sub(size);
        self.inflate.set(left.ok_or("inflates to more than is allowed")?);
        let options = ZipReadOptions::new().ignore_crc32(!has_checksum(&entry));
        let mut file = Cursor::new(self.bytes);
        let mut reader = entry.with_reader(&mut file, options).map_err(|e| e.to_string())?;
        // Grows as it is read: nothing is allocated for a size that is only claimed.
        let mut content = Vec::new();
        reader.read_to_end(&mut content).map_err(|e| format!("does not inflate: {e}"))?;
        if content.len() as u64 != size {
            return Err(format!("inflates to {} bytes and claims {size}", content.len()));
        }
        Ok(content)
    }

    /// The bytes of an entry as they are in the file.
    fn compressed(&self, entry: &ZipFileEntry<'_>) -> Result<&'a [u8], Problem> {
        let start = entry.get_metadata().data_start(&mut Cursor::new(self.bytes));
        let start = start.map_err(|error| format!("has a bad local header: {error}"))?;
        let end = start.checked_add(entry.compressed_size());
        let range = usize::try_from(start).ok().zip(end.and_then(|end| usize::try_from(end).ok()));
        let content = range.and_then(|(start, end)| self.bytes.get(start..end));
        content.ok_or_else(|| "is outside of the file".to_owned())
    }
}

/// 0 stands for no checksum: PyTorch can be told not to compute them.
fn has_checksum(entry: &ZipFileEntry<'_>) -> bool {
    entry.crc32() != 0
}

/// Whether the file ends with the end record and its comment. The `zip` crate accepts more bytes.
fn ends_with_comment(bytes: &[u8], comment: &[u8]) -> bool {
    let start = bytes.len().checked_sub(END_LEN + comment.len());
    start.is_some_and(|start| bytes[start..].starts_with(END_MAGIC))
}

/// Contents begin at multiples of this, as in PyTorch's files, so that they can be mapped.
const ALIGNMENT: u16 = 64;
/// PyTorch's padding field, `FB` in the file.
const PADDING_FIELD: u16 = u16::from_le_bytes(*b"FB");

/// Builds an archive of stored entries. The bytes depend on nothing but names and contents.
pub(super) struct ArchiveWriter(ZipWriter<Cursor<Vec<u8>>>);

impl ArchiveWriter {
    /// An empty archive; `capacity` is a guess at its size in bytes.
    pub(super) fn new(capacity: usize) -> Self {
        Self(ZipWriter::new(Cursor::new(Vec::with_capacity(capacity))))
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// If the name is there already or has 64 KiB or more.
    pub(super) fn add(&mut self, name: &str, content: &[u8]) -> Result<(), Problem> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::DEFAULT)
            .system(System::Unix)
            .large_file(content.len() as u64 >= ZIP64_BYTES_THR)
            .with_alignment_and_header_id(ALIGNMENT, PADDING_FIELD);
        self.0
            .start_file(name, options)
            .and_then(|()| Ok(self.0.write_all(content)?))
            .map_err(|error| format!("entry `{name}` cannot be written: {error}"))
    }

    /// The bytes of the archive.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub(super) fn finish(self) -> Result<Vec<u8>, Problem> {
        let file = self.0.finish().map_err(|error| format!("the zip directory: {error}"))?;
        Ok(file.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CENTRAL_MAGIC: &[u8] = b"PK\x01\x02";

    fn sample() -> Vec<u8> {
        let mut writer = ArchiveWriter::new(0);
        writer.add("a/data.pkl", b"hello").unwrap();
        writer.add("a/empty", b"").unwrap();
        writer.add("a/long", &[7; 1000]).unwrap();
        writer.finish().unwrap()
    }

    /// An archive of one entry `x`, and where its record in the directory begins.
    fn single(method: CompressionMethod, content: &[u8]) -> (Vec<u8>, usize) {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(method);
        writer.start_file("x", options).unwrap();
        writer.write_all(content).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        let central = bytes.windows(4).rposition(|part| part == CENTRAL_MAGIC).unwrap();
        (bytes, central)
    }

    fn problem(bytes: &[u8]) -> Problem {
        Archive::open(bytes).unwrap().read("x").unwrap_err()
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
        assert!(matches!(long, Cow::Borrowed(_)), "stored entries are not copied");
        let at = long.as_ptr() as usize - bytes.as_ptr() as usize;
        assert_eq!(at % usize::from(ALIGNMENT), 0);
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

    #[test]
    fn names_differ() {
        let mut writer = ArchiveWriter::new(0);
        writer.add("x", b"1").unwrap();
        assert!(writer.add("x", b"2").unwrap_err().contains("`x`"));

        let mut writer = ArchiveWriter::new(0);
        writer.add("first", b"1").unwrap();
        writer.add("other", b"2").unwrap();
        let mut bytes = writer.finish().unwrap();
        let at = bytes.windows(5).rposition(|part| part == b"other").unwrap();
        bytes[at..at + 5].copy_from_slice(b"first");
        let problem = Archive::open(&bytes).err().unwrap();
        assert!(problem.contains("same name"), "{problem}");
    }

    #[test]
    fn nothing_precedes_or_follows_an_archive() {
        let bytes = sample();
        assert!(Archive::open(&[&bytes[..], b"more"].concat()).is_err());
        assert!(Archive::open(&[b"more", &bytes[..]].concat()).is_err());
        assert!(Archive::open(b"PK\x03\x04").is_err());
    }

    #[test]
    fn checksums_may_be_absent() {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let (mut bytes, central) = single(method, b"hello, hello, hello");
            bytes[central + 16] ^= 1;
            assert!(problem(&bytes).contains("checksum"));
            bytes[central + 16..central + 20].fill(0);
            let archive = Archive::open(&bytes).unwrap();
            assert_eq!(*archive.read("x").unwrap(), *b"hello, hello, hello");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let (stored, central) = single(CompressionMethod::Stored, b"hello");
        let changed = |at: usize, value: u8| {
            let mut bytes = stored.clone();
            bytes[central + at] = value;
            problem(&bytes)
        };
        assert!(changed(8, 1).contains("encrypted"));
        assert!(changed(10, 12).contains("unsupported method: Bzip2"));
        assert!(changed(24, 4).contains("two sizes"));
        assert!(changed(42, 9).contains("local header"));
    }

    #[test]
    fn sizes_beyond_the_file_are_refused() {
        let (mut bytes, central) = single(CompressionMethod::Stored, b"hello");
        for at in [20, 24] {
            bytes[central + at..central + at + 4].copy_from_slice(&(1_u32 << 30).to_le_bytes());
        }
        assert!(problem(&bytes).contains("outside of the file"));
    }

    #[test]
    fn deflated_entries_are_inflated_up_to_their_size() {
        let content = vec![3; 100_000];
        let (bytes, central) = single(CompressionMethod::Deflated, &content);
        assert_eq!(*Archive::open(&bytes).unwrap().read("x").unwrap(), content);
        let claiming = |size: u32| {
            let mut bytes = bytes.clone();
            bytes[central + 24..central + 28].copy_from_slice(&size.to_le_bytes());
            problem(&bytes)
        };
        assert!(claiming(100_001).contains("inflates to 100000 bytes and claims 100001"));
        for size in [99_999, 0] {
            let problem = claiming(size);
            assert!(problem.contains("larger than its declared"), "{problem}");
        }
        let problem = claiming(u32::MAX - 1);
        assert!(problem.contains("more than is allowed"), "{problem}");
    }
}
