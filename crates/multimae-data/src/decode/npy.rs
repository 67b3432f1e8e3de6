//! Arrays in NumPy's npy format.

use multimae_io::npy::check_header;
use npyz::{DType, Deserialize, NpyFile, TypeChar};

use super::Problem;
use super::frame::{Frame, Pixels};

type File<'a> = NpyFile<&'a [u8]>;

/// Reads an array `(H, W)`, `(C, H, W)` or `(H, W, 1)` of any real type.
pub(super) fn read(bytes: &[u8]) -> Result<Frame, Problem> {
    let file = open(bytes)?;
    // Before anything is allocated: a damaged header may claim any size.
    let claimed = file.shape().iter().try_fold(1_u64, |all, &n| all.checked_mul(n));
    if claimed.is_none_or(|values| values > bytes.len() as u64) {
        return Err(format!("its shape {:?} needs more bytes than the file has", file.shape()));
    }
    let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
    Frame::of_array(&shape, pixels(file)?)
}

/// Height and width by the header of an array.
pub(super) fn claimed_size(bytes: &[u8]) -> Result<(u64, u64), Problem> {
    let file = open(bytes)?;
    match file.shape() {
        [height, width, 1] if *height > 1 => Ok((*height, *width)),
        [.., height, width] => Ok((*height, *width)),
        shape => Err(format!("its shape is {shape:?}, expected at least two axes")),
    }
}

fn open(bytes: &[u8]) -> Result<File<'_>, Problem> {
    check_header(bytes)?;
    NpyFile::new(bytes).map_err(|error| format!("the npy header: {error}"))
}

fn pixels(file: File<'_>) -> Result<Pixels, Problem> {
    let kind = match file.dtype() {
        DType::Plain(plain) => Some((plain.type_char(), plain.size_field())),
        _ => None,
    };
    Ok(match kind {
        Some((TypeChar::Float, 2)) => Pixels::of_halves(&halves(file)?),
        Some((TypeChar::Float, 4)) => Pixels::F32(values(file)?),
        Some((TypeChar::Float, 8)) => Pixels::F64(values(file)?),
        Some((TypeChar::Bool, 1)) => {
            Pixels::U8(values::<bool>(file)?.into_iter().map(u8::from).collect())
        }
        Some((TypeChar::Uint, 1)) => Pixels::U8(values(file)?),
        Some((TypeChar::Uint, 2)) => Pixels::U16(values(file)?),
        Some((TypeChar::Uint, 4)) => Pixels::U32(values(file)?),
        Some((TypeChar::Uint, 8)) => Pixels::of_u64(values(file)?)?,
        Some((TypeChar::Int, 1)) => Pixels::I8(values(file)?),
        Some((TypeChar::Int, 2)) => Pixels::I16(values(file)?),
        Some((TypeChar::Int, 4)) => Pixels::I32(values(file)?),
        Some((TypeChar::Int, 8)) => Pixels::I64(values(file)?),
        _ => {
            return Err(format!(
                "its values are {}, expected floats of 16, 32 or 64 bits, integers or booleans",
                file.dtype().descr()
            ));
        }
    })
}

/// The values in row-major order.
fn values<S: Deserialize>(file: File<'_>) -> Result<Vec<S>, Problem> {
    let layout = Layout::of(&file);
    let stored = file.into_vec::<S>().map_err(|error| format!("the npy data: {error}"))?;
    layout.in_order(stored)
}

/// The bits of 16-bit floats in row-major order.
fn halves(file: File<'_>) -> Result<Vec<u16>, Problem> {
    let layout = Layout::of(&file);
    let read =
        if file.dtype().descr().contains('>') { u16::from_be_bytes } else { u16::from_le_bytes };
    let data: &[u8] = file.into_inner();
    let halves = data.as_chunks::<2>().0.iter().take(layout.count());
    layout.in_order(halves.map(|&bytes| read(bytes)).collect())
}

/// The order in which an array's values are stored.
struct Layout {
    shape: Vec<usize>,
    strides: Vec<usize>,
    row_major: bool,
}

impl Layout {
    fn of(file: &File<'_>) -> Self {
        let sizes = |sizes: &[u64]| sizes.iter().map(|&n| n as usize).collect();
        let row_major = file.order() == npyz::Order::C;
        Self { shape: sizes(file.shape()), strides: sizes(file.strides()), row_major }
    }

    fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Stored values in row-major order.
    fn in_order<S>(&self, stored: Vec<S>) -> Result<Vec<S>, Problem> {
        let count = self.count();
        if stored.len() != count {
            return Err(format!("it has {} of {count} values", stored.len()));
        }
        if self.row_major {
            return Ok(stored);
        }
        let mut stored: Vec<Option<S>> = stored.into_iter().map(Some).collect();
        let place = |index| stored_index(index, &self.shape, &self.strides);
        Ok((0..count).filter_map(|index| stored[place(index)].take()).collect())
    }
}

/// Returns the place of the value with the row-major index `index`: arrays may be column-major.
fn stored_index(mut index: usize, shape: &[usize], strides: &[usize]) -> usize {
    let mut stored = 0;
    for (&len, &stride) in shape.iter().zip(strides).rev() {
        stored += index % len * stride;
        index /= len;
    }
    stored
}
