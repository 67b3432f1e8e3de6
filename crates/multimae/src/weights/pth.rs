//! PyTorch checkpoints (`.pth`, `.pt`).
//!
//! Since version 1.6 `torch.save` writes a zip archive of `data.pkl`, a pickle of everything but the
//! tensors' values, and one entry `data/N` for every storage; `super::legacy` reads what it wrote
//! before. Nothing in either is executed: see `super::pickle`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use fs_err as fs;
use indexmap::IndexMap;

use super::Problem;
use super::graph::{Graph, Id};
use super::legacy;
use super::selection::{NamedDict, is_average, is_no_model, select};
use super::tensor::{self, TensorView};
use super::value::{Copier, Value};
use super::zip::Archive;
use crate::state::StateDict;
use crate::{Error, Result};

/// Views may overlap: all tensors together may have this many times the bytes of the file.
const MAX_SHARING: usize = 16;
/// State dicts are looked for this deep in dicts of dicts, and in no more dicts than this.
const MAX_DEPTH: usize = 4;
const MAX_DICTS: usize = 1000;

/// A PyTorch checkpoint.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    /// The selected state dict: as a rule that under `model` or `state_dict`, or the file itself.
    /// Tensors keep their type; their names are without prefixes such as `module.`.
    pub weights: StateDict,
    /// Everything else, such as `epoch`, `args` and `optimizer`, for display. Entries of the state
    /// dict that are no tensors are here under their keys.
    pub entries: IndexMap<String, Value>,
    /// Notes about the selection: the state dicts of the file, stripped prefixes.
    pub notices: Vec<String>,
}

/// Reads a PyTorch checkpoint without executing anything of it.
///
/// # Errors
/// If the file cannot be read, is damaged or holds no state dict, or several that nothing
/// distinguishes.
pub fn read_pth(path: &Path) -> Result<Checkpoint> {
    let bytes = fs::read(path)?;
    parse_pth(&bytes, None).map_err(|problem| Error::WeightsFile { path: path.to_owned(), problem })
}

/// Reads the bytes of a PyTorch checkpoint: the state dict under `key`, if that is given.
///
/// # Errors
/// As [`read_pth`].
pub(super) fn parse_pth(bytes: &[u8], key: Option<&str>) -> Result<Checkpoint, Problem> {
    if legacy::is_legacy(bytes) {
        return legacy::parse(bytes, key);
    }
    parse_archive(&Archive::open(bytes)?, bytes.len(), key)
}

/// The name of the folder in the archive, with a slash, if it is a checkpoint's.
pub(super) fn root_of(archive: &Archive<'_>) -> Option<String> {
    let root = |name: &str| {
        let root = name.strip_suffix("data.pkl")?;
        (root.is_empty() || root.ends_with('/')).then(|| root.to_owned())
    };
    archive.names().filter_map(root).min_by_key(String::len)
}

/// Reads a checkpoint from its archive in a file of `file_len` bytes.
pub(super) fn parse_archive(
    archive: &Archive<'_>,
    file_len: usize,
    key: Option<&str>,
) -> Result<Checkpoint, Problem> {
    let root = root_of(archive).ok_or("a zip file without data.pkl is no PyTorch checkpoint")?;
    if archive.contains(&format!("{root}constants.pkl")) {
        return Err("a TorchScript program; save its state_dict() with torch.save".to_owned());
    }
    let order = format!("{root}byteorder");
    if archive.contains(&order) && *archive.read(&order)? != *b"little" {
        return Err("its numbers are not little-endian".to_owned());
    }
    let pickle = archive.read(&format!("{root}data.pkl"))?;
    let graph = Graph::parse(&pickle)?;
    let read = |storage: &str| archive.read(&format!("{root}data/{storage}"));
    checkpoint(&graph, key, Storages::new(&read, file_len))
}

