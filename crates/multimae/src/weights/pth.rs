//! PyTorch checkpoints (`.pth`, `.pt`), as `torch.save` has written them since version 1.6.
//!
//! Such a file is a zip archive of `data.pkl`, a pickle of everything but the tensors' values, and
//! one entry `data/N` for every storage. Nothing in it is executed: see `super::pickle`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use fs_err as fs;
use indexmap::IndexMap;

use super::Problem;
use super::pickle::{Graph, Id};
use super::tensor::{self, TensorView};
use super::value::{Copier, Value};
use super::zip::Archive;
use crate::state::StateDict;
use crate::{Error, Result};

/// The keys that hold the weights, in the order in which they are looked for.
const WEIGHT_KEYS: [&str; 3] = ["model", "state_dict", "model_ema"];
/// Views may overlap: all tensors together may have this many times the bytes of the file.
const MAX_SHARING: usize = 16;

/// Files of `torch.save` before version 1.6 begin with this number, pickled with protocol 2.
const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
/// The files before those were tar archives, which say so here.
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");
const SAVE_AGAIN: &str = "load and save it once with a current PyTorch, if you trust the file: \
     torch.save(torch.load('old.pth', map_location='cpu', weights_only=False), 'new.pth')";

/// A PyTorch checkpoint.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    /// The state dict: what is under `model`, else `state_dict`, else `model_ema`, else the file
    /// itself. Tensors keep their type.
    pub weights: StateDict,
    /// Everything else, such as `epoch`, `args` and `optimizer`, for display. Entries of the state
    /// dict that are no tensors are here under their keys.
    pub entries: IndexMap<String, Value>,
}

/// Reads a PyTorch checkpoint without executing anything of it.
///
/// # Errors
/// If the file cannot be read, is damaged, is of an old format or holds no state dict.
pub fn read_pth(path: &Path) -> Result<Checkpoint> {
    let bytes = fs::read(path)?;
    parse_pth(&bytes).map_err(|problem| Error::WeightsFile { path: path.to_owned(), problem })
}

/// Whether a file is one that [`legacy`] has something to say about.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.starts_with(LEGACY_MAGIC)
        || bytes.get(TAR_MAGIC.0..).is_some_and(|rest| rest.starts_with(TAR_MAGIC.1))
}

/// The remedy for a file of an old format.
pub(super) fn legacy() -> Problem {
    format!("written by PyTorch before version 1.6, or with its old format; {SAVE_AGAIN}")
}

/// Reads the bytes of a PyTorch checkpoint.
///
/// # Errors
/// As [`read_pth`].
pub(super) fn parse_pth(bytes: &[u8]) -> Result<Checkpoint, Problem> {
    if is_legacy(bytes) {
        return Err(legacy());
    }
    parse_archive(&Archive::open(bytes)?, bytes.len())
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
pub(super) fn parse_archive(archive: &Archive<'_>, file_len: usize) -> Result<Checkpoint, Problem> {
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
    let (weights, mut entries) = split(&graph)?;
    let mut storages = Storages { archive, root, read: HashMap::new() };
    let mut left = file_len.saturating_mul(MAX_SHARING);
    let mut checkpoint = Checkpoint::default();
    let mut copier = Copier::new(&graph);
    for (name, id) in weights {
        match tensor::find(&graph, id) {
            Some(view) => {
                let data = view.and_then(|view| storages.copy(&view, &mut left));
                let data = data.map_err(|problem| format!("tensor `{name}`: {problem}"))?;
                checkpoint.weights.insert(name.to_owned(), data);
            }
            None => entries.push((name, id)),
        }
    }
    for (name, id) in entries {
        checkpoint.entries.insert(name.to_owned(), copier.copy(id));
    }
    Ok(checkpoint)
}

type Named<'a> = Vec<(&'a str, Id)>;

