//! The pictures of a frame on disk.

use std::borrow::Cow;
use std::path::Path;

use multimae_data::encode::encoded_png;
use multimae_io::atomic::write_atomically;
use png::{BitDepth, ColorType, Compression};

use super::Extent;
use crate::frame::Frame;
use crate::{Error, Result};

/// The maps that all frames of a folder have besides RGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Maps {
    /// Whether there is depth, in `depth/`.
    pub(crate) depth: bool,
    /// The folder of the labels, if there are any.
    pub(crate) labels: Option<&'static str>,
    /// Whether there are masks of valid depth, in `mask_valid/`.
    pub(crate) valid: bool,
}

impl Maps {
    /// The folders of the maps; RGB is the first.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &'static str> {
        let depth = self.depth.then_some("depth");
        let valid = self.valid.then_some("mask_valid");
        [Some("rgb"), depth, self.labels, valid].into_iter().flatten()
    }
}

fn file_name(frame: &str) -> String {
    format!("{frame}.png")
}

/// Whether all pictures of a frame exist.
pub(super) fn is_complete(dir: &Path, maps: &Maps, frame: &str) -> bool {
    maps.folders().all(|folder| dir.join(folder).join(file_name(frame)).is_file())
}

/// Removes the files of an extent, and its folders where nothing else is inside.
pub(super) fn clear(dir: &Path, extent: &Extent) -> Result<()> {
    for file in extent.files() {
        remove(&dir.join(file))?;
    }
    for folder in extent.folders.iter().map(|folder| dir.join(folder)) {
        for frame in &extent.names {
            remove(&folder.join(file_name(frame)))?;
        }
        // Fails if it is not empty or does not exist, and both are fine.
        let _ = fs_err::remove_dir(&folder);
    }
    Ok(())
}

/// Removes a file if it exists.
fn remove(path: &Path) -> Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes all pictures of a frame, each whole or not at all.
///
/// # Errors
/// If the frame has other maps than the folder, or a file cannot be written.
pub(super) fn write(dir: &Path, maps: &Maps, name: &str, frame: &Frame) -> Result<()> {
    let pictures = pictures(maps, frame).ok_or_else(|| {
        let problem = format!("its maps are not those of the folder, {maps:?}");
        Error::Frame { path: dir.to_owned(), frame: name.to_owned(), problem }
    })?;
    for Picture { folder, bytes, format } in pictures {
        let path = dir.join(folder).join(file_name(name));
        let size = (frame.height, frame.width);
        let encoded = encoded_png(&bytes, size, format, Compression::Fast, None)
            .map_err(|source| Error::Picture { path: path.clone(), source })?;
        write_atomically(&path, &encoded)?;
    }
    Ok(())
}

struct Picture<'a> {
    folder: &'static str,
    bytes: Cow<'a, [u8]>,
    format: (ColorType, BitDepth),
}

/// The pictures of a frame; `None` if its maps are not those of the folder.
fn pictures<'a>(maps: &Maps, frame: &'a Frame) -> Option<Vec<Picture<'a>>> {
    const GREY: (ColorType, BitDepth) = (ColorType::Grayscale, BitDepth::Eight);
    let plain = |map: &'a Vec<u8>| Cow::Borrowed(map.as_slice());
    let depth = frame.depth.as_ref().map(|depth| {
        depth.iter().flat_map(|depth| depth.to_be_bytes()).collect::<Vec<u8>>().into()
    });
    let stored = [
        (true, Some(plain(&frame.rgb)), (ColorType::Rgb, BitDepth::Eight)),
        (maps.depth, depth, (ColorType::Grayscale, BitDepth::Sixteen)),
        (maps.labels.is_some(), frame.labels.as_ref().map(plain), GREY),
        (maps.valid, frame.valid.as_ref().map(plain), GREY),
    ];
    let fits = stored.iter().all(|(expected, bytes, _)| *expected == bytes.is_some());
    let stored = stored.into_iter().filter_map(|(_, bytes, format)| Some((bytes?, format)));
    let picture = |(folder, (bytes, format))| Picture { folder, bytes, format };
    fits.then(|| maps.folders().zip(stored).map(picture).collect())
}

/// A row of a table, with quotes around the cells that need them.
pub(crate) fn table_row(cells: &[&str]) -> String {
    let cell = |text: &&str| {
        if text.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            (*text).to_owned()
        }
    };
    cells.iter().map(cell).collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_without_a_map_of_its_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let maps = Maps { depth: true, labels: None, valid: false };
        let depth = Some(vec![1, 256]);
        let whole =
            Frame { height: 1, width: 2, rgb: vec![9; 6], depth, labels: None, valid: None };
        for folder in maps.folders() {
            fs_err::create_dir(dir.path().join(folder)).unwrap();
        }
        write(dir.path(), &maps, "7", &whole).unwrap();
        assert!(is_complete(dir.path(), &maps, "7"));
        let stored = image::open(dir.path().join("depth/7.png")).unwrap().into_luma16();
        assert_eq!(stored.into_raw(), [1, 256]);

        let partial = Frame { depth: None, ..whole };
        let message = write(dir.path(), &maps, "8", &partial).unwrap_err().to_string();
        assert!(message.contains("frame 8"), "{message}");
        assert!(!dir.path().join("rgb/8.png").exists());
    }

    #[test]
    fn cells_are_quoted_where_needed() {
        assert_eq!(table_row(&["1", "a,b", "say \"x\"", ""]), "1,\"a,b\",\"say \"\"x\"\"\",\n");
    }
}
