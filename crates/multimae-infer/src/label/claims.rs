//! Frames shared out over processes.

use std::fs::TryLockError;
use std::ops::Range;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::{Error, Result};

/// The frames of a part, which one process labels at a time.
const FRAMES: usize = 8;

/// Parts of the frames; each has a lock in a folder that all processes see.
#[derive(Debug)]
pub(super) struct Claims {
    dir: PathBuf,
    frames: usize,
}

/// A part that this process has. The lock goes with it, also when the process is killed.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) frames: Range<usize>,
    _lock: fs::File,
}

impl Claims {
    pub(super) fn new(dir: &Path, frames: usize) -> Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), frames })
    }

    pub(super) fn parts(&self) -> usize {
        self.frames.div_ceil(FRAMES)
    }

    /// The frames of a part.
    pub(super) fn frames(&self, part: usize) -> Range<usize> {
        let start = part * FRAMES;
        start.min(self.frames)..self.frames.min(start + FRAMES)
    }

    /// Takes a part; `None` if another process has it.
    pub(super) fn take(&self, part: usize) -> Result<Option<Claim>> {
        let lock = lock_file(&self.dir.join(format!("part-{part:06}.lock")))?;
        match lock.file().try_lock() {
            Ok(()) => Ok(Some(Claim { frames: self.frames(part), _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::Io(error)),
        }
    }

    /// Waits for the lock of what all processes write.
    pub(super) fn alone(&self) -> Result<fs::File> {
        let lock = lock_file(&self.dir.join("record.lock"))?;
        lock.file().lock()?;
        Ok(lock)
    }

    /// Removes the locks of a finished folder.
    pub(super) fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.dir) {
            // Another process did.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => Ok(removed?),
        }
    }
}

fn lock_file(path: &Path) -> Result<fs::File> {
    Ok(fs::File::options().create(true).truncate(false).write(true).open(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_one_owner_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let claims = Claims::new(&dir.path().join("locks"), 18).unwrap();
        assert_eq!(claims.parts(), 3);
        let last = claims.take(2).unwrap().unwrap();
        assert_eq!(last.frames, 16..18);
        assert!(claims.take(2).unwrap().is_none());
        assert!(claims.take(1).unwrap().is_some());
        drop(last);
        assert!(claims.take(2).unwrap().is_some());
        claims.remove().unwrap();
        assert!(!dir.path().join("locks").exists());
    }
}
