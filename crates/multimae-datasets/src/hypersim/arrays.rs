//! The array in a file of a frame.

use std::path::Path;

use hdf5_pure::{DType, Dataset, File};

use crate::hdf5::{DAMAGED, check_chunks, is_half, of_halves, problem_or};
use crate::{Error, Result};

/// The name of the only array of a file.
const ARRAY: &str = "dataset";
/// The largest side of a picture.
const MOST: u64 = 1 << 14;

/// An array as stored, `(H, W)` or `(H, W, C)`.
#[derive(Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) values: Vec<f32>,
}

/// Reads the array of a file: floats of 16 or 32 bits, or integers of up to 32 bits, as floats.
///
/// # Errors
/// [`Error::Input`] if the file is damaged or has no such array; [`Error::Io`].
pub(super) fn read(path: &Path, channels: usize) -> Result<Stored> {
    // For an error with the path.
    drop(fs_err::File::open(path)?);
    let input = |problem| Error::Input { path: path.to_owned(), problem };
    let unread = |error: hdf5_pure::Error| input(problem_or(&error, DAMAGED));
    let file = File::open(path).map_err(unread)?;
    let array = file.dataset(ARRAY).map_err(|error| {
        input(problem_or(&error, "it has no array `dataset`; it is damaged or not of Hypersim"))
    })?;
    check_chunks(&array, file.file_size()).map_err(input)?;
    let shape = array.shape().map_err(unread)?;
    let (height, width) = sides(&shape, channels).map_err(input)?;
    let values = values(&array).map_err(unread)?.ok_or_else(|| {
        input(
            "its numbers are neither floats nor integers of at most 32 bits; it is not of Hypersim"
                .to_owned(),
        )
    })?;
    if values.len() != height * width * channels {
        return Err(input(format!(
            "it has {} values for the shape {shape:?}; {DAMAGED}",
            values.len()
        )));
    }
    Ok(Stored { height, width, channels, values })
}

fn sides(shape: &[u64], channels: usize) -> std::result::Result<(usize, usize), String> {
    let side = |side: u64| usize::try_from(side).ok().filter(|_| (1..=MOST).contains(&side));
    let sides = match *shape {
        [height, width] if channels == 1 => side(height).zip(side(width)),
        [height, width, stored] if stored == channels as u64 => side(height).zip(side(width)),
        _ => None,
    };
    sides.ok_or_else(|| {
        let third = if channels == 1 { String::new() } else { format!(", {channels}") };
        format!("its array has the shape {shape:?}, expected (height, width{third})")
    })
}

/// The values of an array, `None` if they are of another type.
fn values(array: &Dataset) -> std::result::Result<Option<Vec<f32>>, hdf5_pure::Error> {
    let floats = |integers: Vec<i32>| integers.into_iter().map(|value| value as f32).collect();
    Ok(match array.dtype()? {
        DType::F32 => Some(array.read_f32()?),
        DType::I8 | DType::I16 | DType::I32 | DType::U8 | DType::U16 => {
            Some(floats(array.read_i32()?))
        }
        DType::Other(datatype) if is_half(&datatype) => Some(of_halves(&array.read_raw()?)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEPTH: &[u8] = include_bytes!(
        "../../tests/fixtures/sets/hypersim/ai_001_001/images/scene_cam_00_geometry_hdf5/frame.0001.depth_meters.hdf5"
    );

    proptest! {
        #[test]
        fn damage_never_panics(at in 0..DEPTH.len(), value: u8) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.hdf5");
            let mut bytes = DEPTH.to_vec();
            bytes[at] = value;
            fs_err::write(&path, &bytes).unwrap();
            if let Ok(stored) = read(&path, 1) {
                prop_assert_eq!(stored.values.len(), stored.height * stored.width);
            }
        }
    }
}
