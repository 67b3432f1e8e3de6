//! The files that a command writes into its folder.

use std::path::Path;

use anyhow::bail;
use multimae_data::Map;
use multimae_data::encode::npy;
use multimae_io::atomic::write_atomically;

/// A prediction as an array `(C, H, W)`, of the size of its target.
pub(crate) fn array(values: &[f32], target: &Map) -> anyhow::Result<Vec<u8>> {
    let channels = values.len() / (target.height * target.width).max(1);
    Ok(npy(values, &[channels, target.height, target.width])?)
}

/// Writes a file of a folder, and the folders above it. A file that is there is replaced with `force`
/// only.
pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8], force: bool) -> anyhow::Result<()> {
    let path = folder.join(name);
    if path.exists() && !force {
        bail!("{} is there already; give --force to replace it", path.display());
    }
    fs_err::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    Ok(write_atomically(&path, bytes)?)
}
