//! The bytes of files.

use std::path::Path;

use bytes::Bytes;
use fs_err as fs;

use crate::{Error, Result};

/// The bytes of a file.
pub(super) fn contents(path: &Path) -> Result<Bytes> {
    let file = fs::File::open(path)?;
    multimae_kernels::mapping::contents(file.file()).map_err(|error| {
        let problem = format!("it cannot be read: {error}");
        Error::WeightsFile { path: path.to_owned(), problem }
    })
}
