//! Facts about the files of a data set, so that a changed one is noticed when a run is resumed.

use indexmap::IndexMap;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::Dataset;
use crate::Result;

/// The number, the names and the sizes of the files behind the samples of a data set. The place of
/// the data set and the times of its files do not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFacts {
    /// The number of samples.
    pub samples: u64,
    /// Digest of the ids of the samples in their order.
    pub names: String,
    /// Whether the frames are in a pack. Sizes of files and of frames in a pack do not compare.
    pub packed: bool,
    /// The sizes by the name of the modality.
    pub sizes: IndexMap<String, FileSizes>,
}

/// The sizes of the files of one modality.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSizes {
    /// Bytes of all files.
    pub bytes: u64,
    /// Digest of the sizes in the order of the samples; in a pack, of checksums too.
    pub digest: String,
}

/// A difference between two data sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataDifference {
    /// The samples are others: the text says in which way.
    Samples(String),
    /// The samples are the same, and some of their files have other sizes: the text says of which
    /// modality.
    Sizes(String),
}

impl Dataset {
    /// Returns a digest of the ids of the samples in their order, in hexadecimal digits.
    #[must_use]
    pub fn names_digest(&self) -> String {
        let mut names = Md5::new();
        for id in self.ids() {
            names.update(id.as_bytes());
            names.update([0]);
        }
        hex(names)
    }

    /// Returns the facts by which this data set is recognised. Looks up the size of every file and
    /// reads none.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if a file is gone.
    pub fn facts(&self) -> Result<DataFacts> {
        let sizes = self.modalities.iter().enumerate().map(|(place, modality)| {
            let (mut bytes, mut digest) = (0, Md5::new());
            for index in 0..self.len() {
                let (len, checksum) = match self.entries.stored(index) {
                    Some((store, row)) => store.size(row, modality),
                    None => match self.entries.path(index, place) {
                        Some(path) => (fs_err::metadata(path)?.len(), 0),
                        None => (0, 0),
                    },
                };
                bytes += len;
                digest.update(len.to_le_bytes());
                digest.update(checksum.to_le_bytes());
            }
            Ok((modality.name.clone(), FileSizes { bytes, digest: hex(digest) }))
        });
        Ok(DataFacts {
            samples: self.len() as u64,
            names: self.names_digest(),
            packed: self.entries.store().is_some_and(|store| !store.keeps_files()),
            sizes: sizes.collect::<Result<_>>()?,
        })
    }
}

impl DataFacts {
    /// Returns the first difference between these facts and those of now, if there is one.
    #[must_use]
    pub fn difference(&self, now: &Self) -> Option<DataDifference> {
        if self.samples != now.samples {
            let text = format!("it has {} samples, and had {}", now.samples, self.samples);
            return Some(DataDifference::Samples(text));
        }
        if self.names != now.names {
            let text = "the names of its samples, or their order, are others".to_owned();
            return Some(DataDifference::Samples(text));
        }
        if self.packed != now.packed {
            return None;
        }
        self.sizes.iter().find_map(|(modality, before)| {
            let after = now.sizes.get(modality)?;
            let text = if before.bytes != after.bytes {
                let (after, before) = (after.bytes, before.bytes);
                format!("the files of `{modality}` have {after} bytes, and had {before}")
            } else if before.digest != after.digest {
                format!("files of `{modality}` have other sizes, or other contents in the pack")
            } else {
                return None;
            };
            Some(DataDifference::Sizes(text))
        })
    }
}

/// A digest in hexadecimal digits.
pub(crate) fn hex(digest: Md5) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataModality, Encoding, IMAGENET_MEAN, IMAGENET_STD, Layout};
    use fs_err as fs;
    use std::path::Path;

    fn facts(root: &Path) -> DataFacts {
        let encoding = Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD };
        let rgb = DataModality::new("rgb", encoding);
        Dataset::open(root, &Layout::Folders, &[rgb]).unwrap().facts().unwrap()
    }

    fn folder(files: &[(&str, usize)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("rgb")).unwrap();
        for (name, bytes) in files {
            fs::write(dir.path().join("rgb").join(name), vec![7; *bytes]).unwrap();
        }
        dir
    }

    #[test]
    fn count_names_and_sizes_are_told_apart() {
        let before = folder(&[("a.png", 10), ("b.png", 20)]);
        let before = facts(before.path());
        let difference = |files| before.difference(&facts(folder(files).path()));
        // The same elsewhere, also through JSON.
        assert_eq!(difference(&[("a.png", 10), ("b.png", 20)]), None);
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<DataFacts>(&text).unwrap(), before);
        assert_eq!(
            difference(&[("a.png", 10)]),
            Some(DataDifference::Samples("it has 1 samples, and had 2".to_owned()))
        );
        let Some(DataDifference::Samples(renamed)) = difference(&[("a.png", 10), ("c.png", 20)])
        else {
            panic!("a renamed file is not noticed")
        };
        assert!(renamed.contains("names"), "{renamed}");
        let Some(DataDifference::Sizes(grown)) = difference(&[("a.png", 11), ("b.png", 20)]) else {
            panic!("a larger file is not noticed")
        };
        assert!(grown.contains("`rgb` have 31 bytes, and had 30"), "{grown}");
        // The same number of bytes, in other files.
        let swapped = difference(&[("a.png", 20), ("b.png", 10)]);
        assert!(matches!(swapped, Some(DataDifference::Sizes(_))), "{swapped:?}");
    }
}
