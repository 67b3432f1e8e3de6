//! A survey of shards for checks of data: all tars of a place, whole or damaged, with their fields and
//! members. Nothing is written, and a tar that cannot be used does not stop the others.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::files::OpenFiles;
use super::find::{Found, find};
use super::index::{FileState, ShardTable};
use super::info::Info;
use super::locate::stem;
use super::naming::words;
use super::refresh::{INDEX_FILE, load, scan_one};
use super::rows::{Shard, ShardGroup};
use super::scan::Member;
use crate::decode::Problem;
use crate::{Error, Result};

/// The shards of a place.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The place of lists and other files about the shards.
    pub(crate) beside: PathBuf,
    /// By name, those of one folder of a modality after the other.
    pub(crate) shards: Vec<SurveyedShard>,
    /// Folders of modalities and the names of the shards that they alone lack.
    pub(crate) missing: Vec<(String, String)>,
    /// Problems of files beside the shards, or of shards that differ from what these state.
    pub(crate) problems: Vec<(PathBuf, Problem)>,
    /// Indexes that do not describe the shards as they are.
    pub(crate) stale: Vec<StaleIndex>,
    info: Info,
    files: OpenFiles,
}

/// A shard, whole or damaged.
#[derive(Debug)]
pub(crate) struct SurveyedShard {
    pub(crate) path: PathBuf,
    /// Its folder, without `_tar`; `None` where members name their modality.
    pub(crate) folder: Option<String>,
    /// The number of the shards with the same samples.
    group: usize,
    /// The first part of its ids, if it holds a class.
    class: Option<String>,
    /// Its samples, or the reason why it cannot be used.
    table: Result<ShardTable, Problem>,
}

/// An index that is made again when the shards are opened.
#[derive(Debug)]
pub(crate) struct StaleIndex {
    pub(crate) path: PathBuf,
    /// Whether there is such a file.
    pub(crate) is_there: bool,
    /// Shards of the folder that it does not describe as they are.
    pub(crate) shards: usize,
}

/// A file in a shard of a survey.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SurveyedMember {
    shard: usize,
    member: Member,
}

impl Survey {
    /// Reads the headers of all shards of a place that no index describes.
    ///
    /// # Errors
    /// [`Error::Shards`] if an expression is wrong or names shards that are not there; [`Error::Io`].
    pub(crate) fn of(root: &Path) -> Result<Self> {
        let Found { beside, shards: found, missing } = find(root)?;
        let mut problems = Vec::new();
        let info = match beside.is_dir().then(|| Info::read(&beside)) {
            None => Info::default(),
            Some(Ok(info)) => info,
            Some(Err(Error::File { path, problem })) => {
                problems.push((path, problem));
                Info::default()
            }
            Some(Err(error)) => return Err(error),
        };
        let (mut tables, stale) = tables(found.iter().map(|shard| shard.path.as_path()))?;
        let mut shards = Vec::with_capacity(found.len());
        for shard in found {
            let table = tables.remove(&shard.path);
            let table = table.unwrap_or_else(|| Err("it is named twice".to_owned()));
            if let Ok(table) = &table
                && let Err(Error::Shard { path, problem }) =
                    info.check(&shard.path, table.rows, table.state.len)
            {
                problems.push((path, problem));
            }
            let class = shard.class.filter(|class| !has_class(&table, class));
            let (path, folder, group) = (shard.path, shard.folder, shard.group);
            shards.push(SurveyedShard { path, folder, group, class, table });
        }
        let files = OpenFiles::default();
        Ok(Self { beside, shards, missing, problems, stale, info, files })
    }

