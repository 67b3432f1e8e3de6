//! The bytes of a pack that several threads read from.

use std::path::Path;

use crate::Result;

/// An open file, mapped into memory: frames come from the system's cache without being asked for one
/// by one. It stays what it is when the pack is packed again, which replaces it.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct FrameFile {
    path: std::path::PathBuf,
    bytes: bytes::Bytes,
}

#[cfg(unix)]
impl FrameFile {
    /// # Errors
    /// If it cannot be opened or mapped; the message names the path.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let bytes = multimae_io::mapping::contents(path)?;
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// Its length when it was opened.
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Fills the buffer from the bytes at `offset`.
    ///
    /// # Errors
    /// If there are not as many; the message names the path.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.bytes.get(start..).and_then(|bytes| bytes.get(..buffer.len()));
        let bytes = bytes.ok_or_else(|| {
            let kind = std::io::ErrorKind::UnexpectedEof;
            named(&self.path, &kind.into(), "it ends too early".to_owned())
        })?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

#[cfg(unix)]
fn named(path: &Path, error: &std::io::Error, problem: String) -> std::io::Error {
    let problem = format!("failed to read from file `{}`: {problem}", path.display());
    std::io::Error::new(error.kind(), problem)
}

/// An open file. A mapped one could not be replaced here; there is one position for all.
#[cfg(not(unix))]
#[derive(Debug)]
pub(super) struct FrameFile {
    file: std::sync::Mutex<fs_err::File>,
    len: u64,
}

#[cfg(not(unix))]
impl FrameFile {
    /// # Errors
    /// If it cannot be opened; the message names the path.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = fs_err::File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file: std::sync::Mutex::new(file), len })
    }

    /// Its length when it was opened.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills the buffer from the bytes at `offset`.
    ///
    /// # Errors
    /// If there are not as many, or the disk fails; the message names the path.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }
}
