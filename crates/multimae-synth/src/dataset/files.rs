//! The pictures of one frame.

use std::io::Write;
use std::path::Path;

use fs_err as fs;

use crate::{Error, Frame, FrameMap, Result};

/// Folders of the four maps.
pub(super) const FOLDERS: [&str; 4] = ["rgb", "depth", "label40", "normal"];
/// The map of the folder.
const MAPS: [FrameMap; 4] = [FrameMap::Rgb, FrameMap::Depth, FrameMap::Labels, FrameMap::Normals];

/// The name of a frame, without folder and extension.
pub(super) fn name(index: usize) -> String {
    format!("{index:05}")
}

fn file_name(index: usize) -> String {
    format!("{}.png", name(index))
}

/// Whether all maps of a frame are there.
pub(super) fn is_complete(dir: &Path, index: usize) -> bool {
    FOLDERS.iter().all(|folder| dir.join(folder).join(file_name(index)).is_file())
}

/// Writes all maps of a frame.
pub(super) fn write_frame(dir: &Path, index: usize, frame: &Frame) -> Result<()> {
    for (folder, map) in FOLDERS.into_iter().zip(MAPS) {
        let path = dir.join(folder).join(file_name(index));
        let encoded =
            frame.png(map).map_err(|source| Error::Picture { path: path.clone(), source })?;
        write_atomically(&path, &encoded)?;
    }
    Ok(())
}

/// Writes a file beside its place and renames it into it. An interruption leaves a file that ends
/// in `.part`, and is replaced the next time.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_added_extension("part");
    let mut file = fs::File::create(&part)?;
    file.write_all(bytes)?;
    drop(file);
    fs::rename(&part, path)?;
    Ok(())
}
