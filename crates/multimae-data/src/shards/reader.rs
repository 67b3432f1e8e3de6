//! Reading samples from shards.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::columns::columns;
use super::files::OpenFiles;
use super::index::ShardTable;
use super::info::Info;
use super::locate::{Located, locate};
use super::naming::split_field;
use super::refresh::tables;
use super::rows::{ExtraKey, Rows, Shard, ShardGroup};
use super::scan::Member;
use super::select::{Selection, select};
use crate::capped::Capped;
use crate::decode::Problem;
use crate::file_source::FileSource;
use crate::folder_kind::Kind;
use crate::lists;
use crate::names::plain_folder;
use crate::pairing_problems::PairingProblems;
use crate::{DataModality, Error, Result};

/// A data set in tar shards, open for reading.
#[derive(Debug)]
pub(crate) struct Shards {
    root: PathBuf,
    rows: Rows,
    /// All rows in the order of their ids.
    by_id: Vec<u32>,
    /// The rows of the samples in their order, if a list names them.
    listed: Option<Vec<u32>>,
    modalities: Vec<ModalityColumns>,
    folders: usize,
    files: OpenFiles,
    notices: Vec<String>,
}

/// The treatment of samples that lack files of a modality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lacking {
    Refused,
    Allowed,
}

/// The places of a modality's files.
#[derive(Debug)]
struct ModalityColumns {
    /// The name of the modality.
    name: String,
    /// Its folder's place among the shards of a group.
    folder: usize,
    /// By group.
    columns: Vec<Vec<usize>>,
}

/// The file of a modality in a shard.
pub(crate) struct ShardMember<'a> {
    shard: &'a Shard,
    /// The number of the shard.
    number: usize,
    member: Member,
    field: &'a str,
    files: &'a OpenFiles,
}

impl<'a> ShardMember<'a> {
    /// Bytes of the file.
    pub(crate) fn len(&self) -> u64 {
        u64::from(self.member.len)
    }

    /// The shard.
    pub(crate) fn path(&self) -> &'a Path {
        &self.shard.path
    }

    /// The name of its field, with the extension.
    pub(crate) fn field(&self) -> &'a str {
        self.field
    }

    /// Reads the file.
    pub(crate) fn read(&self) -> Result<Vec<u8>, Problem> {
        let state = self.shard.table.state;
        self.files.read(self.number, (&self.shard.path, state), self.member)
    }
}

impl Shards {
    /// Finds the samples of a split, or of all shards, and checks that each has a file of every
    /// modality.
    ///
    /// # Errors
    /// [`Error::Shards`] if shards are missing; [`Error::Shard`] if one is damaged or differs from
    /// what the files beside it state; [`Error::List`]; [`Error::Pairing`] with all missing files;
    /// [`Error::Io`].
    pub(crate) fn open(
        root: &Path,
        split: Option<&str>,
        modalities: &[DataModality],
    ) -> Result<Self> {
        Self::open_with(root, split, modalities, Lacking::Refused)
    }

    /// Finds all samples, which may lack files of some modalities.
    ///
    /// # Errors
    /// Those of [`Self::open`], but for samples without a file.
    pub(crate) fn open_partial(root: &Path, modalities: &[DataModality]) -> Result<Self> {
        Self::open_with(root, None, modalities, Lacking::Allowed)
    }

    fn open_with(
        root: &Path,
        split: Option<&str>,
        modalities: &[DataModality],
        lacking: Lacking,
    ) -> Result<Self> {
        let folders: Vec<&str> = modalities.iter().map(|m| m.folder.as_str()).collect();
        let mut located = locate(root, &folders)?;
        let info = match located.beside.is_dir() {
            true => Info::read(&located.beside)?,
            false => Info::default(),
        };
        let Selection { is_list, notice } = select(&mut located, split, &info)?;
        let (groups, extra, mut notices) = open_groups(&located, &info)?;
        notices.extend(notice);
        let rows = Rows::new(groups);
        if let Some(split) = split.filter(|_| !is_list) {
            info.check_total(split, rows.len())?;
        }
        let shards = Self {
            root: root.to_owned(),
            modalities: modality_columns(&located, &rows, modalities),
            folders: located.folders.len(),
            by_id: rows.sorted().map_err(|twice| repeated(&rows, twice))?,
            listed: None,
            rows,
            files: OpenFiles::default(),
            notices,
        };
        let listed = match split.filter(|_| is_list) {
            None => None,
            Some(split) => Some(shards.listed(&located.beside, split, &folders)?),
        };
        shards.checked(listed, &extra, modalities, lacking)
    }