    /// The files of a shard that can be read: the id of their sample, their field and their place.
    pub(crate) fn members(
        &self,
        shard: usize,
    ) -> impl Iterator<Item = (String, &str, SurveyedMember)> {
        let found = self.shards.get(shard);
        let found = found.and_then(|own| Some((own, own.table.as_ref().ok()?)));
        found.into_iter().flat_map(move |(own, table)| {
            (0..table.rows).flat_map(move |row| {
                let fields = table.fields.iter().enumerate();
                fields.filter_map(move |(column, field)| {
                    let member = table.member(row, column)?;
                    Some((own.id(row), field.as_str(), SurveyedMember { shard, member }))
                })
            })
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If the shard is gone, cut or changed.
    pub(crate) fn read(&self, of: SurveyedMember) -> Result<Vec<u8>, Problem> {
        let shard = self.shards.get(of.shard).ok_or("there is no such shard")?;
        let table = shard.table.as_ref().map_err(Clone::clone)?;
        self.files.read(of.shard, (&shard.path, table.state), of.member)
    }

    /// The ids of the samples by split: those of timm's `_info.json`, else the parts of the shards'
    /// names that are a split.
    pub(crate) fn splits(&self, is_split: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<String>> {
        let mut splits = BTreeMap::<String, Vec<String>>::new();
        let mut seen = std::collections::HashSet::new();
        for shard in &self.shards {
            let name = shard.path.file_name().unwrap_or_default().to_string_lossy();
            let listed =
                self.info.splits.iter().filter(|(_, names)| names.iter().any(|own| *own == name));
            let mut of: Vec<String> = listed.map(|(split, _)| split.clone()).collect();
            if self.info.splits.is_empty() {
                of.extend(words(&stem(&shard.path)).find(|word| is_split(word)).map(str::to_owned));
            }
            // Shards of further folders have the same samples.
            if !of.is_empty() && seen.insert(shard.group) {
                for split in of {
                    splits.entry(split).or_default().extend(shard.ids());
                }
            }
        }
        splits
    }

    /// The shards that hold the samples of another folder's shard in another order, and the first
    /// sample that is elsewhere.
    pub(crate) fn moved(&self) -> Vec<(&Path, String)> {
        let mut groups = BTreeMap::<usize, Vec<&SurveyedShard>>::new();
        for shard in &self.shards {
            groups.entry(shard.group).or_default().push(shard);
        }
        let table = |shard: &&SurveyedShard| {
            Some(Shard::new(shard.path.clone(), shard.table.as_ref().ok()?.clone()))
        };
        let mut moved = Vec::new();
        for shards in groups.into_values() {
            let (group, _) = ShardGroup::new(None, shards.iter().filter_map(table).collect());
            let Some((first, key)) = group.first_moved() else { continue };
            if let Some(shard) = shards.into_iter().find(|shard| shard.path == first.path) {
                moved.push((shard.path.as_path(), key.to_owned()));
            }
        }
        moved
    }
}

impl SurveyedShard {
    /// The reason why it cannot be used, if there is one.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.table.as_ref().err().map(String::as_str)
    }

    /// The fields whose files can be read, and the others with the number of their members.
    pub(crate) fn fields(&self) -> (&[String], Option<&BTreeMap<String, u64>>) {
        match &self.table {
            Ok(table) => (&table.fields, Some(&table.other_fields)),
            Err(_) => (&[], None),
        }
    }

    /// The path of a member, for messages.
    pub(crate) fn member_path(&self, id: &str, field: &str) -> PathBuf {
        self.path.join(format!("{id}.{field}"))
    }

    fn id(&self, row: usize) -> String {
        let key = self.table.as_ref().map(|table| table.key(row)).unwrap_or_default();
        match &self.class {
            Some(class) => format!("{class}/{key}"),
            None => key.to_owned(),
        }
    }

    fn ids(&self) -> impl Iterator<Item = String> {
        (0..self.table.as_ref().map_or(0, |table| table.rows)).map(|row| self.id(row))
    }
}

/// Whether the keys of a shard begin with its class themselves.
fn has_class(table: &Result<ShardTable, Problem>, class: &str) -> bool {
    let first = table.as_ref().ok().filter(|table| table.rows > 0).map(|table| table.key(0));
    first.is_some_and(|key| key.strip_prefix(class).is_some_and(|rest| rest.starts_with('/')))
}

/// The tables of shards by the indexes of their folders, or by their headers where these say nothing.
type Tables = (HashMap<PathBuf, Result<ShardTable, Problem>>, Vec<StaleIndex>);

fn tables<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<Tables> {
    let mut folders = BTreeMap::<&Path, Vec<&Path>>::new();
    for path in paths {
        folders.entry(path.parent().unwrap_or(Path::new(""))).or_default().push(path);
    }
    let (mut tables, mut stale) = (HashMap::new(), Vec::new());
    for (folder, paths) in folders {
        let index = folder.join(INDEX_FILE);
        let mut known = load(&index);
        let mut unknown = 0;
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let state = FileState::of(path)?;
            let table = match known.remove(&*name).filter(|table| table.state == state) {
                Some(table) => Ok(table),
                None => {
                    unknown += 1;
                    scan_one(folder, &name, state).map_err(problem)
                }
            };
            tables.insert(path.to_owned(), table);
        }
        if unknown > 0 {
            let is_there = index.is_file();
            stale.push(StaleIndex { path: index, is_there, shards: unknown });
        }
    }
    Ok((tables, stale))
}

fn problem(error: Error) -> Problem {
    match error {
        Error::Shard { problem, .. } => problem,
        other => other.to_string(),
    }
}
