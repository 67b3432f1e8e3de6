//! Tar shards.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::Source;
use crate::decode::{Problem, Stored};
use crate::doctor::lists::role;
use crate::doctor::part::Unread;
use crate::doctor::report::{Finding, Severity};
use crate::files::Files;
use crate::shards::{Survey, SurveyedMember, data_sets};
use crate::{Orientation, Result};

/// The members of shards by their paths.
struct Shards {
    survey: Survey,
    members: HashMap<PathBuf, SurveyedMember>,
}

impl Source for Shards {
    fn read(&self, _: &str, _: &str, path: &Path, rule: Orientation) -> Result<Stored, Problem> {
        let member = self.members.get(path).ok_or("the shards have no such file")?;
        Stored::decode(&self.survey.read(*member)?, rule)
    }
}

/// The data sets in shards at a place; none if it is no place of shards.
///
/// # Errors
/// If an expression is wrong, or a folder cannot be read.
pub(in crate::doctor) fn find(root: &Path) -> Result<Vec<Unread>> {
    let sets = data_sets(root)?.into_iter();
    sets.map(|(name, folder)| Ok(unread(name, Survey::of(&folder)?))).collect()
}

/// The files of the shards by modality, and everything that is wrong with the shards themselves.
fn unread(name: String, survey: Survey) -> Unread {
    let names = Names::of(&survey);
    let mut folders = BTreeMap::<String, Files>::new();
    let (mut members, mut twice) = (HashMap::new(), BTreeSet::new());
    for (number, shard) in survey.shards.iter().enumerate() {
        // A modality whose shards are all damaged is still one.
        if let Some(folder) = &shard.folder {
            folders.entry(folder.clone()).or_default();
        }
        for (id, field, member) in survey.members(number) {
            let Some(folder) = names.folder(shard.folder.as_deref(), field) else { continue };
            let path = shard.member_path(&id, field);
            let paths = folders.entry(folder).or_default().usable.entry(id.clone()).or_default();
            if paths.iter().any(|other| !other.starts_with(&shard.path)) {
                twice.insert(format!("{id} ({})", shard.path.display()));
                continue;
            }
            members.insert(path.clone(), member);
            paths.push(path);
        }
    }
    let mut findings = findings(&survey, &names);
    let twice: Vec<String> = twice.into_iter().collect();
    findings.extend(Finding::about(
        Severity::Error,
        "repeated_sample",
        "",
        &twice,
        "samples are in two shards; name each once in a data set, or remove one of the shards",
    ));
    Unread {
        name,
        path: survey.beside.clone(),
        layout: layout(&survey),
        folders,
        splits: survey.splits(|word| role(word).is_some()),
        findings,
        source: Box::new(Shards { survey, members }),
    }
}

/// The arrangement of the shards, in words.
fn layout(survey: &Survey) -> String {
    let folders: BTreeSet<&str> =
        survey.shards.iter().filter_map(|shard| shard.folder.as_deref()).collect();
    let shards = survey.shards.len();
    match folders.len() {
        0 => format!("tar shards in WebDataset's layout: {shards}"),
        count => format!("tar shards in a folder per modality, as 4M's: {shards} in {count}"),
    }
}

/// The modalities that fields belong to.
struct Names {
    /// Fields without a name of their own, `jpg`, and the folder of their files.
    unnamed: BTreeMap<String, String>,
    /// The folders whose files have no names of their own.
    plain: HashSet<String>,
}

impl Names {
    fn of(survey: &Survey) -> Self {
        let (mut fields, mut together) = (BTreeSet::new(), false);
        let mut plain = HashSet::new();
        for (number, shard) in survey.shards.iter().enumerate() {
            let unnamed: Vec<&String> =
                shard.fields().0.iter().filter(|field| !field.contains('.')).collect();
            match &shard.folder {
                Some(folder) if !unnamed.is_empty() => drop(plain.insert(folder.clone())),
                Some(_) => {}
                None => {
                    fields.extend(unnamed.iter().map(|field| (*field).clone()));
                    together |= unnamed.len() > 1 && has_several(survey, number);
                }
            }
        }
        // Pictures of several formats are one modality where no sample has two of them.
        let all = fields.iter().cloned().collect::<Vec<_>>().join(";");
        let name = |field: &String| if together { field.clone() } else { all.clone() };
        let unnamed = fields.iter().map(|field| (field.clone(), name(field))).collect();
        Self { unnamed, plain }
    }

