//! PyTorch checkpoints (`.pth`, `.pt`).
//!
//! Since version 1.6 `torch.save` writes a zip archive of `data.pkl`, a pickle of everything but the
//! tensors' values, and one entry `data/N` for every storage; `super::legacy` reads what it wrote
//! before. Nothing in either is executed: see `super::pickle`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use fs_err as fs;
use indexmap::IndexMap;

use super::Problem;
use super::graph::{Graph, Id};
use super::legacy;
use super::selection::{NamedDict, is_average, is_no_model, select};
use super::tensor::{self, TensorView};
use super::tensor_dicts::{Entries, entries_of, tensor_dicts};
use super::value::{Copier, Value};
use super::zip::Archive;
use crate::state::StateDict;
use crate::{Error, Result};

/// Views may overlap: all tensors together may have this many times the bytes of the file.
const MAX_SHARING: usize = 16;

/// The state dict of a file that is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// The preferred one, without prefixes.
    Preferred,
    /// The one under this key, without prefixes.
    Key(&'a str),
    /// The file itself, under its own names.
    Root,
}

impl<'a> Wanted<'a> {
    pub(super) fn of(key: Option<&'a str>) -> Self {
        key.map_or(Self::Preferred, Self::Key)
    }
}

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
    parse_pth(&bytes, Wanted::Preferred)
        .map_err(|problem| Error::WeightsFile { path: path.to_owned(), problem })
}

/// Reads the bytes of a PyTorch checkpoint.
///
/// # Errors
/// As [`read_pth`].
pub(super) fn parse_pth(bytes: &[u8], wanted: Wanted<'_>) -> Result<Checkpoint, Problem> {
    if legacy::is_legacy(bytes) {
        return legacy::parse(bytes, wanted);
    }
    parse_archive(&Archive::open(bytes)?, bytes.len(), wanted)
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
    wanted: Wanted<'_>,
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
    checkpoint(&graph, wanted, Storages::new(&read, file_len))
}

/// The checkpoint that a pickle describes, with the tensors' values from its storages.
pub(super) fn checkpoint(
    graph: &Graph<'_>,
    wanted: Wanted<'_>,
    mut storages: Storages<'_, '_>,
) -> Result<Checkpoint, Problem> {
    let root = entries_of(graph, graph.root()).ok_or(
        "holds no dict but something else, maybe a whole model; save its state_dict() instead",
    )?;
    let key = match wanted {
        Wanted::Preferred => None,
        Wanted::Key(key) => Some(key),
        Wanted::Root => {
            let weights =
                storages.all(graph, root.into_iter().map(|(n, id)| (n.to_owned(), id)))?;
            return Ok(Checkpoint { weights, ..Checkpoint::default() });
        }
    };
    // A key may be that of anything.
    let dicts = tensor_dicts(graph, &root, key.is_some());
    if dicts.is_empty() {
        return Err(no_state_dict(&root));
    }
    let named: Vec<NamedDict<'_>> = dicts
        .iter()
        .map(|dict| NamedDict {
            paths: dict.paths.clone(),
            names: dict.tensors.iter().map(|(name, _)| *name).collect(),
        })
        .collect();
    let selection = select(&named, key)?;
    let dict = &dicts[selection.dict];
    let tensors = selection.tensors.into_iter().map(|(at, name)| (name, dict.tensors[at].1));
    let weights = storages.all(graph, tensors)?;
    let entries = copied(graph, &entries_beside(graph, &root, &dict.paths));
    Ok(Checkpoint { weights, entries, notices: selection.notices })
}

