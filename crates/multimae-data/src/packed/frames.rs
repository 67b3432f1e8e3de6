//! Positioned reads from a file that several threads share.

use std::path::Path;

use crate::Result;

/// An open file.
#[derive(Debug)]
pub(super) struct FrameFile {
    #[cfg(unix)]
    file: fs_err::File,
    /// Elsewhere there is one position for all.
    #[cfg(not(unix))]
    file: std::sync::Mutex<fs_err::File>,
    len: u64,
}

impl FrameFile {
    /// # Errors
    /// If it cannot be opened; the message names the path.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = fs_err::File::open(path)?;
        let len = file.metadata()?.len();
        #[cfg(not(unix))]
        let file = std::sync::Mutex::new(file);
        Ok(Self { file, len })
    }

    /// Its length when it was opened.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills the buffer from the bytes at `offset`.
    ///
    /// # Errors
    /// If there are not as many, or the disk fails; the message names the path.
    #[cfg(unix)]
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        let path = self.file.path();
        self.file.file().read_exact_at(buffer, offset).map_err(|error| {
            let problem = format!("failed to read from file `{}`: {error}", path.display());
            std::io::Error::new(error.kind(), problem)
        })
    }

    /// Fills the buffer from the bytes at `offset`.
    ///
    /// # Errors
    /// If there are not as many, or the disk fails; the message names the path.
    #[cfg(not(unix))]
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }
}