    /// The folder of a field's files in shards of a folder; `None` if they belong to no modality.
    fn folder(&self, shard: Option<&str>, field: &str) -> Option<String> {
        match (shard, field.rsplit_once('.')) {
            // As training reads them: any file without a name of its own, or else any file.
            (Some(folder), own) => {
                (own.is_none() || !self.plain.contains(folder)).then(|| folder.to_owned())
            }
            (None, Some((own, _))) => Some(own.to_owned()),
            (None, None) => self.unnamed.get(field).cloned(),
        }
    }
}

/// Whether a sample of a shard has two fields without names of their own.
fn has_several(survey: &Survey, shard: usize) -> bool {
    let mut last = None;
    survey.members(shard).filter(|(_, field, _)| !field.contains('.')).any(|(id, ..)| {
        let again = last.as_ref() == Some(&id);
        last = Some(id);
        again
    })
}

/// Everything that is wrong with the shards themselves.
fn findings(survey: &Survey, names: &Names) -> Vec<Finding> {
    let mut found = Vec::new();
    let broken: Vec<String> = survey
        .shards
        .iter()
        .filter_map(|shard| Some(format!("{} ({})", shard.path.display(), shard.problem()?)))
        .collect();
    found.extend(Finding::about(
        Severity::Error,
        "unreadable_shard",
        "",
        &broken,
        "shards cannot be used; the problem of each has its remedy",
    ));
    let missing: Vec<String> =
        survey.missing.iter().map(|(folder, stem)| format!("{folder}/{stem}.tar")).collect();
    found.extend(Finding::about(
        Severity::Error,
        "missing_shard",
        "",
        &missing,
        "shards are missing that other modalities have; every modality needs the same ones",
    ));
    found.extend(survey.problems.iter().map(|(path, problem)| {
        let place = path.file_name().unwrap_or_default().to_string_lossy();
        Finding::whole(Severity::Error, "shard_info", &place, problem.as_str())
    }));
    let moved: Vec<String> = survey
        .moved()
        .into_iter()
        .map(|(path, key)| format!("{} (from `{key}` on)", path.display()))
        .collect();
    found.extend(Finding::about(
        Severity::Note,
        "order_of_keys",
        "",
        &moved,
        "shards hold their samples in another order than the first modality; they are paired by their \
         keys here, but readers that walk through shards in step refuse them",
    ));
    found.extend(indexes(survey));
    found.extend(other_fields(survey, names));
    found
}

/// Indexes that are missing, or do not describe the shards as they are.
fn indexes(survey: &Survey) -> Vec<Finding> {
    let of = |is_there: bool| -> Vec<String> {
        let stale = survey.stale.iter().filter(|index| index.is_there == is_there);
        stale.map(|index| format!("{} ({} shards)", index.path.display(), index.shards)).collect()
    };
    let about = |code, things: &[String], message: &str| {
        Finding::about(Severity::Note, code, "", things, message)
    };
    let missing = "there is no index; the first command that opens the shards makes it";
    let stale = "indexes do not describe shards that are new or have changed, or are damaged; the next \
                 command that opens the shards makes them again";
    [about("missing_index", &of(false), missing), about("stale_index", &of(true), stale)]
        .into_iter()
        .flatten()
        .collect()
}

/// Members that belong to no modality.
fn other_fields(survey: &Survey, names: &Names) -> Option<Finding> {
    let mut others = BTreeMap::<&str, u64>::new();
    for shard in &survey.shards {
        let (fields, unread) = shard.fields();
        for (field, count) in unread.into_iter().flatten() {
            *others.entry(field).or_default() += count;
        }
        for field in fields {
            if names.folder(shard.folder.as_deref(), field).is_none() {
                others.entry(field).or_default();
            }
        }
    }
    let others: Vec<String> = others
        .into_iter()
        .map(
            |(field, count)| {
                if count > 0 { format!("{field} ({count})") } else { field.to_owned() }
            },
        )
        .collect();
    Finding::about(
        Severity::Note,
        "other_fields",
        "",
        &others,
        "fields of the shards are not images or arrays and are not read",
    )
}