/// The values of entries, in their order. The state of an optimiser is copied last: it may leave no room
/// for others, and those are read.
fn copied(graph: &Graph<'_>, entries: &Entries<'_>) -> IndexMap<String, Value> {
    let mut copier = Copier::new(graph);
    let mut values: IndexMap<String, Value> =
        entries.iter().map(|(name, _)| ((*name).to_owned(), Value::Omitted)).collect();
    for last in [false, true] {
        for (name, id) in entries.iter().filter(|(name, _)| is_no_model(name) == last) {
            values.insert((*name).to_owned(), copier.copy(*id));
        }
    }
    values
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

/// Lists the entries beside the state dict of these paths: in the file, and in the state dict itself.
fn entries_beside<'a>(graph: &Graph<'a>, root: &Entries<'a>, paths: &[String]) -> Entries<'a> {
    let is_tensor = |id: Id| tensor::find(graph, id).is_some();
    let is_root = paths.iter().any(String::is_empty);
    let first = |name: &str| paths.iter().any(|path| path.split('.').next() == Some(name));
    let beside =
        root.iter().filter(|(name, id)| if is_root { !is_tensor(*id) } else { !first(name) });
    let mut entries: Entries<'a> = beside.copied().collect();
    let own = root.iter().find(|(name, _)| paths.iter().any(|path| path == name));
    if let Some((_, id)) = own.filter(|_| !is_root) {
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

    /// Copies the values that are tensors.
    fn all(
        &mut self,
        graph: &Graph<'_>,
        values: impl Iterator<Item = (String, Id)>,
    ) -> Result<StateDict, Problem> {
        let mut weights = StateDict::new();
        for (name, id) in values {
            let Some(view) = tensor::find(graph, id) else { continue };
            let data = view.and_then(|view| self.copy(&view));
            let data = data.map_err(|problem| format!("tensor `{name}`: {problem}"))?;
            weights.insert(name, data);
        }
        Ok(weights)
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
        parse_pth(&file(&checkpoint(tensor, b"N"), &[0; 48]), Wanted::Preferred)
    }

    fn with_more(more: &[u8]) -> Value {
        let plain = tensor("FloatStorage", 12, 0, &[3, 4], &[4, 1]);
        let read =
            parse_pth(&file(&checkpoint(&plain, more), &[0; 48]), Wanted::Preferred).unwrap();
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
        let read = |keys: &[&str], key: Option<&str>| {
            parse_pth(&file(&state_dicts(keys), &[0; 48]), Wanted::of(key))
        };
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

    /// `{'model': sd, 'state_dict': sd, 'outer': {'model_ema': x}, 'inner': outer}` with `sd` and `outer`
    /// shared.
    #[test]
    fn shared_dicts_are_found_under_every_name() {
        let values = |len: i64| tensor("FloatStorage", 12, 0, &[len], &[1]);
        let pickle = [
            b"\x80\x02}(",
            &text("model")[..],
            b"}q\0",
            &text("w"),
            &values(3),
            b"s",
            &text("state_dict"),
            b"h\0",
            &text("outer"),
            b"}q\x01",
            &text("average"),
            b"}",
            &text("w"),
            &values(4),
            b"ss",
            &text("inner"),
            b"h\x01u.",
        ]
        .concat();
        let read =
            |key: Option<&str>| parse_pth(&file(&pickle, &[0; 48]), Wanted::of(key)).unwrap();
        for (key, len) in [
            (None, 3),
            (Some("model"), 3),
            (Some("state_dict"), 3),
            (Some("outer"), 4),
            (Some("inner"), 4),
            (Some("inner.average"), 4),
            (Some("average"), 4),
        ] {
            let read = read(key);
            assert_eq!(read.weights["w"].shape().as_slice(), [len], "{key:?}");
            let shared = ["model", "state_dict"].map(|name| read.entries.contains_key(name));
            assert_eq!(shared, [len == 4; 2], "{key:?}");
        }
    }

    /// An optimiser's state is no model, unless its key is given; a name with `optim` in it may be one.
    #[test]
    fn names_of_state_that_is_no_model_are_words() {
        let read = |keys: &[&str], key: Option<&str>| {
            parse_pth(&file(&state_dicts(keys), &[0; 48]), Wanted::of(key))
        };
        let one = read(&["optimizer", "optimal_model"], None).unwrap();
        assert_eq!(one.weights["w"].shape().as_slice(), [2, 1]);
        assert!(one.notices[0].contains("`optimal_model`"), "{:?}", one.notices);
        assert!(read(&["optimizer"], Some("optimizer")).is_ok());
    }

    #[test]
    fn a_large_state_of_an_optimiser_hides_no_entry() {
        let parts: [&[u8]; 11] = [
            b"\x80\x02}(",
            &text("model"),
            b"}",
            &text("w"),
            &tensor("FloatStorage", 12, 0, &[12], &[1]),
            b"s",
            &text("optimizer"),
            &[&b"]("[..], &b"K\x01".repeat(300_000), b"e"].concat(),
            &text("args"),
            b"K\x07u",
            b".",
        ];
        let read = parse_pth(&file(&parts.concat(), &[0; 48]), Wanted::Preferred).unwrap();
        assert_eq!(read.entries["args"], Value::Int(7));
        assert_eq!(read.entries.keys().collect::<Vec<_>>(), ["optimizer", "args"]);
        let Value::List(shown) = &read.entries["optimizer"] else { panic!("no list") };
        assert!(shown.len() < 300_000);
    }

    #[test]
    fn averages_without_names_are_named() {
        // `{'ema': {'shadow_params': [tensor]}}`.
        let values = tensor("FloatStorage", 12, 0, &[12], &[1]);
        let pickle =
            [b"\x80\x02}", &text("ema")[..], b"}", &text("shadow_params"), b"]", &values, b"ass."];
        let problem = parse_pth(&file(&pickle.concat(), &[0; 48]), Wanted::Preferred).unwrap_err();
        assert!(problem.contains("`ema` holds averaged weights without their names"), "{problem}");
    }

    #[test]
    fn calls_are_data() {
        let more = [b"cposix\nsystem\n", &text("touch /tmp/owned")[..], b"\x85R"].concat();
        let value = with_more(&more);
        assert_eq!(value.to_string(), "posix.system(\"touch /tmp/owned\")");
        // The same where a weight should be.
        let read = parse_pth(&file(&checkpoint(&more, b"N"), &[]), Wanted::Preferred).unwrap_err();
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
        let problem = parse_pth(&file(&pickle, &[0; 1 << 16]), Wanted::Preferred).unwrap_err();
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
            let problem = parse_pth(&file(pickle, &[]), Wanted::Preferred).unwrap_err();
            assert!(problem.contains("pickle"), "{pickle:?}: {problem}");
        }
        let many = [&b"\x80\x02"[..], &b"N".repeat(2_000_000)].concat();
        assert!(parse_pth(&file(&many, &[]), Wanted::Preferred).unwrap_err().contains("more than"));
    }

    #[test]
    fn big_endian_files_are_refused() {
        let mut archive = ArchiveWriter::new(0);
        archive.add("x/data.pkl", b"\x80\x02}.").unwrap();
        archive.add("x/byteorder", b"big").unwrap();
        let problem = parse_pth(&archive.finish().unwrap(), Wanted::Preferred).unwrap_err();
        assert!(problem.contains("little-endian"), "{problem}");
    }
}
