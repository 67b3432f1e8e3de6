//! The copy that a path holds.

use std::path::{Path, PathBuf};

use super::{COPIES, NyuCopy};
use crate::nyuv2::{Error, Result};
use crate::{Recognised, nyuv2::source};

/// The title and the layout of the official file, for messages.
const MAT: (&str, &str) = (
    "NYU Depth V2, the official file",
    "a MATLAB v7.3 file, nyu_depth_v2_labeled.mat, with `images`, `depths` and `labels`",
);
/// Folders of a folder that are looked into for a copy.
const MAX_FOLDERS: usize = 64;

/// A recognised copy.
#[derive(Debug, Clone, Copy)]
pub(in crate::nyuv2) enum Found {
    /// The official file or an excerpt.
    Mat,
    /// Another copy.
    Copy(&'static dyn NyuCopy),
}

impl Found {
    /// The name of the copy in messages.
    pub(in crate::nyuv2) fn title(self) -> &'static str {
        match self {
            Self::Mat => MAT.0,
            Self::Copy(copy) => copy.title(),
        }
    }

    fn layout(self) -> &'static str {
        match self {
            Self::Mat => MAT.1,
            Self::Copy(copy) => copy.layout(),
        }
    }

    fn recognises(self, path: &Path) -> bool {
        match self {
            Self::Mat => path.is_file() && source::is_mat(path),
            Self::Copy(copy) => copy.recognises(path),
        }
    }
}

fn all() -> impl Iterator<Item = Found> {
    std::iter::once(Found::Mat).chain(COPIES.into_iter().map(Found::Copy))
}

fn matching(path: &Path) -> Vec<Found> {
    all().filter(|copy| copy.recognises(path)).collect()
}

/// The copy that a path holds.
///
/// # Errors
/// [`Error::Io`] if there is nothing; [`Error::Input`] if no copy has this layout, with all layouts,
/// or several have.
pub(in crate::nyuv2) fn find(path: &Path) -> Result<Found> {
    fs_err::metadata(path)?;
    let found = matching(path);
    let problem = match found.as_slice() {
        [found] => return Ok(*found),
        [] => unknown(path),
        several => format!(
            "it looks like several copies: {}; give the file or folder of one of them",
            several.iter().map(|copy| copy.title()).collect::<Vec<_>>().join("; ")
        ),
    };
    Err(Error::Input { path: path.to_owned(), problem })
}

/// The message about a path of an unknown layout.
fn unknown(path: &Path) -> String {
    if let Some(problem) = packed(path) {
        return problem;
    }
    let inside: Vec<String> = folders(path)
        .into_iter()
        .flat_map(|folder| matching(&folder).into_iter().map(move |copy| (folder.clone(), copy)))
        .map(|(folder, copy)| format!("{} ({})", folder.display(), copy.title()))
        .collect();
    if !inside.is_empty() {
        return format!("it is no copy of NYUv2; give {}", inside.join(" or "));
    }
    let layouts = all().map(|copy| format!("\n  {}: {}", copy.title(), copy.layout()));
    format!("it is no copy of NYUv2 that is known here. Known are{}", layouts.collect::<String>())
}

/// The folders in a folder, by name.
fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).take(MAX_FOLDERS).collect();
    folders.sort_unstable();
    folders
}

/// The message about archives, which have to be unpacked.
fn packed(path: &Path) -> Option<String> {
    let is_packed = |path: &Path| {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let archive = [".tar", ".tar.gz", ".tgz", ".zip"].iter().any(|end| name.ends_with(end));
        (archive && path.is_file()).then(|| path.to_owned())
    };
    let inside = [path.to_owned(), path.join("data")].into_iter().flat_map(|folder| {
        let entries = fs_err::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    });
    let archive =
        std::iter::once(path.to_owned()).chain(inside).find_map(|path| is_packed(&path))?;
    let name = archive.display();
    let command = if archive.extension().is_some_and(|extension| extension == "zip") {
        format!("unzip {name} -d DIR")
    } else {
        format!("mkdir -p DIR && tar -xf {name} -C DIR")
    };
    Some(format!(
        "{name} is an archive; unpack all archives into one folder, each with `{command}`, and \
         give that folder"
    ))
}

/// The copies that a path looks like, with their frames.
pub(in crate::nyuv2) fn recognise(path: &Path) -> Vec<Recognised> {
    let describe = |found: Found| Recognised {
        dataset: "nyuv2",
        copy: found.title().to_owned(),
        option: "copy",
        path: path.to_owned(),
        facts: facts(found, path),
    };
    matching(path).into_iter().map(describe).collect()
}

fn facts(found: Found, path: &Path) -> Vec<String> {
    let opened = match found {
        Found::Mat => return Vec::new(),
        Found::Copy(copy) => copy.open(path),
    };
    match opened {
        Ok(opened) => vec![opened.lists()],
        Err(error) => vec![error.to_string()],
    }
}
