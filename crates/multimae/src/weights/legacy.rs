//! The format that `torch.save` wrote before version 1.6, and still writes on request.
//!
//! Such a file is five pickles, one after the other: a magic number, the version of the format, the
//! sizes of types on the machine, the saved object and the keys of its storages. The storages
//! follow in the order of the keys, each its number of values in 8 bytes and the values. The files
//! of PyTorch before 0.1.10 are tar archives, which are refused. Source: the documentation and the
//! behaviour of `torch.save(.., _use_new_zipfile_serialization=False)`.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Problem;
use super::graph::{Graph, Node};
use super::pth::{Checkpoint, Storages, Wanted, checkpoint};
use super::tensor;

/// The magic number, pickled with protocol 2.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
/// The version of the format.
const VERSION: usize = 1001;
/// Tar archives say so here.
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");

/// Whether a file is of an old format.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC) || is_tar(bytes)
}

fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(TAR_MAGIC.0..).is_some_and(|rest| rest.starts_with(TAR_MAGIC.1))
}

/// Reads a checkpoint of an old format.
///
/// # Errors
/// If it is damaged, is a tar archive, or as for files of the new format.
pub(super) fn parse(bytes: &[u8], wanted: Wanted<'_>) -> Result<Checkpoint, Problem> {
    if is_tar(bytes) {
        return Err("a tar archive: unpack it first if it holds the weights; a checkpoint of \
                    PyTorch before 0.1.10 is not supported, load and save it once with a later one"
            .to_owned());
    }
    let mut rest = bytes.get(MAGIC.len()..).unwrap_or_default();
    let version = next(&mut rest)?;
    if version.size(version.root()) != Some(VERSION) {
        return Err("its version of the format before PyTorch 1.6 is unknown".to_owned());
    }
    let machine = next(&mut rest)?;
    if !is_little_endian(&machine) {
        return Err("its numbers are not little-endian".to_owned());
    }
    let object = next(&mut rest)?;
    let keys = next(&mut rest)?;
    let storages = storages(&object, &keys, rest)?;
    let read = |key: &str| {
        let content = storages.get(key).copied().ok_or_else(|| format!("storage {key} is missing"));
        content.map(Cow::Borrowed)
    };
    checkpoint(&object, wanted, Storages::new(&read, bytes.len()))
}

/// Reads the next pickle.
fn next<'a>(rest: &mut &'a [u8]) -> Result<Graph<'a>, Problem> {
    let (graph, len) = Graph::parse_first(rest)?;
    *rest = rest.get(len..).unwrap_or_default();
    Ok(graph)
}

/// Whether the machine that wrote the file is of the usual byte order, as it must say.
fn is_little_endian(machine: &Graph<'_>) -> bool {
    let entries = machine.dict(machine.root()).unwrap_or_default();
    let order = entries.iter().find(|(key, _)| machine.str(*key) == Some("little_endian"));
    order.is_some_and(|(_, value)| matches!(machine.node(*value), Node::Bool(true)))
}

/// The bytes of every storage, by its key.
fn storages<'a, 'b>(
    object: &Graph<'a>,
    keys: &Graph<'b>,
    mut rest: &'b [u8],
) -> Result<HashMap<&'b str, &'b [u8]>, Problem> {
    let units = tensor::storage_units(object);
    let Node::List(list) = keys.node(keys.root()) else {
        return Err("damaged: its list of storages is missing".to_owned());
    };
    let mut storages = HashMap::new();
    for id in list {
        let key = keys.str(*id).ok_or("damaged: the key of a storage is no text")?;
        let unit = units.get(key).ok_or_else(|| format!("the type of storage {key} is unknown"))?;
        let content = storage(&mut rest, *unit);
        let content = content.ok_or_else(|| format!("damaged: storage {key} is cut off"))?;
        storages.insert(key, content);
    }
    if !rest.is_empty() {
        return Err(format!("damaged: {} bytes follow its last storage", rest.len()));
    }
    Ok(storages)
}

/// Takes the number of values and the values, of `unit` bytes each.
fn storage<'b>(rest: &mut &'b [u8], unit: usize) -> Option<&'b [u8]> {
    let (count, values) = rest.split_first_chunk::<8>()?;
    let len = usize::try_from(u64::from_le_bytes(*count)).ok()?.checked_mul(unit)?;
    let content = values.get(..len)?;
    *rest = values.get(len..)?;
    Some(content)
}
