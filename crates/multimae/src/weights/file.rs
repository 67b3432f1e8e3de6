//! The bytes of files.

use std::path::Path;

use bytes::Bytes;

use crate::Result;

/// The bytes of a file.
pub(super) fn contents(path: &Path) -> Result<Bytes> {
    Ok(multimae_io::mapping::contents(path)?)
}
