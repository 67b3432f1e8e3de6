//! The pictures of a frame on disk.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use multimae_data::encode::encoded_png;
use multimae_io::atomic::write_atomically;
use multimae_io::placed::link_or_copy;
use png::{BitDepth, ColorType, Compression};

use super::Extent;
use crate::frame::{DEPTH_PER_METRE, Frame};
use crate::{Error, Result};

/// The folder of the frames' pictures.
const COLOR_FOLDER: &str = "rgb";

/// The extension of encoded pictures.
const PNG: &str = "png";

/// The maps that all frames of a folder have besides RGB.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Maps {
    /// Whether there is depth, in [`depth_folder`](Self::depth_folder).
    pub(crate) depth: bool,
    /// The folder of depth.
    pub(crate) depth_folder: &'static str,
    /// Stored units of depth per metre.
    pub(crate) depth_per_metre: f32,
    /// The folder of the labels, if there are any.
    pub(crate) labels: Option<&'static str>,
    /// Whether there are masks of valid depth, in `mask_valid/`.
    pub(crate) valid: bool,
    /// The folders of further maps.
    pub(crate) further: Vec<&'static str>,
    /// The extension of the files in a folder, if they are kept as they are and not pictures that
    /// are encoded here.
    pub(crate) kept: Vec<(&'static str, &'static str)>,
}

impl Default for Maps {
    fn default() -> Self {
        Self {
            depth: false,
            depth_folder: "depth",
            depth_per_metre: DEPTH_PER_METRE,
            labels: None,
            valid: false,
            further: Vec::new(),
            kept: Vec::new(),
        }
    }
}

impl Maps {
    /// The folders of the maps; RGB is the first.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &'static str> {
        let depth = self.depth.then_some(self.depth_folder);
        let valid = self.valid.then_some("mask_valid");
        let usual = [Some(COLOR_FOLDER), depth, self.labels, valid];
        usual.into_iter().flatten().chain(self.further.iter().copied())
    }

    /// The file of a frame in a folder.
    fn path(&self, dir: &Path, folder: &str, frame: &str) -> PathBuf {
        let kept = self.kept.iter().find(|(kept, _)| *kept == folder);
        let extension = kept.map_or(PNG, |(_, extension)| extension);
        dir.join(folder).join(format!("{frame}.{extension}"))
    }
}

/// Whether all files of a frame exist.
pub(super) fn is_complete(dir: &Path, maps: &Maps, frame: &str) -> bool {
    maps.folders().all(|folder| maps.path(dir, folder, frame).is_file())
}

/// The folders of frames whose names have folders in them, below the folder of a map.
pub(super) fn parents(names: &[String]) -> BTreeSet<&str> {
    names.iter().map(|name| name.rsplit_once('/').map_or("", |(parent, _)| parent)).collect()
}

