//! The files of shards, to be written in another form.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::info::Info;
use super::locate::{Located, locate};
use super::naming::{split_field, words};
use super::reader::Shards;
use super::rows::ShardGroup;
use crate::arena::StringArena;
use crate::decode::Problem;
use crate::files::{subfolders, texts};
use crate::folder_kind::Kind;
use crate::sample_files::{SampleFile, SampleFileState, SampleFiles};
use crate::{DataModality, Error, Result};

/// The files of shards, byte by byte as they are.
pub(crate) struct ShardFiles {
    shards: Shards,
    /// By folder, the modality that reads it.
    names: Vec<String>,
    /// The rows that have a file, in the order of their ids.
    rows: Vec<u32>,
    ids: StringArena,
    lists: Vec<(String, Vec<u8>)>,
}

impl ShardFiles {
    /// Finds the files of some modalities, each with a folder of its own; a sample need not have all
    /// of them.
    ///
    /// # Errors
    /// Those of opening the shards as a data set, but for samples that lack a file.
    pub(crate) fn open(root: &Path, modalities: &[DataModality]) -> Result<Self> {
        let shards = Shards::open_partial(root, modalities)?;
        let names: Vec<String> = modalities.iter().map(|own| own.name.clone()).collect();
        let has = |row: u32| names.iter().any(|name| shards.member(row as usize, name).is_some());
        let rows: Vec<u32> = shards.samples().iter().copied().filter(|&row| has(row)).collect();
        if rows.is_empty() {
            let problem = "no sample has a file in any of the folders".to_owned();
            return Err(Error::Shards { root: root.to_owned(), problem });
        }
        let ids = rows.iter().map(|&row| shards.id(row as usize)).collect();
        let folders: Vec<&str> = modalities.iter().map(|own| own.folder.as_str()).collect();
        let located = locate(root, &folders)?;
        let lists = lists(&located, &shards, &rows)?;
        Ok(Self { shards, names, rows, ids, lists })
    }

    fn place(&self, sample: usize, folder: usize) -> Option<(usize, &str)> {
        let row = *self.rows.get(sample)? as usize;
        Some((row, self.names.get(folder)?))
    }
}

impl SampleFiles for ShardFiles {
    fn root(&self) -> &Path {
        self.shards.root()
    }

    fn ids(&self) -> &StringArena {
        &self.ids
    }

    fn file(&self, sample: usize, folder: usize) -> Result<Option<SampleFile>> {
        let place = self.place(sample, folder);
        let member = place.and_then(|(row, name)| self.shards.member(row, name));
        Ok(member.map(|member| SampleFile {
            path: member.path().to_owned(),
            extension: split_field(member.field()).1.to_owned(),
        }))
    }

    fn state(&self, sample: usize, folder: usize) -> Result<SampleFileState> {
        let place = self.place(sample, folder);
        let member = place.and_then(|(row, name)| self.shards.member(row, name));
        let path = member.as_ref().map_or(self.shards.root(), |member| member.path());
        let modified = fs_err::metadata(path)?.modified()?;
        Ok(SampleFileState { len: member.map(|member| member.len()), modified })
    }

    fn read(&self, sample: usize, folder: usize) -> Result<Vec<u8>, Problem> {
        let place = self.place(sample, folder);
        let member = place.and_then(|(row, name)| self.shards.member(row, name));
        member.ok_or("the shards have no such sample")?.read()
    }

    fn lists(&self) -> Result<Vec<(String, Vec<u8>)>> {
        Ok(self.lists.clone())
    }
}

/// The lists beside shards, and those of the splits that `_info.json` or the names of shards state.
fn lists(located: &Located, shards: &Shards, rows: &[u32]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut lists: IndexMap<String, Vec<u8>> = IndexMap::new();
    let mut info = Info::default();
    if located.beside.is_dir() {
        for path in texts(&located.beside)? {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            lists.insert(name, fs_err::read(&path)?);
        }
        info = Info::read(&located.beside)?;
    }
    for (split, groups) in splits(&info, located, shards) {
        let own = |row: &&u32| {
            let block = shards.block(**row as usize);
            block.is_some_and(|(group, _)| groups.contains(&group))
        };
        let ids = rows.iter().filter(own).map(|&row| format!("{}\n", shards.id(row as usize)));
        let text: String = ids.collect();
        lists.entry(split).or_insert_with(|| text.into_bytes());
    }
    Ok(lists.into_iter().collect())
}

/// The numbers of the shards of each split.
fn splits(info: &Info, located: &Located, shards: &Shards) -> IndexMap<String, BTreeSet<usize>> {
    let file_name =
        |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut splits: IndexMap<String, BTreeSet<usize>> = IndexMap::new();
    for (split, names) in &info.splits {
        let is_own = |group: &ShardGroup| {
            group.shards.iter().any(|shard| names.contains(&file_name(&shard.path)))
        };
        let groups = shards.groups().iter().enumerate().filter(|(_, group)| is_own(group));
        splits.insert(split.clone(), groups.map(|(number, _)| number).collect());
    }
    if splits.is_empty() {
        for (number, group) in located.groups.iter().enumerate().filter(|(_, g)| !g.is_class) {
            let name = words(&group.stem).collect::<Vec<_>>().join("-");
            splits.entry(name).or_default().insert(number);
        }
        splits.shift_remove("");
        // The same name for all shards is no split.
        if splits.len() < 2 {
            splits.clear();
        }
    }
    splits
}

/// The folders of shards and their kinds, as far as their names tell: folders of shards, or the
/// fields of members. Fields without a name of their own are named by their extension, unless
/// `colors` names a folder that reads them.
///
/// # Errors
/// Those of opening the shards.
pub(crate) fn folders(root: &Path, colors: &[&str]) -> Result<Vec<(String, Option<Kind>)>> {
    let mut names = BTreeSet::new();
    for (name, path) in subfolders(root).unwrap_or_default() {
        if super::is_shards(&path, &[]) {
            names.insert(name.strip_suffix("_tar").unwrap_or(&name).to_owned());
        }
    }
    if names.is_empty() {
        let located = locate(root, &[])?;
        names.extend(located.folders.iter().flatten().cloned());
    }
    if names.is_empty() {
        let shards = Shards::open_partial(root, &[])?;
        for shard in shards.groups().iter().flat_map(|group| &group.shards) {
            for field in &shard.table.fields {
                match split_field(field) {
                    ("", extension) if colors.is_empty() => names.insert(extension.to_owned()),
                    ("", _) => continue,
                    (name, _) => names.insert(name.to_owned()),
                };
            }
        }
        names.extend(colors.iter().map(|&name| name.to_owned()));
    }
    let named = |name: String| {
        let kind = Kind::of_name(&name);
        (name, kind)
    };
    Ok(names.into_iter().map(named).collect())
}