/// The checkpoint that a pickle describes, with the tensors' values from its storages.
pub(super) fn checkpoint(
    graph: &Graph<'_>,
    key: Option<&str>,
    mut storages: Storages<'_, '_>,
) -> Result<Checkpoint, Problem> {
    let root = entries_of(graph, graph.root()).ok_or(
        "holds no dict but something else, maybe a whole model; save its state_dict() instead",
    )?;
    let dicts = state_dicts(graph, &root);
    if dicts.is_empty() {
        return Err(no_state_dict(&root));
    }
    let named: Vec<NamedDict<'_>> = dicts
        .iter()
        .map(|(path, tensors)| NamedDict {
            path: path.clone(),
            names: tensors.iter().map(|(name, _)| *name).collect(),
        })
        .collect();
    let selection = select(&named, key)?;
    let (path, tensors) = &dicts[selection.dict];
    let mut checkpoint = Checkpoint { notices: selection.notices, ..Checkpoint::default() };
    for (index, name) in selection.tensors {
        let Some(view) = tensor::find(graph, tensors[index].1) else { continue };
        let data = view.and_then(|view| storages.copy(&view));
        let data = data.map_err(|problem| format!("tensor `{name}`: {problem}"))?;
        checkpoint.weights.insert(name, data);
    }
    let mut copier = Copier::new(graph);
    for (name, id) in entries_beside(graph, &root, path) {
        checkpoint.entries.insert(name.to_owned(), copier.copy(id));
    }
    Ok(checkpoint)
}

type Entries<'a> = Vec<(&'a str, Id)>;

/// The entries of a dict, or of an object's state, that are named by text. Of those with the same
/// name the last one counts, as in Python.
fn entries_of<'a>(graph: &Graph<'a>, id: Id) -> Option<Entries<'a>> {
    let name = |&(key, value): &(Id, Id)| Some((graph.str(key)?, value));
    let entries: IndexMap<&str, Id> = graph.dict(id)?.iter().filter_map(name).collect();
    Some(entries.into_iter().collect())
}

/// The dicts that hold tensors by name, with their paths: the root, and others in it.
fn state_dicts<'a>(graph: &Graph<'a>, root: &Entries<'a>) -> Vec<(String, Entries<'a>)> {
    let mut found = Vec::new();
    // Values that a file shares are visited once: a small file could ask for any number of copies.
    let mut visited = HashSet::from([graph.root()]);
    let mut open = vec![(String::new(), root.clone())];
    for depth in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for (path, entries) in open {
            for (name, id) in entries.iter().filter(|(name, _)| !is_no_model(name)) {
                if next.len() + found.len() < MAX_DICTS
                    && depth + 1 < MAX_DEPTH
                    && visited.insert(*id)
                    && let Some(inner) = entries_of(graph, *id)
                {
                    let dot = if path.is_empty() { "" } else { "." };
                    next.push((format!("{path}{dot}{name}"), inner));
                }
            }
            let is_tensor = |(_, id): &(&str, Id)| tensor::find(graph, *id).is_some();
            let tensors: Entries<'a> = entries.into_iter().filter(is_tensor).collect();
            if !tensors.is_empty() {
                found.push((path, tensors));
            }
        }
        open = next;
    }
    found
}

fn no_state_dict(root: &Entries<'_>) -> Problem {
    let keys: Vec<&str> = root.iter().map(|(name, _)| *name).take(20).collect();
    let average = root.iter().find(|(name, _)| is_average(name)).map(|(name, _)| {
        format!(
            "; `{name}` holds averaged weights without their names: load them into the model in \
             PyTorch and save its state_dict()"
        )
    });
    format!("holds no state dict; its keys: {keys:?}{}", average.unwrap_or_default())
}

/// Lists the entries beside the state dict of this path: in the file, and in the state dict itself.
fn entries_beside<'a>(graph: &Graph<'a>, root: &Entries<'a>, path: &str) -> Entries<'a> {
    let is_tensor = |id: Id| tensor::find(graph, id).is_some();
    let first = path.split('.').next().unwrap_or_default();
    let beside = root.iter().filter(
        |(name, id)| {
            if path.is_empty() { !is_tensor(*id) } else { *name != first }
        },
    );
    let mut entries: Entries<'a> = beside.copied().collect();
    if let Some((_, id)) = root.iter().find(|(name, _)| *name == path && !path.is_empty()) {
        let own = entries_of(graph, *id).unwrap_or_default();
        entries.extend(own.into_iter().filter(|(_, id)| !is_tensor(*id)));
    }
    entries
}

