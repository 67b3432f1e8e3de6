//! Files mapped into memory: their pages are those of the system's cache.

use std::io;
use std::path::Path;

use bytes::Bytes;
use fs_err as fs;

/// Maps a file into memory.
///
/// The file is opened here and its handle stays private, so no other code of this process can
/// shorten the file through it. The files of this project are replaced as a whole by renaming (see
/// [`atomic`](crate::atomic)), which leaves a mapped file as it was. Another process that truncates
/// the file in place while it is mapped ends this process with a bus error. On Windows, where a
/// mapped file could not be replaced, the file is read instead.
///
/// # Errors
/// If the file cannot be opened, mapped or read; the message names the path.
pub fn contents(path: &Path) -> io::Result<Bytes> {
    let file = fs::File::open(path)?;
    if cfg!(unix) && file.metadata()?.len() > 0 {
        // SAFETY: the mapping is private and read-only, and plain bytes have no invariants, so a
        // write to the file by another process can at most show other values. The handle is not
        // given out, so nothing in this process truncates the file through it.
        #[allow(unsafe_code, reason = "mapping a file has no safe interface")]
        let map = unsafe { memmap2::MmapOptions::new().map_copy_read_only(file.file()) };
        return map.map(Bytes::from_owner).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("failed to map file `{}`: {error}", path.display()),
            )
        });
    }
    fs::read(path).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_those_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for len in [0, 1, 4096, 100_001] {
            let written: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            fs::write(&path, &written).unwrap();
            assert_eq!(contents(&path).unwrap(), written);
        }
    }

    #[test]
    fn a_missing_file_is_an_error_that_names_it() {
        let error = contents(Path::new("no/such/file")).unwrap_err().to_string();
        assert!(error.contains("no/such/file"), "{error}");
    }

    #[test]
    fn a_replaced_file_keeps_its_mapped_contents() {
        let dir = tempfile::tempdir().unwrap();
        let (path, new) = (dir.path().join("file"), dir.path().join("new"));
        fs::write(&path, vec![1; 10_000]).unwrap();
        let read = contents(&path).unwrap();
        fs::write(&new, vec![2; 10_000]).unwrap();
        fs::rename(&new, &path).unwrap();
        assert!(read.iter().all(|&byte| byte == 1));
        let end = read.slice(9_000..);
        drop(read);
        fs::remove_file(&path).unwrap();
        assert!(end.iter().all(|&byte| byte == 1) && end.len() == 1_000);
    }
}
