//! Files in memory without being read: their pages are those of the system's cache.

use std::fs::File;
use std::io;

use bytes::Bytes;

/// The bytes of a file that others replace as a whole, by renaming, and do not write to: a program that
/// cuts it short while it is mapped ends this one. Where a mapped file could not be replaced (on
/// Windows) it is read.
///
/// # Errors
/// If the file cannot be mapped or read.
pub fn contents(file: &File) -> io::Result<Bytes> {
    if cfg!(unix) && file.metadata()?.len() > 0 {
        // SAFETY: the mapping is private and never written to. Its bytes have no invariants, so another
        // program's writes to the file could at most show other values; that files are not cut short
        // while they are mapped is asked of the caller.
        #[allow(unsafe_code, reason = "mapping a file has no safe interface")]
        let map = unsafe { memmap2::MmapOptions::new().map_copy_read_only(file)? };
        return Ok(Bytes::from_owner(map));
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut &*file, &mut bytes)?;
    Ok(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    #[test]
    fn contents_are_those_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for len in [0, 1, 4096, 100_001] {
            let written: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            fs::write(&path, &written).unwrap();
            let read = contents(fs::File::open(&path).unwrap().file()).unwrap();
            assert_eq!(read, written);
        }
    }

    #[test]
    fn a_file_that_was_replaced_stays_what_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (path, new) = (dir.path().join("file"), dir.path().join("new"));
        fs::write(&path, vec![1; 10_000]).unwrap();
        let read = contents(fs::File::open(&path).unwrap().file()).unwrap();
        fs::write(&new, vec![2; 10_000]).unwrap();
        fs::rename(&new, &path).unwrap();
        assert!(read.iter().all(|&byte| byte == 1));
        let end = read.slice(9_000..);
        drop(read);
        fs::remove_file(&path).unwrap();
        assert!(end.iter().all(|&byte| byte == 1) && end.len() == 1_000);
    }
}
