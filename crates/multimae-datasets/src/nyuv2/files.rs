//! The pictures of a frame on disk.

use std::path::Path;

use multimae_io::atomic::write_atomically;
use png::{BitDepth, ColorType, Compression};

use super::frame::Frame;
use super::source::Shape;
use super::{Classes, Error, Result};
use multimae_data::encode::encoded_png;

/// Folders of pictures, whatever the classes.
pub(super) const FOLDERS: [&str; 5] = ["rgb", "depth", "label40", "label13", "mask_valid"];

/// Returns the folders of a prepared data set with this number of classes.
pub(super) fn folders(classes: Classes) -> [&'static str; 4] {
    ["rgb", "depth", classes.folder(), "mask_valid"]
}

/// The name of a frame: its official id.
pub(super) fn name(id: u32) -> String {
    format!("{id:04}")
}

fn file_name(id: u32) -> String {
    format!("{}.png", name(id))
}

/// Whether all pictures of a frame are there.
pub(super) fn is_complete(dir: &Path, classes: Classes, id: u32) -> bool {
    folders(classes).iter().all(|folder| dir.join(folder).join(file_name(id)).is_file())
}

/// Removes all pictures that could be of these frames, and the folders if nothing else is in them.
pub(super) fn clear(dir: &Path, ids: impl Iterator<Item = u32> + Clone) -> Result<()> {
    for folder in FOLDERS.map(|folder| dir.join(folder)) {
        for id in ids.clone() {
            remove(&folder.join(file_name(id)))?;
        }
        // Fails if it is not empty or not there, and both are fine.
        let _ = fs_err::remove_dir(&folder);
    }
    Ok(())
}

/// Removes a file if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes all pictures of a frame, each whole or not at all.
pub(super) fn write(
    dir: &Path,
    classes: Classes,
    id: u32,
    shape: Shape,
    frame: &Frame,
) -> Result<()> {
    let depth: Vec<u8> = frame.depth.iter().flat_map(|depth| depth.to_be_bytes()).collect();
    let grey = (ColorType::Grayscale, BitDepth::Eight);
    let pictures = [
        (&frame.rgb, (ColorType::Rgb, BitDepth::Eight)),
        (&depth, (ColorType::Grayscale, BitDepth::Sixteen)),
        (&frame.label, grey),
        (&frame.valid, grey),
    ];
    for (folder, (bytes, format)) in folders(classes).into_iter().zip(pictures) {
        let path = dir.join(folder).join(file_name(id));
        let encoded =
            encoded_png(bytes, (shape.height, shape.width), format, Compression::Fast, None)
                .map_err(|source| Error::Picture { path: path.clone(), source })?;
        write_atomically(&path, &encoded)?;
    }
    Ok(())
}
