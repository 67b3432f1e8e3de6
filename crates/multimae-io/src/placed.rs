//! Files that appear at a second place, without being read where the file system allows it.

use std::io::{ErrorKind, Result, copy};
use std::path::Path;

use fs_err as fs;

use crate::atomic::AtomicFile;

/// The way in which a file came to its second place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// A hard link: both places are the same file, and take its space once.
    Linked,
    /// A copy, since the places are on different file systems or links are not allowed.
    Copied,
}

/// Brings a file to a second place, by a hard link or else by a copy. The file appears whole or not
/// at all; a file that is there already is replaced. Links in `source` are followed.
///
/// # Errors
/// If the file cannot be read or the place cannot be written; the message names the path.
pub fn link_or_copy(source: &Path, path: &Path) -> Result<Placed> {
    // A link to a symbolic link would point to nowhere from another folder.
    let source = fs::canonicalize(source)?;
    match fs::hard_link(&source, path) {
        Ok(()) => return Ok(Placed::Linked),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            if fs::hard_link(&source, path).is_ok() {
                return Ok(Placed::Linked);
            }
        }
        Err(_) => {}
    }
    let mut file = AtomicFile::create(path)?;
    copy(&mut fs::File::open(&source)?, &mut file)?;
    file.commit()?;
    Ok(Placed::Copied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_linked_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
        fs::write(&a, [1, 2]).unwrap();
        fs::write(&b, [3]).unwrap();
        assert_eq!(link_or_copy(&a, &b).unwrap(), Placed::Linked);
        assert_eq!(fs::read(&b).unwrap(), [1, 2]);
        let message = link_or_copy(&c, &b).unwrap_err().to_string();
        assert!(message.contains("/c"), "{message}");
        assert_eq!(fs::read(&b).unwrap(), [1, 2], "nothing is removed for a missing source");
    }

    #[cfg(unix)]
    #[test]
    fn symbolic_links_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("deep")).unwrap();
        fs::write(dir.path().join("a"), [7]).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        let place = dir.path().join("deep/b");
        link_or_copy(&dir.path().join("link"), &place).unwrap();
        assert_eq!(fs::read(&place).unwrap(), [7]);
    }
}
