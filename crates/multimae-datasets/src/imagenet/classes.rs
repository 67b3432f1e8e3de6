//! The classes of a split, and where the files of each are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::archive::Files;
use crate::source_files::{self, Listing, some_of};
use crate::{Error, Result};

/// The tasks of pseudo labels: their folders of tars, and those of the result.
pub(super) const LABELS: [(&str, &str); 2] = [("depth_tar", "depth"), ("semseg_tar", "semseg")];
/// The folder of photographs in the result.
pub(super) const RGB: &str = "rgb";
/// The splits.
pub(super) const SPLITS: [&str; 2] = ["train", "val"];
/// The places of the splits below the folder of ImageNet.
const IMAGENET: [&str; 2] = ["", "ILSVRC/Data/CLS-LOC"];

/// One class of a split: the files of RGB, depth and semseg.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) split: &'static str,
    pub(super) wnid: String,
    pub(super) tasks: [(&'static str, Files); 3],
}

/// The classes that are there with all tasks.
#[derive(Debug, Default)]
pub(super) struct Classes {
    pub(super) classes: Vec<Class>,
    pub(super) listing: Listing,
    /// Classes that some task lacks, in words.
    pub(super) left_out: Vec<String>,
}

/// A WordNet id: `n` and 8 digits.
pub(super) fn is_wnid(name: &str) -> bool {
    name.strip_prefix('n')
        .is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a folder has the tars of pseudo labels.
pub(super) fn is_multitask(folder: &Path) -> bool {
    let has_labels =
        |split: &&str| LABELS.iter().all(|(tars, _)| folder.join(split).join(tars).is_dir());
    SPLITS.iter().any(has_labels)
}

/// Finds the classes of all splits.
///
/// # Errors
/// [`Error::Input`] if there are no tars of pseudo labels, or no photographs in classes; [`Error::Io`].
pub(super) fn find(data: &Path, imagenet: &Path) -> Result<Classes> {
    let mut found = Classes::default();
    for split in SPLITS {
        let folders = LABELS.map(|(tars, _)| data.join(split).join(tars));
        if folders.iter().any(|folder| folder.is_dir()) {
            found.add_split(split, &folders, &photographs(imagenet, split)?)?;
        }
    }
    if found.classes.is_empty() {
        let problem = if found.left_out.is_empty() {
            "it has no folders {train,val}/{depth_tar,semseg_tar} with a tar per class; give imagenet_multitask"
                .to_owned()
        } else {
            format!("no class has all of RGB, depth and semseg ({})", some_of(&found.left_out))
        };
        return Err(Error::Input { path: data.to_owned(), problem });
    }
    Ok(found)
}

/// The photographs of a split by class: folders, or tars.
fn photographs(imagenet: &Path, split: &str) -> Result<BTreeMap<String, Files>> {
    let folders = IMAGENET.map(|place| imagenet.join(place).join(split));
    let bad = |problem: String| Error::Input { path: imagenet.to_owned(), problem };
    let folder = folders.into_iter().find(|folder| folder.is_dir());
    let folder = folder.ok_or_else(|| bad(format!("it has no folder `{split}` of photographs")))?;
    let classes = of_classes(&folder)?;
    if classes.is_empty() {
        return Err(bad(format!(
            "{} has no folders or tars of classes (n01440764, ...); the photographs to validate with are \
             published in one folder, sort them into classes first",
            folder.display()
        )));
    }
    Ok(classes)
}

/// The folders and tars of classes right below a folder.
fn of_classes(folder: &Path) -> Result<BTreeMap<String, Files>> {
    let mut classes = BTreeMap::new();
    if !folder.is_dir() {
        return Ok(classes);
    }
    for file in source_files::files(folder)? {
        let (wnid, extension) = file.stem();
        if is_wnid(wnid) && extension == "tar" {
            classes.insert(wnid.to_owned(), Files::Tar(file.path.clone()));
        }
    }
    for (wnid, path) in source_files::folders(folder)? {
        if is_wnid(&wnid) {
            classes.insert(wnid, Files::Folder(path));
        }
    }
    Ok(classes)
}

impl Classes {
    fn add_split(
        &mut self,
        split: &'static str,
        folders: &[PathBuf; 2],
        photographs: &BTreeMap<String, Files>,
    ) -> Result<()> {
        let [depth, semseg] = [of_classes(&folders[0])?, of_classes(&folders[1])?];
        // Photographs of classes without pseudo labels are not asked for.
        let wnids: BTreeSet<&String> = depth.keys().chain(semseg.keys()).collect();
        for wnid in wnids {
            let parts = [photographs.get(wnid), depth.get(wnid), semseg.get(wnid)];
            let names = [RGB, LABELS[0].1, LABELS[1].1];
            let [Some(rgb), Some(depth), Some(semseg)] = parts else {
                let lacking = names.iter().zip(parts).filter(|(_, part)| part.is_none());
                let lacking: Vec<&str> = lacking.map(|(name, _)| *name).collect();
                self.left_out.push(format!("{split}/{wnid} lacks {}", lacking.join(", ")));
                continue;
            };
            for (task, files) in [(LABELS[0].1, depth), (LABELS[1].1, semseg)] {
                let bytes = fs_err::metadata(files.path())?.len();
                self.listing.add(&format!("{split}/{task}/{wnid}"), bytes);
            }
            let [a, b, c] = names;
            let tasks = [(a, rgb.clone()), (b, depth.clone()), (c, semseg.clone())];
            self.classes.push(Class { split, wnid: wnid.clone(), tasks });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_a_letter_and_eight_digits() {
        assert!(is_wnid("n01440764"));
        for other in ["n0144076", "m01440764", "n0144076a", "n014407640"] {
            assert!(!is_wnid(other), "{other}");
        }
    }
}