    /// The place of the data set.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The id of a row.
    pub(crate) fn id(&self, row: usize) -> Cow<'_, str> {
        self.rows.id(row)
    }

    /// The file of a modality of a sample.
    pub(crate) fn member(&self, row: usize, modality: &str) -> Option<ShardMember<'_>> {
        let columns = self.modalities.iter().find(|columns| columns.name == modality)?;
        let (group, shards, row) = self.rows.place(row)?;
        let shard = shards.shards.get(columns.folder)?;
        let own = shard.row(row)?;
        let mut found = columns.columns.get(group)?.iter();
        let (column, member) =
            found.find_map(|&column| Some((column, shard.table.member(own, column)?)))?;
        let field = shard.table.fields.get(column)?;
        let number = group * self.folders + columns.folder;
        Some(ShardMember { shard, number, member, field, files: &self.files })
    }

    /// The shards.
    pub(super) fn groups(&self) -> &[ShardGroup] {
        self.rows.groups()
    }

    /// Notices for the user before samples are used.
    pub(crate) fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The number of the shard that holds a sample, and the place of the sample in it.
    pub(crate) fn block(&self, row: usize) -> Option<(usize, usize)> {
        self.rows.place(row).map(|(group, _, row)| (group, row))
    }

    /// The shards of a number that [`Self::block`] gives, of the folders that modalities read.
    pub(crate) fn files_of(&self, block: usize) -> Vec<PathBuf> {
        let Some(group) = self.rows.groups().get(block) else { return Vec::new() };
        let folders: BTreeSet<usize> = self.modalities.iter().map(|own| own.folder).collect();
        let shards = folders.into_iter().filter_map(|folder| group.shards.get(folder));
        shards.map(|shard| shard.path.clone()).collect()
    }

    /// The rows of the samples, in the order of the ids or of the list.
    pub(crate) fn samples(&self) -> &[u32] {
        self.listed.as_ref().unwrap_or(&self.by_id)
    }

    /// The row of an id.
    pub(crate) fn find(&self, id: &str) -> Option<usize> {
        let place = self.by_id.binary_search_by(|&row| (*self.rows.id(row as usize)).cmp(id));
        self.by_id.get(place.ok()?).map(|&row| row as usize)
    }

    /// The rows that a list names, with the names of none.
    fn listed(
        &self,
        beside: &Path,
        split: &str,
        folders: &[&str],
    ) -> Result<Vec<(String, Option<u32>)>> {
        let path = beside.join(format!("{split}.txt"));
        let known = |id: &str| self.find(id).is_some();
        let sources = folders.iter().map(|folder| FileSource::parse(folder)).collect();
        let names = lists::Names { known: &known, sources };
        let ids = lists::parse(&lists::read(&path)?, &path, &names)?;
        let row = |id: &str| self.find(id).map(|row| row as u32);
        Ok(ids.into_iter().map(|id| (row(&id), id)).map(|(row, id)| (id, row)).collect())
    }

    /// Checks that every sample has one file of every modality, and takes the order of a list.
    fn checked(
        mut self,
        listed: Option<Vec<(String, Option<u32>)>>,
        extra: &[ExtraKey],
        modalities: &[DataModality],
        lacking: Lacking,
    ) -> Result<Self> {
        let mut problems = PairingProblems::default();
        let names: Vec<&str> = modalities.iter().map(|modality| modality.name.as_str()).collect();
        let is_listed = listed.is_some();
        let present_of = |extra: &ExtraKey| -> Vec<bool> {
            self.modalities.iter().map(|columns| extra.present[columns.folder]).collect()
        };
        match listed {
            None => {
                for extra in extra {
                    problems.check_presence(&extra.id, &present_of(extra), &names, false);
                }
            }
            Some(listed) => {
                for (id, _) in listed.iter().filter(|(_, row)| row.is_none()) {
                    let extra = extra.iter().find(|extra| extra.id == *id);
                    let present = extra.map_or(vec![false; modalities.len()], &present_of);
                    problems.check_presence(id, &present, &names, true);
                }
                self.listed = Some(listed.into_iter().filter_map(|(_, row)| row).collect());
            }
        }
        let mut present = vec![true; modalities.len()];
        // Without a list in the order of the shards, which are read one after the other.
        let all = 0..self.rows.len() as u32;
        let order: &mut dyn Iterator<Item = u32> = match &self.listed {
            Some(listed) => &mut listed.iter().copied(),
            None => &mut all.into_iter(),
        };
        for row in order {
            let Some((group, shards, row)) = self.rows.place(row as usize) else { continue };
            for (at, columns) in self.modalities.iter().enumerate() {
                let files = columns.files(group, shards, row);
                present[at] = files > 0;
                if files > 1 {
                    let id = shards.id(row).into_owned();
                    let several = problems.ambiguous.entry(modalities[at].name.clone());
                    several.or_default().push(shards.path().join(id));
                }
            }
            if present.contains(&false) && lacking == Lacking::Refused {
                let id = format!("{} in {}", shards.id(row), shards.path().display());
                problems.check_presence(&id, &present, &names, is_listed);
            }
        }
        problems.empty = self.samples().is_empty() && problems.is_empty();
        if problems.is_empty() {
            return Ok(self);
        }
        problems.note = Some(self.fields_note());
        Err(Error::Pairing { root: self.root, problems: Box::new(problems) })
    }

    /// The fields of the shards, for messages about missing files.
    fn fields_note(&self) -> String {
        let mut fields = indexmap::IndexSet::new();
        let mut others = indexmap::IndexSet::new();
        for shard in self.rows.groups().iter().flat_map(|group| &group.shards) {
            fields.extend(shard.table.fields.iter().map(String::as_str));
            others.extend(shard.table.other_fields.keys().map(String::as_str));
        }
        let is_number = |part: &str| part.bytes().all(|letter| letter.is_ascii_digit());
        let dotted = fields.iter().any(|field| {
            let own = split_field(field).0;
            !own.is_empty() && (own.contains('.') || is_number(own))
        });
        let list = |fields: indexmap::IndexSet<&str>| -> String {
            let fields: Vec<&str> = fields.into_iter().collect();
            if fields.is_empty() { " none".to_owned() } else { Capped(&fields, " ").to_string() }
        };
        let mut note = format!("fields of the shards that can be read:{}", list(fields));
        if !others.is_empty() {
            note.push_str(&format!("; others:{}", list(others)));
        }
        note.push_str(
            "; `folder` of a modality names its field, as in `folder: depth` for depth.png or \
             `folder: png`",
        );
        if dotted {
            note.push_str(
                "; a key ends at the first dot of a name, so rename files with dots inside, as in \
                 frame.0001.jpg",
            );
        }
        note
    }
}

