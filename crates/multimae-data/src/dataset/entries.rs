//! The samples of a data set, in as little memory as they need: millions are usual.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Store;
use crate::arena::StringArena;

/// The files of one sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleEntry {
    /// The name of the sample: the path of its files below the modality's folder, without the
    /// extension.
    pub id: String,
    /// One file per modality, in the order of [`Dataset::modalities`](super::Dataset::modalities);
    /// none in a pack, a table or shards.
    pub paths: Vec<PathBuf>,
}

/// The samples of a data set in their order.
#[derive(Debug, Clone)]
pub(super) enum Entries {
    Files(FileEntries),
    /// Rows of a store, which has the ids.
    Stored {
        store: Arc<dyn Store>,
        rows: Vec<u32>,
    },
}

/// Samples in files of their own.
#[derive(Debug, Clone, Default)]
pub(super) struct FileEntries {
    ids: StringArena,
    root: PathBuf,
    /// By sample, then by modality; below the root.
    paths: StringArena,
    /// The paths that are elsewhere, or not text, by their places.
    others: BTreeMap<usize, PathBuf>,
    modalities: usize,
}

impl FileEntries {
    /// No samples yet, below a root, with a file for each of some modalities.
    pub(super) fn new(root: &Path, modalities: usize) -> Self {
        Self { root: root.to_owned(), modalities, ..Self::default() }
    }

    /// Appends a sample.
    pub(super) fn push<P: AsRef<Path>>(&mut self, id: &str, paths: impl IntoIterator<Item = P>) {
        self.ids.push(id);
        for path in paths {
            let path = path.as_ref();
            let below = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
            if below.is_none() {
                self.others.insert(self.paths.len(), path.to_owned());
            }
            self.paths.push(below.unwrap_or_default());
        }
    }

    /// Gives back the memory that was reserved for more samples.
    pub(super) fn shrink_to_fit(&mut self) {
        self.ids.shrink_to_fit();
        self.paths.shrink_to_fit();
    }

    fn path(&self, index: usize, modality: usize) -> Option<PathBuf> {
        if modality >= self.modalities || index >= self.ids.len() {
            return None;
        }
        let place = index * self.modalities + modality;
        let other = self.others.get(&place);
        Some(other.cloned().unwrap_or_else(|| self.root.join(self.paths.get(place))))
    }

    fn keep(&self, kept: &[usize]) -> Self {
        let mut entries = Self::new(&self.root, self.modalities);
        for &index in kept {
            let paths = (0..self.modalities).filter_map(|modality| self.path(index, modality));
            entries.push(self.ids.get(index), paths);
        }
        entries.shrink_to_fit();
        entries
    }
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Files(files) => files.ids.len(),
            Self::Stored { rows, .. } => rows.len(),
        }
    }

    /// The id of a sample.
    pub(super) fn id(&self, index: usize) -> Option<Cow<'_, str>> {
        match self {
            Self::Files(files) => {
                (index < files.ids.len()).then(|| Cow::Borrowed(files.ids.get(index)))
            }
            Self::Stored { store, rows } => rows.get(index).map(|&row| store.id(row as usize)),
        }
    }

    /// The file of a modality of a sample; none in a store.
    pub(super) fn path(&self, index: usize, modality: usize) -> Option<PathBuf> {
        match self {
            Self::Files(files) => files.path(index, modality),
            Self::Stored { .. } => None,
        }
    }

    /// The store that has the samples, and the row of a sample.
    pub(super) fn stored(&self, index: usize) -> Option<(&dyn Store, usize)> {
        match self {
            Self::Files(_) => None,
            Self::Stored { store, rows } => rows.get(index).map(|&row| (&**store, row as usize)),
        }
    }

    /// The store that has the samples.
    pub(super) fn store(&self) -> Option<&dyn Store> {
        match self {
            Self::Files(_) => None,
            Self::Stored { store, .. } => Some(&**store),
        }
    }

    /// Some of the samples, by their indices.
    pub(super) fn keep(&self, kept: &[usize]) -> Self {
        match self {
            Self::Files(files) => Self::Files(files.keep(kept)),
            Self::Stored { store, rows } => {
                let rows = kept.iter().filter_map(|&index| rows.get(index).copied()).collect();
                Self::Stored { store: Arc::clone(store), rows }
            }
        }
    }
}

/// The samples of a data set. Each entry is made when it is asked for:
/// [`Dataset::ids`](super::Dataset::ids) makes none.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a> {
    pub(super) entries: &'a Entries,
}

impl<'a> Samples<'a> {
    /// The number of samples.
    #[must_use]
    pub fn len(self) -> usize {
        self.entries.len()
    }

    /// Never: a data set without samples is an error.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The sample of an index.
    #[must_use]
    pub fn get(self, index: usize) -> Option<SampleEntry> {
        let id = self.entries.id(index)?.into_owned();
        let paths = (0..).map_while(|modality| self.entries.path(index, modality)).collect();
        Some(SampleEntry { id, paths })
    }

    /// All samples in their order.
    pub fn iter(self) -> SamplesIter<'a> {
        SamplesIter { samples: self, next: 0 }
    }
}

impl<'a> IntoIterator for Samples<'a> {
    type Item = SampleEntry;
    type IntoIter = SamplesIter<'a>;

    fn into_iter(self) -> SamplesIter<'a> {
        self.iter()
    }
}

/// The samples of a data set one by one.
#[derive(Debug, Clone)]
pub struct SamplesIter<'a> {
    samples: Samples<'a>,
    next: usize,
}

impl Iterator for SamplesIter<'_> {
    type Item = SampleEntry;

    fn next(&mut self) -> Option<SampleEntry> {
        let entry = self.samples.get(self.next)?;
        self.next += 1;
        Some(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.samples.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for SamplesIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_below_the_root_and_elsewhere_come_back() {
        let mut files = FileEntries::new(Path::new("/data"), 2);
        files.push("a", ["/data/rgb/a.png", "/other/a.png"]);
        files.push("b/c", ["/data/rgb/b/c.jpg", "/data/depth/b/c.npy"]);
        let entries = Entries::Files(files);
        let entry = |entries: &Entries, index| Samples { entries }.get(index);
        let first = entry(&entries, 0).unwrap();
        assert_eq!(first.id, "a");
        assert_eq!(first.paths, [Path::new("/data/rgb/a.png"), Path::new("/other/a.png")]);
        let second = entry(&entries, 1).unwrap();
        assert_eq!(second.paths[1], Path::new("/data/depth/b/c.npy"));
        assert_eq!(entry(&entries, 2), None);
        assert_eq!(Samples { entries: &entries }.iter().len(), 2);
        let kept = entries.keep(&[1]);
        assert_eq!((kept.len(), entry(&kept, 0).unwrap()), (1, second));
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_text_are_kept() {
        use std::os::unix::ffi::OsStrExt as _;
        let path = Path::new(std::ffi::OsStr::from_bytes(b"/data/\xff.png"));
        let mut files = FileEntries::new(Path::new("/data"), 1);
        files.push("a", [path]);
        assert_eq!(files.path(0, 0).unwrap(), path);
    }
}
