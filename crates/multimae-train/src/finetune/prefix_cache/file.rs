//! The file of a prefix cache: records of 16-bit numbers of one size, each written once.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use half::f16;
use half::slice::HalfFloatSliceExt as _;
use multimae_io::positioned::{read_exact_at, write_all_at};

use crate::{Error, Result};

/// The first bytes of the file.
const MAGIC: &[u8; 8] = b"mmprefix";
const VERSION: u32 = 1;
/// Bytes before the first record.
const HEADER: u64 = 4096;
/// Bytes before the numbers of a record: whether it was written, and their checksum.
const RECORD_HEADER: usize = 8;
const WRITTEN: u32 = 1;

/// The identity of a cache's content: a digest over all that made it.
pub(super) type Key = [u8; 32];

/// An open file.
#[derive(Debug)]
pub(super) struct CacheFile {
    path: PathBuf,
    file: fs::File,
    records: u64,
    /// Numbers of a record.
    values: usize,
}

impl CacheFile {
    /// The file of a key in a folder, made if it is not there. Its name is the beginning of the key.
    ///
    /// # Errors
    /// If it cannot be made or read, or is of another key, size or version.
    pub(super) fn open(dir: &Path, key: &Key, records: u64, values: usize) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let name: String = key.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let path = dir.join(format!("{name}.prefix"));
        let header = header(key, records, values);
        let len = file_bytes(records, values);
        if !path.exists() {
            // Complete before it has its name: a process that is killed leaves a part, and no cache.
            let part = dir.join(format!("{name}.{}.part", std::process::id()));
            let file = fs::File::create(&part)?;
            file.set_len(len)?;
            write_all_at(file.file(), &header, 0)?;
            if path.exists() {
                // Another process was faster; what it has written stays.
                fs::remove_file(&part)?;
            } else {
                fs::rename(&part, &path)?;
            }
        }
        let file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
        let mut found = vec![0; header.len()];
        let read = read_exact_at(file.file(), &mut found, 0);
        if read.is_err() || found != header || file.metadata()?.len() != len {
            return Err(Error::RunFolder {
                path,
                problem:
                    "is no prefix cache of this model, these frames and this version; delete it"
                        .to_owned(),
            });
        }
        Ok(Self { path, file, records, values })
    }

    /// The numbers of a record; `None` if it was not written yet, or not to its end.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn read(&self, record: u64) -> Result<Option<Vec<f16>>> {
        let mut bytes = vec![0; record_bytes(self.values)];
        read_exact_at(self.file.file(), &mut bytes, self.place(record)?)
            .map_err(|error| self.io(error))?;
        let (head, content) = bytes.split_at(RECORD_HEADER);
        let word = |at: usize| head[at..].first_chunk::<4>().map(|b| u32::from_le_bytes(*b));
        if word(0) != Some(WRITTEN) || word(4) != Some(crc32fast::hash(content)) {
            return Ok(None);
        }
        let numbers = content.as_chunks::<2>().0.iter();
        Ok(Some(numbers.map(|bytes| f16::from_le_bytes(*bytes)).collect()))
    }

    /// Writes a record. Two processes may write the same one: they write the same.
    ///
    /// # Errors
    /// If the file cannot be written, as when the disk is full.
    pub(super) fn write(&self, record: u64, values: &[f16]) -> Result<()> {
        let content: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut bytes = Vec::with_capacity(RECORD_HEADER + content.len());
        bytes.extend(WRITTEN.to_le_bytes());
        bytes.extend(crc32fast::hash(&content).to_le_bytes());
        bytes.extend(content);
        write_all_at(self.file.file(), &bytes, self.place(record)?).map_err(|error| self.io(error))
    }

    fn place(&self, record: u64) -> Result<u64> {
        if record >= self.records {
            return Err(Error::RunFolder {
                path: self.path.clone(),
                problem: format!("has {} records, and none {record}", self.records),
            });
        }
        // Behind the header and the records before.
        Ok(file_bytes(record, self.values))
    }

    fn io(&self, error: io::Error) -> Error {
        Error::RunFolder { path: self.path.clone(), problem: error.to_string() }
    }
}

/// Bytes of a file with this number of records.
pub(super) fn file_bytes(records: u64, values: usize) -> u64 {
    HEADER + records * record_bytes(values) as u64
}

fn record_bytes(values: usize) -> usize {
    RECORD_HEADER + 2 * values
}

fn header(key: &Key, records: u64, values: usize) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend(key);
    header.extend(records.to_le_bytes());
    header.extend((values as u64).to_le_bytes());
    header
}

/// Numbers rounded to 16 bits.
pub(super) fn rounded(values: &[f32]) -> Vec<f16> {
    let mut rounded = vec![f16::ZERO; values.len()];
    rounded.convert_from_f32_slice(values);
    rounded
}

/// 16-bit numbers as fp32.
pub(super) fn widened(values: &[f16]) -> Vec<f32> {
    let mut widened = vec![0.0; values.len()];
    values.convert_to_f32_slice(&mut widened);
    widened
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seed: u32) -> Vec<f16> {
        (0..5).map(|at| f16::from_f32((seed * 7 + at) as f32 / 3.0)).collect()
    }

    #[test]
    fn records_come_back_in_another_process() {
        let dir = tempfile::tempdir().unwrap();
        let key = [7; 32];
        let first = CacheFile::open(dir.path(), &key, 3, 5).unwrap();
        assert_eq!(first.read(1).unwrap(), None);
        first.write(1, &numbers(1)).unwrap();
        first.write(2, &numbers(2)).unwrap();
        drop(first);
        let again = CacheFile::open(dir.path(), &key, 3, 5).unwrap();
        assert_eq!(again.read(0).unwrap(), None);
        assert_eq!(again.read(2).unwrap(), Some(numbers(2)));
        assert!(again.read(3).is_err());
        assert_eq!(fs::metadata(&again.path).unwrap().len(), file_bytes(3, 5));
        // Another key is another file; the old one stays.
        let other = CacheFile::open(dir.path(), &[8; 32], 3, 5).unwrap();
        assert_eq!(other.read(2).unwrap(), None);
        assert_eq!(again.read(2).unwrap(), Some(numbers(2)));
    }

    #[test]
    fn what_is_damaged_or_stale_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let key = [7; 32];
        let cache = CacheFile::open(dir.path(), &key, 3, 5).unwrap();
        cache.write(1, &numbers(1)).unwrap();
        // One bit of the content.
        let mut bytes = fs::read(&cache.path).unwrap();
        let at = HEADER as usize + record_bytes(5) + RECORD_HEADER;
        bytes[at] ^= 1;
        fs::write(&cache.path, &bytes).unwrap();
        assert_eq!(cache.read(1).unwrap(), None);
        // The same beginning of the key, another end; other sizes; a file that is cut off.
        let mut stale = key;
        stale[31] = 8;
        for opened in [
            CacheFile::open(dir.path(), &stale, 3, 5),
            CacheFile::open(dir.path(), &key, 4, 5),
            CacheFile::open(dir.path(), &key, 3, 6),
        ] {
            assert!(opened.unwrap_err().to_string().contains("delete it"));
        }
        fs::write(&cache.path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(CacheFile::open(dir.path(), &key, 3, 5).is_err());
    }

    #[test]
    fn rounding_is_to_the_nearest() {
        assert_eq!(widened(&rounded(&[0.1, -65504.0, 1e-9])), [0.099_975_586, -65504.0, 0.0]);
    }
}