impl ModalityColumns {
    /// The number of files of a sample.
    fn files(&self, group: usize, shards: &ShardGroup, row: usize) -> usize {
        let Some(shard) = shards.shards.get(self.folder) else { return 0 };
        let (Some(row), Some(columns)) = (shard.row(row), self.columns.get(group)) else {
            return 0;
        };
        columns.iter().filter(|&&column| shard.table.member(row, column).is_some()).count()
    }
}

/// The groups of shards with their tables, the keys that first shards lack, and notices.
fn open_groups(
    located: &Located,
    info: &Info,
) -> Result<(Vec<ShardGroup>, Vec<ExtraKey>, Vec<String>)> {
    let mut names: indexmap::IndexMap<PathBuf, Vec<String>> = indexmap::IndexMap::new();
    for path in located.groups.iter().flat_map(|group| &group.files) {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        names.entry(folder).or_default().push(name);
    }
    let (mut by_path, mut notices) = (HashMap::<PathBuf, ShardTable>::new(), Vec::new());
    for (folder, names) in names {
        let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
        let found = tables(&folder, &names)?;
        notices.extend(found.notice);
        by_path.extend(found.tables.into_iter().map(|table| (folder.join(&table.name), table)));
    }
    let (mut groups, mut extra) = (Vec::with_capacity(located.groups.len()), Vec::new());
    for group in &located.groups {
        let mut shards = Vec::with_capacity(group.files.len());
        for path in &group.files {
            let table = by_path.remove(path).or_else(|| by_path.remove(&Path::new(".").join(path)));
            let table = table.ok_or_else(|| Error::Shards {
                root: path.clone(),
                problem: "this shard is named twice; name each shard once".to_owned(),
            })?;
            info.check(path, table.rows, table.state.len)?;
            shards.push(Shard::new(path.clone(), table));
        }
        let class = group.is_class.then_some(group.stem.as_str());
        let (group, more) = ShardGroup::new(class, shards);
        groups.push(group);
        extra.extend(more);
    }
    let moved = groups.iter().find_map(ShardGroup::first_moved);
    notices.extend(moved.map(|(shard, key)| {
        format!(
            "{} holds its samples in another order than the shard of the first modality, from \
             `{key}` on; they are paired by their keys, but readers that walk through shards in \
             step refuse them",
            shard.path.display()
        )
    }));
    Ok((groups, extra, notices))
}

