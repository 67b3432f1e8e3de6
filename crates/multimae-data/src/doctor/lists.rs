//! The lists of samples beside the folders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::pairing;
use super::report::{Finding, Severity};
use crate::file_source::FileSource;
use crate::files::{Files, texts};
use crate::lists;
use crate::{Error, Result};

/// The lists of a part.
pub(super) struct Lists {
    lists: BTreeMap<String, List>,
    listed: BTreeSet<String>,
    /// Samples that are on no list.
    unlisted: Vec<String>,
    /// Lists that are no text, and their problems.
    unreadable: Vec<(String, String)>,
}

#[derive(Default)]
struct List {
    ids: BTreeSet<String>,
    twice: Vec<String>,
    /// Names that no folder has.
    unknown: Vec<String>,
}

/// The use of a list, by the beginning of its name.
const ROLES: [&str; 3] = ["train", "val", "test"];

pub(super) fn role(name: &str) -> Option<&'static str> {
    ROLES.into_iter().find(|role| name.to_ascii_lowercase().starts_with(role))
}

impl Lists {
    /// Reads the text files of a folder that are lists: those with the name of a split, and those
    /// that mostly hold names of samples. Splits that are stated elsewhere are lists as well, unless
    /// there is one of their name.
    pub(super) fn read(
        beside: Option<&Path>,
        folders: &BTreeMap<String, Files>,
        splits: BTreeMap<String, Vec<String>>,
    ) -> Result<Self> {
        let known = pairing::ids(folders);
        let of_split = |(name, ids)| (name, List::of_ids(ids, &known));
        let mut lists: BTreeMap<String, List> = splits.into_iter().map(of_split).collect();
        let mut unreadable = Vec::new();
        let beside = beside.filter(|folder| folder.is_dir());
        for path in beside.map(texts).transpose()?.unwrap_or_default() {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = match lists::read(&path) {
                Ok(text) => text,
                Err(Error::List { problem, .. }) => {
                    // Other texts may be anything.
                    if role(&stem).is_some() {
                        unreadable.push((stem, problem));
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            let list = List::parse(&text, &known, folders);
            if role(&stem).is_some() || 2 * list.unknown.len() < list.ids.len() {
                lists.insert(stem, list);
            }
        }
        let listed: BTreeSet<String> = lists.values().flat_map(|list| &list.ids).cloned().collect();
        let unlisted = known.into_iter().filter(|id| !listed.contains(*id)).cloned().collect();
        Ok(Self { lists, listed, unlisted, unreadable })
    }

    pub(super) fn are_there(&self) -> bool {
        !self.lists.is_empty()
    }

    pub(super) fn contain(&self, id: &str) -> bool {
        self.listed.contains(id)
    }

    /// The names on every list.
    pub(super) fn sizes(&self) -> BTreeMap<String, usize> {
        self.lists.iter().map(|(name, list)| (name.clone(), list.ids.len())).collect()
    }

    /// Whether one of the samples is for training and another one is not.
    pub(super) fn separate(&self, a: &str, b: &str) -> bool {
        let on = |id: &str, role_: &str| {
            self.lists.iter().any(|(name, list)| role(name) == Some(role_) && list.ids.contains(id))
        };
        let only_train = |id: &str| on(id, "train") && !on(id, "val");
        let held_out = |id: &str| on(id, "val") || on(id, "test");
        only_train(a) && held_out(b) || only_train(b) && held_out(a)
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let unreadable = self.unreadable.iter().map(|(name, problem)| {
            let place = format!("{name}.txt");
            Finding::whole(Severity::Error, "unreadable_list", &place, problem.as_str())
        });
        let mut found: Vec<Finding> = unreadable.collect();
        for (name, list) in &self.lists {
            let place = format!("{name}.txt");
            if list.ids.is_empty() {
                let message = "it names no sample";
                found.push(Finding::whole(Severity::Error, "empty_list", &place, message));
            }
            found.extend(Finding::about(
                Severity::Error,
                "listed_twice",
                &place,
                &list.twice,
                "samples are named twice; remove the second line",
            ));
            found.extend(Finding::about(
                Severity::Error,
                "unknown_sample",
                &place,
                &list.unknown,
                "samples are named that no folder has; add the files or remove the lines",
            ));
        }
        found.extend(self.overlaps());
        if self.are_there() {
            found.extend(Finding::about(
                Severity::Note,
                "unlisted",
                "",
                &self.unlisted,
                "samples are on no list and will not be used",
            ));
        }
        found
    }

    /// Lists for different purposes that share samples.
    fn overlaps(&self) -> Vec<Finding> {
        let names: Vec<&String> = self.lists.keys().collect();
        let pairs =
            names.iter().enumerate().flat_map(|(i, a)| names[..i].iter().map(move |b| (*a, *b)));
        pairs.filter_map(|(a, b)| self.overlap(a, b)).collect()
    }

    fn overlap(&self, a: &str, b: &str) -> Option<Finding> {
        let (role_a, role_b) = (role(a)?, role(b)?);
        let (list_a, list_b) = (&self.lists[a].ids, &self.lists[b].ids);
        if role_a == role_b || self.is_cut_from(a, b) || self.is_cut_from(b, a) {
            return None;
        }
        let both: Vec<String> = list_a.intersection(list_b).cloned().collect();
        Finding::about(
            Severity::Error,
            "lists_overlap",
            &format!("{a}.txt"),
            &both,
            format!(
                "samples are on {b}.txt too; scores would be measured on what was learnt or tuned with"
            ),
        )
    }

    /// Whether `val` is a part of the training list `train` that another training list leaves out.
    fn is_cut_from(&self, val: &str, train: &str) -> bool {
        let (Some("val"), Some("train")) = (role(val), role(train)) else { return false };
        let ids = &self.lists[val].ids;
        ids.is_subset(&self.lists[train].ids)
            && self.lists.iter().any(|(name, list)| {
                let other = role(name) == Some("train") && name != train;
                other && !list.ids.is_empty() && list.ids.is_disjoint(ids)
            })
    }
}

impl List {
    /// The samples of a split. Those without any file are named by the findings about their files.
    fn of_ids(ids: Vec<String>, known: &BTreeSet<&String>) -> Self {
        Self { ids: ids.into_iter().filter(|id| known.contains(id)).collect(), ..Self::default() }
    }

    fn parse(text: &str, known: &BTreeSet<&String>, folders: &BTreeMap<String, Files>) -> Self {
        let is_known = |id: &str| folders.values().any(|files| files.usable.contains_key(id));
        let sources = folders.keys().map(|name| FileSource::parse(name)).collect();
        let names = lists::Names { known: &is_known, sources };
        let mut list = Self::default();
        for (_, line) in lists::entries(text) {
            let id = names.id_or_line(line);
            if !known.contains(&id) {
                list.unknown.push(id.clone());
            }
            if !list.ids.insert(id.clone()) {
                list.twice.push(id);
            }
        }
        list
    }
}
