//! Arrays in NumPy's npy format.

use npyz::{DType, Deserialize, NpyFile, TypeChar};

use super::Problem;

/// The values of an array in row-major order.
pub(super) struct Array<T> {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<T>,
}

/// An array of any real type as 32-bit floats.
pub(super) fn floats(bytes: &[u8]) -> Result<Array<f32>, Problem> {
    let file = open(bytes)?;
    match kind(&file) {
        Some((TypeChar::Float, 4)) => read(file, |x: f32| x),
        Some((TypeChar::Float, 8)) => read(file, |x: f64| x as f32),
        Some((TypeChar::Uint, 1)) => read(file, |x: u8| f32::from(x)),
        Some((TypeChar::Uint, 2)) => read(file, |x: u16| f32::from(x)),
        Some((TypeChar::Uint, 4)) => read(file, |x: u32| x as f32),
        Some((TypeChar::Int, 1)) => read(file, |x: i8| f32::from(x)),
        Some((TypeChar::Int, 2)) => read(file, |x: i16| f32::from(x)),
        Some((TypeChar::Int, 4)) => read(file, |x: i32| x as f32),
        _ => Err(unsupported(&file, "float32, float64 or an integer type of up to 32 bits")),
    }
}

/// An array of any integer type.
pub(super) fn integers(bytes: &[u8]) -> Result<Array<i64>, Problem> {
    let file = open(bytes)?;
    match kind(&file) {
        Some((TypeChar::Uint, 1)) => read(file, |x: u8| i64::from(x)),
        Some((TypeChar::Uint, 2)) => read(file, |x: u16| i64::from(x)),
        Some((TypeChar::Uint, 4)) => read(file, |x: u32| i64::from(x)),
        Some((TypeChar::Int, 1)) => read(file, |x: i8| i64::from(x)),
        Some((TypeChar::Int, 2)) => read(file, |x: i16| i64::from(x)),
        Some((TypeChar::Int, 4)) => read(file, |x: i32| i64::from(x)),
        Some((TypeChar::Int, 8)) => read(file, |x: i64| x),
        _ => Err(unsupported(&file, "an integer type other than uint64")),
    }
}

type File<'a> = NpyFile<&'a [u8]>;

fn open(bytes: &[u8]) -> Result<File<'_>, Problem> {
    let file = NpyFile::new(bytes).map_err(|error| format!("the npy header: {error}"))?;
    // Before anything is allocated: a damaged header may claim any size.
    let claimed = file.shape().iter().try_fold(1_u64, |all, &n| all.checked_mul(n));
    if claimed.is_none_or(|values| values > bytes.len() as u64) {
        return Err(format!("its shape {:?} needs more bytes than the file has", file.shape()));
    }
    Ok(file)
}

fn kind(file: &File<'_>) -> Option<(TypeChar, u64)> {
    match file.dtype() {
        DType::Plain(plain) => Some((plain.type_char(), plain.size_field())),
        _ => None,
    }
}

fn unsupported(file: &File<'_>, expected: &str) -> Problem {
    format!("its values are {}, expected {expected}", file.dtype().descr())
}

fn read<S: Deserialize, T>(file: File<'_>, convert: impl Fn(S) -> T) -> Result<Array<T>, Problem> {
    let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
    let strides: Vec<usize> = file.strides().iter().map(|&n| n as usize).collect();
    let count: usize = shape.iter().product();
    let stored = file.into_vec::<S>().map_err(|error| format!("the npy data: {error}"))?;
    if stored.len() != count {
        return Err(format!("it has {} of {count} values", stored.len()));
    }
    let mut stored: Vec<Option<S>> = stored.into_iter().map(Some).collect();
    let values = (0..count)
        .filter_map(|index| stored[stored_index(index, &shape, &strides)].take())
        .map(convert)
        .collect();
    Ok(Array { shape, values })
}

/// Where the value with the row-major index `index` is stored: arrays may be column-major.
fn stored_index(mut index: usize, shape: &[usize], strides: &[usize]) -> usize {
    let mut stored = 0;
    for (&len, &stride) in shape.iter().zip(strides).rev() {
        stored += index % len * stride;
        index /= len;
    }
    stored
}
