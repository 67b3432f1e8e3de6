//! The source of a pack, so that an outdated one is noticed.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::files::Files;

/// Facts about the files of a data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceFacts {
    /// The folder, as a whole path; empty if the source was no folder of files, which is not compared.
    pub(super) root: String,
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Of the names, sizes and times of all files.
    pub(super) digest: [u8; 16],
}

impl SourceFacts {
    /// The facts of a source that is no folder of files.
    pub(super) fn unknown(bytes: u64) -> Self {
        Self { root: String::new(), files: 0, bytes, digest: [0; 16] }
    }

    /// The facts of the files of some folders below `root` and of the lists.
    pub(super) fn of<'a>(
        root: &Path,
        folders: impl IntoIterator<Item = &'a Files>,
        lists: &[PathBuf],
    ) -> Result<Self> {
        let whole = fs_err::canonicalize(root)?;
        let mut paths: Vec<&Path> = lists.iter().map(PathBuf::as_path).collect();
        for files in folders {
            paths.extend(files.usable.values().flatten().map(PathBuf::as_path));
        }
        paths.sort_unstable();
        let (mut bytes, mut digest) = (0, Md5::new());
        for path in &paths {
            let metadata = fs_err::metadata(path)?;
            let since = metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
            let nanoseconds = since.map_or(0, |time| time.as_nanos());
            let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
            bytes += metadata.len();
            digest.update(name.as_bytes());
            digest.update([0]);
            digest.update(metadata.len().to_le_bytes());
            digest.update(nanoseconds.to_le_bytes());
        }
        Ok(Self {
            root: whole.to_string_lossy().into_owned(),
            files: paths.len() as u64,
            bytes,
            digest: digest.finalize().into(),
        })
    }

    /// Returns the differences to the folder now, if there are any.
    pub(super) fn difference(&self, now: &Self) -> Option<String> {
        if self.files != now.files {
            Some(format!("{} has {} files now and had {}", self.root, now.files, self.files))
        } else if self.bytes != now.bytes {
            Some(format!("the files in {} have other sizes now", self.root))
        } else if self.digest != now.digest {
            Some(format!("files in {} were replaced, renamed or touched since", self.root))
        } else {
            None
        }
    }
}
