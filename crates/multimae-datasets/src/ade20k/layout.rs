//! The folders of ADE20K, and what is taken for it by mistake.

use std::path::{Path, PathBuf};

use crate::source_files::{self, SourceFile, inside, some_of};
use crate::{Error, Result};

/// The folder that the archive unpacks to.
const FOLDER: &str = "ADEChallengeData2016";
/// Official folders, lists and numbers of frames.
pub(super) const SPLITS: [(&str, &str, usize); 2] =
    [("training", "train", 20_210), ("validation", "val", 2_000)];
/// The names of the classes.
const CLASSES: &str = "objectInfo150.txt";
/// Files and folders of the full ADE20K, which is another release.
const FULL: [&str; 6] = [
    "index_ade20k.mat",
    "index_ade20k.pkl",
    "images/ADE",
    "ADE20K_2016_07_26",
    "ADE20K_2021_17_01",
    "images/training/a",
];

/// The explanation of the common mix-up.
pub(super) const FULL_RELEASE: &str = "it is the full ADE20K, whose annotations encode classes in colours \
     (`*_seg.png`) and are not the 150 classes of the benchmark; download the release for scene parsing, \
     ADEChallengeData2016.zip, from http://sceneparsing.csail.mit.edu";

/// A frame to prepare.
#[derive(Debug)]
pub(super) struct AdeFrame {
    pub(super) name: String,
    pub(super) list: &'static str,
    pub(super) image: SourceFile,
    pub(super) annotation: SourceFile,
}

/// The folder of the release, whether itself or its parent is given.
pub(super) fn find(given: &Path) -> Option<PathBuf> {
    inside(given, FOLDER, "annotations/training").filter(|root| root.join("images").is_dir())
}

pub(super) fn is_full_release(given: &Path) -> bool {
    FULL.iter().any(|mark| given.join(mark).exists())
}

/// The folder of the release.
///
/// # Errors
/// [`Error::Input`] if it is the full ADE20K or nothing of the kind.
pub(super) fn root(given: &Path) -> Result<PathBuf> {
    let input =
        |problem: &str| Error::Input { path: given.to_owned(), problem: problem.to_owned() };
    if is_full_release(given) {
        return Err(input(FULL_RELEASE));
    }
    find(given).ok_or_else(|| {
        input(
            "it has no folders `images` and `annotations` with `training` and `validation`; give the \
             unpacked ADEChallengeData2016",
        )
    })
}

/// The frames of the release, list by list, in the order of their names.
///
/// # Errors
/// [`Error::Input`] if photographs and annotations do not pair up.
pub(super) fn frames(root: &Path) -> Result<Vec<AdeFrame>> {
    let mut frames = Vec::new();
    for (folder, list, _) in SPLITS {
        let (images, annotations) =
            (root.join("images").join(folder), root.join("annotations").join(folder));
        if !images.is_dir() {
            return Err(Error::Input {
                path: images,
                problem: "there is no such folder".to_owned(),
            });
        }
        let (photos, labels) = (source_files::files(&images)?, source_files::files(&annotations)?);
        if labels.iter().chain(&photos).any(|file| file.name.ends_with("_seg.png")) {
            return Err(Error::Input { path: root.to_owned(), problem: FULL_RELEASE.to_owned() });
        }
        let (photos, labels) = (of_kind(photos, "jpg"), of_kind(labels, "png"));
        frames.extend(pair(&images, list, photos, labels)?);
    }
    Ok(frames)
}

fn of_kind(files: Vec<SourceFile>, extension: &str) -> Vec<SourceFile> {
    files.into_iter().filter(|file| file.stem().1 == extension).collect()
}

/// Pairs files of the same name; both lists are sorted.
fn pair(
    folder: &Path,
    list: &'static str,
    photos: Vec<SourceFile>,
    labels: Vec<SourceFile>,
) -> Result<Vec<AdeFrame>> {
    let stems = |files: &[SourceFile]| -> Vec<String> {
        files.iter().map(|file| file.stem().0.to_owned()).collect()
    };
    let (of_photos, of_labels) = (stems(&photos), stems(&labels));
    let lack = |of: &[String], other: &[String]| -> Vec<String> {
        of.iter().filter(|name| other.binary_search(name).is_err()).cloned().collect()
    };
    let (bare, orphans) = (lack(&of_photos, &of_labels), lack(&of_labels, &of_photos));
    if !bare.is_empty() || !orphans.is_empty() {
        let part = |names: &[String], without: &str| {
            (!names.is_empty())
                .then(|| format!("{} without {without}: {}", names.len(), some_of(names)))
        };
        let parts = [part(&bare, "an annotation"), part(&orphans, "a photograph")];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let problem = format!("frames {}; unpack the archive again", parts.join("; "));
        return Err(Error::Input { path: folder.to_owned(), problem });
    }
    let frame = |((name, image), annotation)| AdeFrame { name, list, image, annotation };
    Ok(of_photos.into_iter().zip(photos).zip(labels).map(frame).collect())
}

/// The names of the labels from 0, which is void; empty if the release lacks their table.
///
/// # Errors
/// [`Error::Input`] if the table is damaged; [`Error::Io`].
pub(super) fn class_names(root: &Path) -> Result<Vec<String>> {
    let path = root.join(CLASSES);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = fs_err::read_to_string(&path)?;
    let mut names = vec!["other".to_owned()];
    for line in text.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
        let (id, name) = (
            cells.first().and_then(|id| id.parse::<usize>().ok()),
            cells.iter().rev().find(|cell| !cell.is_empty()),
        );
        match (id, name) {
            (Some(id), Some(name)) if id == names.len() && cells.len() > 1 => {
                names.push((*name).to_owned());
            }
            _ => {
                let problem = format!("the line `{line}` is not that of class {}", names.len());
                return Err(Error::Input { path, problem });
            }
        }
    }
    if names.len() == super::prepare::CLASSES + 1 {
        return Ok(names);
    }
    let problem = format!(
        "it names {} classes; the release has {}",
        names.len() - 1,
        super::prepare::CLASSES
    );
    Err(Error::Input { path, problem })
}