/// The content of a storage by its name.
pub(super) type ReadStorage<'a, 'b> = &'b dyn Fn(&str) -> Result<Cow<'a, [u8]>, Problem>;

/// The storages of a file, and the bytes that all tensors may still take.
pub(super) struct Storages<'a, 'b> {
    read: ReadStorage<'a, 'b>,
    /// Tensors may share a storage, whose checksum is to be computed once.
    contents: HashMap<String, Cow<'a, [u8]>>,
    left: usize,
}

impl<'a, 'b> Storages<'a, 'b> {
    /// The storages of a file of `file_len` bytes.
    pub(super) fn new(read: ReadStorage<'a, 'b>, file_len: usize) -> Self {
        let left = file_len.saturating_mul(MAX_SHARING);
        Self { read, contents: HashMap::new(), left }
    }

    /// Copies a tensor.
    fn copy(&mut self, view: &TensorView<'_>) -> Result<burn::tensor::TensorData, Problem> {
        if !self.contents.contains_key(view.storage) {
            self.contents.insert(view.storage.to_owned(), (self.read)(view.storage)?);
        }
        let rest = view.len().and_then(|len| self.left.checked_sub(len));
        self.left = rest.ok_or("the tensors have far more bytes than the file")?;
        view.copy(self.contents.get(view.storage).map_or(&[], |content| content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::zip::ArchiveWriter;

    fn file(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
        let mut archive = ArchiveWriter::new(0);
        archive.add("x/data.pkl", pickle).unwrap();
        archive.add("x/data/0", storage).unwrap();
        archive.finish().unwrap()
    }

    fn text(text: &str) -> Vec<u8> {
        [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
    }

    /// Counts in the widest form.
    fn int(value: i64) -> Vec<u8> {
        [&[0x8a, 8], &value.to_le_bytes()[..]].concat()
    }

    fn ints(values: &[i64]) -> Vec<u8> {
        let values: Vec<u8> = values.iter().flat_map(|&value| int(value)).collect();
        [b"(", &values[..], b"t"].concat()
    }

    fn tensor(class: &str, len: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
        [
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            &text("storage")[..],
            format!("ctorch\n{class}\n").as_bytes(),
            &text("0"),
            &text("cpu"),
            &int(len),
            b"tQ",
            &int(offset),
            &ints(shape),
            &ints(strides),
            b"\x89NtR",
        ]
        .concat()
    }

    /// `{'model': {'w': tensor}, 'more': more}`.
    fn checkpoint(tensor: &[u8], more: &[u8]) -> Vec<u8> {
        let parts: [&[u8]; 10] = [
            b"\x80\x02}(",
            &text("model"),
            b"}",
            &text("w"),
            tensor,
            b"s",
            &text("more"),
            more,
            b"u",
            b".",
        ];
        parts.concat()
    }

    fn with_tensor(tensor: &[u8]) -> Result<Checkpoint, Problem> {
        parse_pth(&file(&checkpoint(tensor, b"N"), &[0; 48]), None)
    }

    fn with_more(more: &[u8]) -> Value {
        let plain = tensor("FloatStorage", 12, 0, &[3, 4], &[4, 1]);
        let read = parse_pth(&file(&checkpoint(&plain, more), &[0; 48]), None).unwrap();
        assert_eq!(read.weights["w"].shape().as_slice(), [3, 4]);
        read.entries["more"].clone()
    }

    /// `{key: {'w': tensor}, ...}` with dicts in dicts where a key has dots.
    fn state_dicts(keys: &[&str]) -> Vec<u8> {
        let mut pickle = b"\x80\x02}".to_vec();
        for key in keys {
            let parts: Vec<&str> = key.split('.').chain(["w"]).collect();
            for (depth, part) in parts.iter().enumerate() {
                pickle.extend(text(part));
                if depth + 1 < parts.len() {
                    pickle.push(b'}');
                }
            }
            pickle.extend(tensor("FloatStorage", 12, 0, &[keys.len() as i64, 1], &[1, 1]));
            pickle.extend(parts.iter().map(|_| b's'));
        }
        pickle.push(b'.');
        pickle
    }

    #[test]
    fn a_key_chooses_among_state_dicts() {
        let read =
            |keys: &[&str], key: Option<&str>| parse_pth(&file(&state_dicts(keys), &[0; 48]), key);
        let keys = ["model_state_dict", "ema.module", "optimizer"];
        let plain = read(&keys, None).unwrap();
        assert!(plain.notices[0].starts_with("weights are those of `model_state_dict`"));
        assert!(plain.notices[0].contains("`ema.module`"), "{:?}", plain.notices);
        assert_eq!(plain.entries.keys().collect::<Vec<_>>(), ["ema", "optimizer"]);
        let average = read(&keys, Some("ema")).unwrap();
        assert!(average.notices[0].starts_with("weights are those of `ema.module`"));
        assert!(average.entries.contains_key("model_state_dict"));
        // Alone, an average is what there is.
        for key in ["ema", "model_ema", "state_dict_ema", "ema.module", "ema_model.state_dict"] {
            assert_eq!(read(&[key], None).unwrap().weights.len(), 1, "{key}");
        }
        let unknown = read(&keys, Some("teacher")).unwrap_err();
        assert!(unknown.contains("no state dict `teacher`; there are `model_state_dict`"));
        let several = read(&["student", "teacher"], None).unwrap_err();
        assert!(several.contains("--weights-key"), "{several}");
        assert!(read(&["optimizer"], None).unwrap_err().contains("no state dict"));
    }

    #[test]
    fn averages_without_names_are_named() {
        // `{'ema': {'shadow_params': [tensor]}}`.
        let values = tensor("FloatStorage", 12, 0, &[12], &[1]);
        let pickle =
            [b"\x80\x02}", &text("ema")[..], b"}", &text("shadow_params"), b"]", &values, b"ass."];
        let problem = parse_pth(&file(&pickle.concat(), &[0; 48]), None).unwrap_err();
        assert!(problem.contains("`ema` holds averaged weights without their names"), "{problem}");
    }

    #[test]
    fn calls_are_data() {
        let more = [b"cposix\nsystem\n", &text("touch /tmp/owned")[..], b"\x85R"].concat();
        let value = with_more(&more);
        assert_eq!(value.to_string(), "posix.system(\"touch /tmp/owned\")");
        // The same where a weight should be.
        let read = parse_pth(&file(&checkpoint(&more, b"N"), &[]), None).unwrap_err();
        assert!(read.contains("no state dict"), "{read}");
    }

    #[test]
    fn state_of_unknown_objects_is_data() {
        let more = [b"cargparse\nNamespace\n)\x81}", &text("lr")[..], b"K\x03sb"].concat();
        let value = with_more(&more);
        assert_eq!(value.get("lr"), Some(&Value::Int(3)));
        assert_eq!(value.to_string(), "argparse.Namespace(lr=3)");
    }

    #[test]
    fn nesting_costs_no_stack() {
        let deep = [b")".to_vec(), vec![0x85; 1_000_000]].concat();
        assert!(with_more(&deep).to_string().ends_with(&format!("...{}", ")".repeat(32))));
        let wrapped = b"ctorch._utils\n_rebuild_parameter\n".repeat(9);
        let wrapped = [&wrapped[..], b"N", &b"\x85R".repeat(9)].concat();
        assert!(with_more(&wrapped).to_string().contains("_rebuild_parameter"));
    }

    #[test]
    fn shared_values_are_not_multiplied_without_bound() {
        // Every list holds the one before twice: 2^60 values if written out.
        let mut more = b"]q\0".to_vec();
        for index in 0..60_u8 {
            more.extend([b'0', b']', b'(', b'h', index, b'h', index, b'e', b'q', index + 1]);
        }
        let value = with_more(&more);
        assert!(value.to_string().len() < 4 << 20);
        assert!(value.to_string().contains("..."));
    }

    #[test]
    fn cycles_end() {
        let value = with_more(b"]q\0h\0a");
        assert!(value.to_string().contains("..."));
    }

    #[test]
    fn views_that_ask_for_too_much_are_refused() {
        assert!(with_tensor(&tensor("FloatStorage", 12, 0, &[12], &[1])).is_ok());
        let refused = [
            // Sizes of which products overflow.
            tensor("FloatStorage", 12, 0, &[i64::MAX, i64::MAX], &[1, 1]),
            tensor("FloatStorage", i64::MAX, 0, &[12], &[1]),
            // More values than there are.
            tensor("FloatStorage", 12, 0, &[1 << 40], &[0]),
            tensor("FloatStorage", 12, 1, &[12], &[1]),
            tensor("FloatStorage", 13, 0, &[12], &[1]),
            tensor("DoubleStorage", 12, 0, &[12], &[1]),
            // No sizes at all.
            tensor("FloatStorage", 12, -1, &[12], &[1]),
            tensor("FloatStorage", 12, 0, &[-12], &[1]),
            tensor("FloatStorage", 12, 0, &[12], &[-1]),
            tensor("FloatStorage", 12, 0, &[12], &[1, 1]),
            tensor("FloatStorage", 12, 0, &[1; 65], &[1; 65]),
            // Unknown types.
            tensor("ComplexFloatStorage", 6, 0, &[6], &[1]),
        ];
        for tensor in refused {
            let problem = with_tensor(&tensor).unwrap_err();
            assert!(problem.contains("tensor `w`"), "{problem}");
        }
    }

    #[test]
    fn a_storage_is_not_multiplied_without_bound() {
        let view = tensor("ByteStorage", 1 << 16, 0, &[1 << 16], &[1]);
        let mut pickle = b"\x80\x02}(".to_vec();
        for index in 0..40 {
            pickle.extend(text(&index.to_string()));
            pickle.extend(&view);
        }
        pickle.extend(b"u.");
        let problem = parse_pth(&file(&pickle, &[0; 1 << 16]), None).unwrap_err();
        assert!(problem.contains("far more bytes"), "{problem}");
    }

    #[test]
    fn damaged_pickles_are_errors() {
        let long = [b"\x80\x02\x8d", &u64::MAX.to_le_bytes()[..], b"."].concat();
        let damaged: [&[u8]; 14] = [
            b"",
            b".",
            b"\x80\x02",
            b"\x80\x01}.",
            b"\x80\x02R.",
            b"\x80\x02(0.",
            b"\x80\x02h\x05.",
            b"\x80\x02}(Nu.",
            b"\x80\x02]NNs.",
            b"\x80\x02Na.",
            b"\x80\x02t.",
            b"\x80\x02cos\nsystem",
            b"\x80\x04NN\x93.",
            &long,
        ];
        for pickle in damaged {
            let problem = parse_pth(&file(pickle, &[]), None).unwrap_err();
            assert!(problem.contains("pickle"), "{pickle:?}: {problem}");
        }
        let many = [&b"\x80\x02"[..], &b"N".repeat(2_000_000)].concat();
        assert!(parse_pth(&file(&many, &[]), None).unwrap_err().contains("more than"));
    }

    #[test]
    fn big_endian_files_are_refused() {
        let mut archive = ArchiveWriter::new(0);
        archive.add("x/data.pkl", b"\x80\x02}.").unwrap();
        archive.add("x/byteorder", b"big").unwrap();
        let problem = parse_pth(&archive.finish().unwrap(), None).unwrap_err();
        assert!(problem.contains("little-endian"), "{problem}");
    }
}
