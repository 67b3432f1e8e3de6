//! The shards of a split.

use indexmap::IndexMap;

use super::info::Info;
use super::locate::{Group, Located};
use super::naming::words;
use crate::{Error, Result};

/// The shards of a split, or all of them.
pub(super) struct Selection {
    /// Whether a list names the samples among those of the shards.
    pub(super) is_list: bool,
    /// For the user: shards of several splits are used together.
    pub(super) notice: Option<String>,
}

/// Keeps the shards of a split: all of them if there is a list `<split>.txt` beside them; those that
/// timm's `_info.json` lists; or those with the split as a part of their names.
///
/// # Errors
/// [`Error::Shards`] if there is no such split, or a listed shard is missing.
pub(super) fn select(located: &mut Located, split: Option<&str>, info: &Info) -> Result<Selection> {
    let none = Selection { is_list: false, notice: None };
    let Some(split) = split else {
        return Ok(Selection { notice: several(&located.groups, info), ..none });
    };
    if located.beside.join(format!("{split}.txt")).is_file() {
        return Ok(Selection { is_list: true, ..none });
    }
    let fault = |problem| Err(Error::Shards { root: located.beside.clone(), problem });
    let keep: Vec<bool> = match info.splits.get(split) {
        Some(names) => {
            let has = |group: &Group, name: &String| {
                group
                    .files
                    .iter()
                    .any(|path| path.file_name().is_some_and(|own| own == name.as_str()))
            };
            let lost = names.iter().find(|name| !located.groups.iter().any(|g| has(g, name)));
            if let Some(name) = lost {
                return fault(format!(
                    "_info.json lists {name} in split `{split}`, and it is not there; copy it, or \
                     correct the list"
                ));
            }
            located.groups.iter().map(|group| names.iter().any(|name| has(group, name))).collect()
        }
        None => located
            .groups
            .iter()
            .map(|group| words(&group.stem).any(|word| word == split))
            .collect(),
    };
    if !keep.contains(&true) {
        let series = series(&located.groups, info);
        let known: Vec<&str> = series.keys().map(String::as_str).collect();
        return fault(format!(
            "there is no split `{split}`: no list {split}.txt beside the shards, no such split in \
             _info.json, and no shard with `{split}` in its name{}",
            if known.is_empty() {
                String::new()
            } else {
                format!("; there is {}", known.join(", "))
            }
        ));
    }
    let mut keep = keep.into_iter();
    located.groups.retain(|_| keep.next().unwrap_or(false));
    Ok(none)
}

/// The splits that there seem to be, and their numbers of shards.
fn series(groups: &[Group], info: &Info) -> IndexMap<String, usize> {
    if !info.splits.is_empty() {
        return info.splits.iter().map(|(name, shards)| (name.clone(), shards.len())).collect();
    }
    let mut series = IndexMap::new();
    for group in groups.iter().filter(|group| !group.is_class) {
        *series.entry(words(&group.stem).collect::<Vec<_>>().join("-")).or_insert(0) += 1;
    }
    series.shift_remove("");
    series
}

/// A notice if shards of several splits are used.
fn several(groups: &[Group], info: &Info) -> Option<String> {
    let series = series(groups, info);
    let (first, _) = series.first().filter(|_| series.len() > 1)?;
    let counts: Vec<String> =
        series.iter().map(|(name, shards)| format!("{name} ({shards})")).collect();
    Some(format!(
        "the shards of {} are all used; the split `{first}` alone has those of one",
        counts.join(", ")
    ))
}
