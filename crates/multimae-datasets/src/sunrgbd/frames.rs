//! The frames on disk, their lists, and their places in the toolbox.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::mat;
use super::prepare::DepthChoice;
use crate::source_files::{self, Listing, SourceFile};
use crate::{Error, Result};

/// The lists, and their cells in `allsplit.mat`.
pub(super) const LISTS: [(&str, &str); 2] = [("train", "alltrain"), ("test", "alltest")];
/// The folders of the sensors.
const SENSORS: [&str; 4] = ["kv1", "kv2", "realsense", "xtion"];
/// The folder of the frames.
const FOLDER: &str = "SUNRGBD";
/// The frames of NYU Depth V2.
pub(super) const NYU: &str = "kv1/NYUdata/";

/// A frame to prepare.
#[derive(Debug)]
pub(super) struct SunFrame {
    /// The folder of the frame below that of the data set.
    pub(super) name: String,
    pub(super) list: &'static str,
    pub(super) image: PathBuf,
    pub(super) depth: PathBuf,
    /// Its place among the labels.
    pub(super) place: Option<usize>,
}

/// The frames that are there.
#[derive(Debug, Default)]
pub(super) struct Frames {
    pub(super) frames: Vec<SunFrame>,
    pub(super) listing: Listing,
    /// Frames of the lists that are not on disk.
    pub(super) absent: Vec<String>,
}

/// The folder with those of the sensors, whether itself or its parent is given.
pub(super) fn find(given: &Path) -> Option<PathBuf> {
    let is_root = |folder: &PathBuf| {
        let sensors = SENSORS.iter().filter(|sensor| folder.join(sensor).is_dir()).count();
        sensors > 0 && (sensors > 1 || folder.ends_with(FOLDER))
    };
    [given.to_owned(), given.join(FOLDER)].into_iter().find(is_root)
}

/// The folder of a frame below that of the data set: published paths are those of the authors' machine.
fn name(path: &str) -> Option<String> {
    let (_, inner) = path.rsplit_once("/SUNRGBD/")?;
    let parts: Vec<&str> = inner.split('/').filter(|part| !part.is_empty()).collect();
    let is_inside = !parts.is_empty() && !parts.iter().any(|part| matches!(*part, "." | ".."));
    is_inside.then(|| parts.join("/"))
}

/// The places of the frames among the labels, by the names of the frames.
///
/// # Errors
/// [`Error::Input`] if the file is damaged or has other paths; [`Error::Io`].
pub(super) fn places(meta: &Path) -> Result<BTreeMap<String, usize>> {
    let paths = mat::field_texts(meta, "SUNRGBDMeta", "rgbpath")?;
    let place = |(place, path): (usize, &String)| {
        // The folder of the frame contains `image/NAME.jpg`.
        let folder = path.rsplitn(3, '/').last().and_then(name);
        folder.map(|name| (name, place)).ok_or_else(|| bad_path(meta, path))
    };
    paths.iter().enumerate().map(place).collect()
}

fn bad_path(file: &Path, path: &str) -> Error {
    let problem = format!("the path `{path}` is not below a folder `SUNRGBD`");
    Error::Input { path: file.to_owned(), problem }
}

/// Finds the frames of the official lists.
///
/// # Errors
/// [`Error::Input`] if the lists are damaged, a frame lacks a file, or no frame is there; [`Error::Io`].
pub(super) fn frames(
    root: &Path,
    split: &Path,
    places: Option<&BTreeMap<String, usize>>,
    depth: DepthChoice,
) -> Result<Frames> {
    let mut found = Frames::default();
    let mut seen = BTreeSet::new();
    for (list, cells) in LISTS {
        for path in mat::cell_texts(split, cells)? {
            let name = name(&path).ok_or_else(|| bad_path(split, &path))?;
            if !seen.insert(name.clone()) {
                let problem = format!("the frame {name} is on its lists twice");
                return Err(Error::Input { path: split.to_owned(), problem });
            }
            let folder = root.join(&name);
            if !folder.is_dir() {
                found.absent.push(name);
                continue;
            }
            let image = only_file(&folder.join("image"), "jpg")?;
            let depth = only_file(&folder.join(depth.folder()), "png")?;
            for file in [&image, &depth] {
                found.listing.add(&format!("{name}/{}", file.name), file.bytes);
            }
            let place = places.and_then(|places| places.get(&name).copied());
            let (image, depth) = (image.path, depth.path);
            found.frames.push(SunFrame { name, list, image, depth, place });
        }
    }
    if found.frames.is_empty() {
        let problem =
            "it has none of the frames of the official lists; unpack SUNRGBD.zip".to_owned();
        return Err(Error::Input { path: root.to_owned(), problem });
    }
    found.frames.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The only file with an extension in a folder.
fn only_file(folder: &Path, extension: &str) -> Result<SourceFile> {
    let bad = |problem: String| Error::Input { path: folder.to_owned(), problem };
    if !folder.is_dir() {
        return Err(bad("there is no such folder; unpack SUNRGBD.zip again".to_owned()));
    }
    let mut files = source_files::files(folder)?;
    files.retain(|file| file.stem().1 == extension);
    match files.pop() {
        Some(file) if files.is_empty() => Ok(file),
        found => {
            let count = files.len() + usize::from(found.is_some());
            Err(bad(format!("it has {count} files .{extension}, expected one")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_paths_become_names() {
        let path = "/n/fs/sun3d/data/SUNRGBD/kv1/NYUdata/NYU0001";
        assert_eq!(name(path).as_deref(), Some("kv1/NYUdata/NYU0001"));
        assert_eq!(name(&format!("{path}/")).as_deref(), Some("kv1/NYUdata/NYU0001"));
        assert_eq!(name("/n/SUNRGBD/../x"), None);
        assert_eq!(name("kv1/NYUdata"), None);
    }
}