/// The error of two samples with the same id.
fn repeated(rows: &Rows, [first, second]: [u32; 2]) -> Error {
    let path = |row: u32| rows.place(row as usize).map(|(_, group, _)| group.path().to_owned());
    let path = |row: u32| path(row).unwrap_or_default();
    Error::Shard {
        path: path(second),
        problem: format!(
            "its sample `{}` is in {}, too; name samples once in a data set, for example by the \
             number of their shard, or open the splits one by one",
            rows.id(first as usize),
            path(first).display()
        ),
    }
}

fn modality_columns(
    located: &Located,
    rows: &Rows,
    modalities: &[DataModality],
) -> Vec<ModalityColumns> {
    let of = |modality: &DataModality| {
        let name = plain_folder(&modality.folder);
        let own = |folder: &Option<String>| folder.as_deref().is_some_and(|own| own == name);
        let own = located.folders.iter().position(own);
        let folder = own.unwrap_or(0);
        let of_group = |group: &ShardGroup| {
            let fields = group.shards.get(folder).map(|shard| shard.table.fields.as_slice());
            columns(modality, modalities, own.is_some(), fields.unwrap_or_default())
        };
        let name = modality.name.clone();
        ModalityColumns { name, folder, columns: rows.groups().iter().map(of_group).collect() }
    };
    modalities.iter().map(of).collect()
}

/// Whether there are shards of a folder, or a field of its name in the shards. Any field without a
/// name of its own may be that of colours.
pub(super) fn has_folder(root: &Path, folder: &str) -> Result<bool> {
    let located = locate(root, &[folder])?;
    let name = plain_folder(folder);
    if located.folders.iter().flatten().any(|own| *own == name) {
        return Ok(true);
    }
    let (groups, _, _) = open_groups(&located, &Info::default())?;
    let mut fields = groups.iter().flat_map(|group| &group.shards).flat_map(|s| &s.table.fields);
    Ok(fields.any(|field| {
        let own = split_field(field).0;
        let is_color = || Kind::of_name(&name) == Some(Kind::Color);
        *field == name.to_lowercase() || own == name.to_lowercase() || own.is_empty() && is_color()
    }))
}
