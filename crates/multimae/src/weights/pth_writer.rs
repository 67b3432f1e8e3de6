//! Writing PyTorch checkpoints that `torch.load` reads, also with `weights_only=True`.

use super::Problem;
use super::tensor::{row_major, storage_class};
use super::zip::ArchiveWriter;
use crate::state::StateDict;
use crate::{Error, Result};

/// The folder in the archive; PyTorch takes the file's name, and reads any.
const ROOT: &str = "archive";

/// The bytes of a checkpoint `{'model': weights, 'epoch': epoch}`, the layout of the published
/// training scripts; writing them in one piece is the caller's task.
///
/// The bytes depend on nothing but the arguments.
///
/// # Errors
/// If a tensor has a type without a storage class in PyTorch: unsigned integers of more than 8 bits
/// and quantised numbers.
pub fn write_pth(weights: &StateDict, epoch: i64) -> Result<Vec<u8>> {
    write_pth_with(weights, epoch, &[])
}

/// The bytes of a checkpoint like [`write_pth`] with further entries that are text.
///
/// # Errors
/// As [`write_pth`].
pub fn write_pth_with(weights: &StateDict, epoch: i64, texts: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut pickle = Pickle(vec![0x80, 2]);
    pickle.raw(b"}(");
    pickle.str("model");
    pickle.raw(b"ccollections\nOrderedDict\n)R(");
    for (index, (name, data)) in weights.iter().enumerate() {
        let class = storage_class(data.dtype()).ok_or_else(|| {
            Error::Weights(format!(
                "`{name}` has type {:?}, which PyTorch's format does not hold",
                data.dtype()
            ))
        })?;
        pickle.str(name);
        pickle.tensor(index, class, data.shape());
    }
    pickle.raw(b"u");
    pickle.str("epoch");
    pickle.int(epoch);
    for (key, text) in texts {
        pickle.str(key);
        pickle.str(text);
    }
    pickle.raw(b"u.");
    archive(&pickle.0, weights)
        .map_err(|problem| Error::Weights(format!("as a PyTorch checkpoint: {problem}")))
}

fn archive(pickle: &[u8], weights: &StateDict) -> Result<Vec<u8>, Problem> {
    let len: usize = weights.values().map(|data| data.as_bytes().len() + 512).sum();
    let mut archive = ArchiveWriter::new(len + 2 * pickle.len());
    let mut add = |name: &str, content: &[u8]| archive.add(&format!("{ROOT}/{name}"), content);
    add("data.pkl", pickle)?;
    add(".format_version", b"1")?;
    add(".storage_alignment", b"64")?;
    add("byteorder", b"little")?;
    for (index, data) in weights.values().enumerate() {
        add(&format!("data/{index}"), data.as_bytes())?;
    }
    add("version", b"3\n")?;
    archive.finish()
}

/// A pickle of protocol 2 in the making.
struct Pickle(Vec<u8>);

impl Pickle {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn str(&mut self, text: &str) {
        self.raw(b"X");
        self.raw(&(text.len() as u32).to_le_bytes());
        self.raw(text.as_bytes());
    }

    fn int(&mut self, value: i64) {
        if let Ok(byte) = u8::try_from(value) {
            self.raw(&[b'K', byte]);
        } else if let Ok(value) = i32::try_from(value) {
            self.raw(b"J");
            self.raw(&value.to_le_bytes());
        } else {
            self.raw(&[0x8a, 8]);
            self.raw(&value.to_le_bytes());
        }
    }

    fn ints(&mut self, values: &[usize]) {
        self.raw(b"(");
        for &value in values {
            self.int(value as i64);
        }
        self.raw(b"t");
    }

    /// A whole storage as a tensor, without gradient and hooks.
    fn tensor(&mut self, storage: usize, class: &str, shape: &[usize]) {
        self.raw(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.str("storage");
        self.raw(format!("ctorch\n{class}\n").as_bytes());
        self.str(&storage.to_string());
        self.str("cpu");
        self.int(shape.iter().product::<usize>() as i64);
        self.raw(b"tQK\0");
        self.ints(shape);
        self.ints(&row_major(shape));
        self.raw(b"\x89ccollections\nOrderedDict\n)RtR");
    }
}