/// Removes the files of an extent and of the frames of an earlier call, and its folders where
/// nothing else is inside.
pub(super) fn clear(dir: &Path, extent: &Extent, earlier: &[String]) -> Result<()> {
    let mut parents = parents(&extent.names);
    parents.extend(self::parents(earlier));
    for folder in extent.folders.iter().map(|folder| dir.join(folder)) {
        if folder.is_dir() {
            for frame in extent.names.iter().chain(earlier) {
                for extension in extent.extensions {
                    remove(&folder.join(format!("{frame}.{extension}")))?;
                }
            }
        }
        for parent in parents.iter().rev().flat_map(|parent| Path::new(parent).ancestors()) {
            // Fails if it is not empty or does not exist, and both are fine.
            let _ = fs_err::remove_dir(folder.join(parent));
        }
    }
    // The last: the table names the frames of an earlier call.
    for file in extent.files() {
        remove(&dir.join(file))?;
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

/// Writes all files of a frame, each whole or not at all.
///
/// # Errors
/// If the frame has other maps than the folder, or a file cannot be written.
pub(super) fn write(dir: &Path, maps: &Maps, name: &str, frame: &Frame) -> Result<()> {
    let contents = contents(maps, frame).ok_or_else(|| {
        let problem = format!("its maps are not those of the folder, {maps:?}");
        Error::Frame { path: dir.to_owned(), frame: name.to_owned(), problem }
    })?;
    for (folder, content) in contents {
        let path = maps.path(dir, folder, name);
        match content {
            Content::Kept(source) => {
                link_or_copy(source, &path)?;
            }
            Content::Picture { bytes, format } => {
                let size = (frame.height, frame.width);
                let encoded = encoded_png(&bytes, size, format, Compression::Fast, None)
                    .map_err(|source| Error::Picture { path: path.clone(), source })?;
                write_atomically(&path, &encoded)?;
            }
        }
    }
    Ok(())
}

/// The content of a file of a frame.
enum Content<'a> {
    /// That of an existing file.
    Kept(&'a Path),
    /// A picture to encode.
    Picture { bytes: Cow<'a, [u8]>, format: (ColorType, BitDepth) },
}

/// The files of a frame with their folders; `None` if its maps are not those of the folder.
fn contents<'a>(maps: &Maps, frame: &'a Frame) -> Option<Vec<(&'static str, Content<'a>)>> {
    let is_kept = |folder: &str| maps.kept.iter().any(|(kept, _)| *kept == folder);
    let given = [frame.depth.is_some(), frame.labels.is_some(), frame.valid.is_some()];
    let wanted = [maps.depth, maps.labels.is_some(), maps.valid];
    let has_all = given.iter().zip(wanted).all(|(&given, wanted)| wanted || !given);
    let content = |folder: &'static str| {
        if is_kept(folder) {
            let (_, path) = frame.kept.iter().find(|(kept, _)| *kept == folder)?;
            return Some((folder, Content::Kept(path)));
        }
        picture(maps, frame, folder).map(|content| (folder, content))
    };
    if has_all { maps.folders().map(content).collect() } else { None }
}

/// The picture of a map; `None` if the frame lacks it.
fn picture<'a>(maps: &Maps, frame: &'a Frame, folder: &str) -> Option<Content<'a>> {
    const GREY: (ColorType, BitDepth) = (ColorType::Grayscale, BitDepth::Eight);
    const RGB: (ColorType, BitDepth) = (ColorType::Rgb, BitDepth::Eight);
    let plain =
        |bytes: &'a Vec<u8>, format| Content::Picture { bytes: Cow::Borrowed(bytes), format };
    if folder == COLOR_FOLDER {
        return Some(plain(&frame.rgb, RGB));
    }
    if maps.depth && folder == maps.depth_folder {
        let bytes: Vec<u8> = frame.depth.as_ref()?.iter().flat_map(|d| d.to_be_bytes()).collect();
        let format = (ColorType::Grayscale, BitDepth::Sixteen);
        return Some(Content::Picture { bytes: bytes.into(), format });
    }
    if maps.labels == Some(folder) {
        return frame.labels.as_ref().map(|labels| plain(labels, GREY));
    }
    if let Some(at) = maps.further.iter().position(|further| *further == folder) {
        return frame.further.get(at).map(|bytes| plain(bytes, RGB));
    }
    frame.valid.as_ref().map(|valid| plain(valid, GREY))
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
        let maps = Maps { depth: true, ..Maps::default() };
        let depth = Some(vec![1, 256]);
        let whole = Frame { height: 1, width: 2, rgb: vec![9; 6], depth, ..Frame::default() };
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
    fn kept_files_and_further_maps_have_their_folders() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source.jpg");
        fs_err::write(&source, [1, 2, 3]).unwrap();
        let maps = Maps { further: vec!["normal"], kept: vec![("rgb", "jpg")], ..Maps::default() };
        let frame = Frame {
            height: 1,
            width: 1,
            further: vec![vec![1, 2, 3]],
            kept: vec![("rgb", source.clone())],
            ..Frame::default()
        };
        for folder in maps.folders() {
            fs_err::create_dir_all(dir.path().join(folder).join("a")).unwrap();
        }
        write(dir.path(), &maps, "a/7", &frame).unwrap();
        assert!(is_complete(dir.path(), &maps, "a/7"));
        assert_eq!(fs_err::read(dir.path().join("rgb/a/7.jpg")).unwrap(), [1, 2, 3]);
        let normal = image::open(dir.path().join("normal/a/7.png")).unwrap().into_rgb8();
        assert_eq!(normal.into_raw(), [1, 2, 3]);
        assert!(write(dir.path(), &maps, "a/8", &Frame::default()).is_err());

        let names = vec!["a/7".to_owned()];
        let extent = Extent {
            folders: &["rgb", "normal"],
            lists: &[],
            names: Vec::new(),
            extensions: &["png", "jpg"],
        };
        clear(dir.path(), &extent, &names).unwrap();
        assert!(!dir.path().join("rgb").exists() && !dir.path().join("normal").exists());
        assert!(source.exists(), "the link is removed, not the source");
    }

    #[test]
    fn cells_are_quoted_where_needed() {
        assert_eq!(table_row(&["1", "a,b", "say \"x\"", ""]), "1,\"a,b\",\"say \"\"x\"\"\",\n");
    }
}