/// The state dict and the entries beside it.
fn split<'a>(graph: &Graph<'a>) -> Result<(Named<'a>, Named<'a>), Problem> {
    let root = named(graph, graph.root()).ok_or(
        "holds no dict but something else, maybe a whole model; save its state_dict() instead",
    )?;
    for key in WEIGHT_KEYS {
        let Some(at) = root.iter().rposition(|(name, _)| *name == key) else { continue };
        let Some(weights) = named(graph, root[at].1) else { continue };
        if holds_tensors(graph, &weights) {
            let entries = root.iter().filter(|(name, _)| *name != key).copied().collect();
            return Ok((weights, entries));
        }
    }
    if holds_tensors(graph, &root) {
        return Ok((root, Vec::new()));
    }
    let keys: Vec<&str> = root.iter().map(|(name, _)| *name).take(20).collect();
    Err(format!("holds no state dict under {}; its keys: {keys:?}", WEIGHT_KEYS.join(", ")))
}

fn holds_tensors(graph: &Graph<'_>, entries: &Named<'_>) -> bool {
    entries.iter().any(|&(_, id)| tensor::find(graph, id).is_some())
}

/// The entries of a dict that are named by text.
fn named<'a>(graph: &Graph<'a>, id: Id) -> Option<Named<'a>> {
    let name = |&(key, value): &(Id, Id)| Some((graph.str(key)?, value));
    Some(graph.dict(id)?.iter().filter_map(name).collect())
}

struct Storages<'a, 'b> {
    archive: &'b Archive<'a>,
    root: String,
    /// Tensors may share a storage, whose checksum is to be computed once.
    read: HashMap<String, Cow<'a, [u8]>>,
}

impl Storages<'_, '_> {
    /// Copies a tensor; `left` are the bytes that all tensors may still take.
    fn copy(
        &mut self,
        view: &TensorView<'_>,
        left: &mut usize,
    ) -> Result<burn::tensor::TensorData, Problem> {
        if !self.read.contains_key(view.storage) {
            let content = self.archive.read(&format!("{}data/{}", self.root, view.storage))?;
            self.read.insert(view.storage.to_owned(), content);
        }
        let rest = view.len().and_then(|len| left.checked_sub(len));
        *left = rest.ok_or("the tensors have far more bytes than the file")?;
        view.copy(self.read.get(view.storage).map_or(&[], |content| content))
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
        parse_pth(&file(&checkpoint(tensor, b"N"), &[0; 48]))
    }

    fn with_more(more: &[u8]) -> Value {
        let plain = tensor("FloatStorage", 12, 0, &[3, 4], &[4, 1]);
        let read = parse_pth(&file(&checkpoint(&plain, more), &[0; 48])).unwrap();
        assert_eq!(read.weights["w"].shape().as_slice(), [3, 4]);
        read.entries["more"].clone()
    }

    #[test]
    fn calls_are_data() {
        let more = [b"cposix\nsystem\n", &text("touch /tmp/owned")[..], b"\x85R"].concat();
        let value = with_more(&more);
        assert_eq!(value.to_string(), "posix.system(\"touch /tmp/owned\")");
        // The same where a weight should be.
        let read = parse_pth(&file(&checkpoint(&more, b"N"), &[])).unwrap_err();
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
        let problem = parse_pth(&file(&pickle, &[0; 1 << 16])).unwrap_err();
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
            let problem = parse_pth(&file(pickle, &[])).unwrap_err();
            assert!(problem.contains("pickle"), "{pickle:?}: {problem}");
        }
        let many = [&b"\x80\x02"[..], &b"N".repeat(2_000_000)].concat();
        assert!(parse_pth(&file(&many, &[])).unwrap_err().contains("more than"));
    }

    #[test]
    fn big_endian_files_are_refused() {
        let mut archive = ArchiveWriter::new(0);
        archive.add("x/data.pkl", b"\x80\x02}.").unwrap();
        archive.add("x/byteorder", b"big").unwrap();
        let problem = parse_pth(&archive.finish().unwrap()).unwrap_err();
        assert!(problem.contains("little-endian"), "{problem}");
    }
}
