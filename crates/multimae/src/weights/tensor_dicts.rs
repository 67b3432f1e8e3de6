//! The state dicts in a pickle: the dicts that hold tensors by name, with their paths.

use std::collections::HashMap;

use indexmap::IndexMap;

use super::graph::{Graph, Id};
use super::selection::is_no_model;
use super::tensor;

/// State dicts are looked for this deep in dicts of dicts, and in no more dicts than this.
const MAX_DEPTH: usize = 4;
const MAX_DICTS: usize = 1000;
/// More names of dicts that a file shares are not looked at.
const MAX_ALIASES: usize = 16;
/// Longer names are no keys of state dicts; paths are made of them.
const MAX_NAME: usize = 256;

/// Values by their names.
pub(super) type Entries<'a> = Vec<(&'a str, Id)>;

/// A dict that holds tensors by name.
pub(super) struct TensorDict<'a> {
    /// Its keys in the file, joined by dots, one path for every name that the file shares it under;
    /// empty for the file itself.
    pub(super) paths: Vec<String>,
    /// The tensors.
    pub(super) tensors: Entries<'a>,
}

/// The entries of a dict, or of an object's state, that are named by text. Of those with the same
/// name the last one counts, as in Python.
pub(super) fn entries_of<'a>(graph: &Graph<'a>, id: Id) -> Option<Entries<'a>> {
    let name = |&(key, value): &(Id, Id)| Some((graph.str(key)?, value));
    let entries: IndexMap<&str, Id> = graph.dict(id)?.iter().filter_map(name).collect();
    Some(entries.into_iter().collect())
}

/// The dicts that hold tensors by name: the root, and others in it. Those whose names say that they
/// are no model's, such as an optimiser's, are left out unless `all` are wanted.
pub(super) fn tensor_dicts<'a>(
    graph: &Graph<'a>,
    root: &Entries<'a>,
    all: bool,
) -> Vec<TensorDict<'a>> {
    let mut found: Vec<TensorDict<'a>> = Vec::new();
    // Values that a file shares are visited once: a small file could ask for any number of copies.
    let mut visited = HashMap::from([(graph.root(), String::new())]);
    let mut aliases: Vec<(String, String)> = Vec::new();
    let mut open = vec![(String::new(), root.clone())];
    let is_key = |name: &str| name.len() <= MAX_NAME && (all || !is_no_model(name));
    for depth in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for (path, entries) in open {
            let deeper = depth + 1 < MAX_DEPTH;
            let mut keys: Vec<&(&str, Id)> =
                entries.iter().filter(|(name, _)| deeper && is_key(name)).collect();
            if all {
                // Models first: the state of an optimiser may be more dicts than are looked at.
                keys.sort_by_cached_key(|(name, _)| is_no_model(name));
            }
            for (name, id) in keys {
                if let Some(first) = visited.get(id) {
                    if aliases.len() < MAX_ALIASES && !first.is_empty() {
                        aliases.push((joined(&path, name), first.clone()));
                    }
                } else if next.len() + found.len() < MAX_DICTS
                    && let Some(inner) = entries_of(graph, *id)
                {
                    let path = joined(&path, name);
                    visited.insert(*id, path.clone());
                    next.push((path, inner));
                }
            }
            let is_tensor = |(_, id): &(&str, Id)| tensor::find(graph, *id).is_some();
            let tensors: Entries<'a> = entries.into_iter().filter(is_tensor).collect();
            if !tensors.is_empty() {
                found.push(TensorDict { paths: vec![path], tensors });
            }
        }
        open = next;
    }
    for dict in &mut found {
        let own = dict.paths[0].clone();
        let further = aliases.iter().filter_map(|(alias, first)| renamed(&own, first, alias));
        dict.paths.extend(further);
    }
    found
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The path with the beginning `first` replaced by `alias`, if that is its beginning.
fn renamed(path: &str, first: &str, alias: &str) -> Option<String> {
    match path.strip_prefix(first)? {
        "" => Some(alias.to_owned()),
        rest => Some(joined(alias, rest.strip_prefix('.')?)),
    }
}
