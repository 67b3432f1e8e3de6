//! The frames that the demo trains on: what a folder holds, and how much of it.

use std::path::{Path, PathBuf};

use anyhow::bail;

/// A folder of frames as generated rooms and NYUv2 are stored: rgb/, depth/ in millimetres, label40/
/// with 0 for void, perhaps normal/, and a list of names per split.
#[derive(Debug)]
pub(super) struct Frames {
    pub(super) root: PathBuf,
    /// The list of the frames to learn from.
    pub(super) train: String,
    /// The number of names in it.
    pub(super) count: usize,
    /// The list of the frames that are scored besides `val`.
    pub(super) test: Option<String>,
    pub(super) normals: bool,
}

/// Names of the training list; the first that exists is used. A folder of `prepare nyuv2` has both, and its `train`
/// includes `val`.
const TRAIN: [&str; 2] = ["train_fit", "train"];
const TEST: &str = "test";

impl Frames {
    /// Opens the folder and reads its lists.
    pub(super) fn of(root: &Path) -> anyhow::Result<Self> {
        for folder in ["rgb", "depth", "label40"] {
            if !root.join(folder).is_dir() {
                bail!(
                    "{}: there is no such folder; the demo needs rgb/, depth/ (16-bit PNG in \
                     millimetres) and label40/ (0 = void), with files of the same names",
                    root.join(folder).display()
                );
            }
        }
        let train = TRAIN.into_iter().find(|name| path(root, name).is_file());
        let (Some(train), true) = (train, path(root, "val").is_file()) else {
            bail!(
                "{}: there are no lists train.txt and val.txt of the frames to learn from and to \
                 measure on, a name per line",
                root.display()
            );
        };
        let count = multimae_data::list_lines(&path(root, train))?.len();
        if count == 0 {
            bail!("{}: names no frame", path(root, train).display());
        }
        Ok(Self {
            root: root.to_owned(),
            train: train.to_owned(),
            count,
            test: path(root, TEST).is_file().then(|| TEST.to_owned()),
            normals: root.join("normal").is_dir(),
        })
    }

    /// Returns the epochs after which about `frames` frames were seen.
    pub(super) fn epochs(&self, samples: usize) -> usize {
        samples.div_ceil(self.count).max(2)
    }
}

fn path(root: &Path, list: &str) -> PathBuf {
    root.join(list).with_added_extension("txt")
}
