//! Checks of the index of an array's chunks.

use hdf5_pure::{Dataset, Error};

use super::{DAMAGED, problem_or};

/// Bytes of values that are in memory at the same time, in all threads together.
pub(crate) const MOST_BYTES: usize = 192 << 20;

/// Values that a byte of a file can stand for: deflate makes a byte of 1032 at most.
const DENSEST: u64 = 1032;

/// Checks that the chunks of an array lie inside the file of `file_size` bytes and inside the array,
/// that each fits into memory, and that the file can hold as many values as the array has: the library
/// allocates what its header and its index claim, and counts on from where chunks are said to begin.
///
/// # Errors
/// The problem and its remedy, without the file and the name of the array.
pub(crate) fn check_chunks(array: &Dataset, file_size: u64) -> std::result::Result<(), String> {
    let damaged = |error: Error| problem_or(&error, DAMAGED);
    let Some(shape) = array.chunk_shape().map_err(damaged)? else { return Ok(()) };
    // No element is larger than eight bytes.
    let bytes = shape.iter().try_fold(8_u64, |all, &side| all.checked_mul(side));
    if bytes.is_none_or(|bytes| bytes > MOST_BYTES as u64) {
        return Err(format!("its chunks of {shape:?} values do not fit into memory; {DAMAGED}"));
    }
    let sides = array.shape().map_err(damaged)?;
    // Values of chunks that the file lacks are made up when an array is read as a whole.
    let values = sides.iter().try_fold(1_u64, |all, &side| all.checked_mul(side));
    if values.is_none_or(|values| values > file_size.saturating_mul(DENSEST)) {
        return Err(format!(
            "its {sides:?} values are more than a file of {file_size} bytes can hold; {DAMAGED}"
        ));
    }
    for chunk in array.chunks().map_err(damaged)? {
        if chunk.offset.iter().zip(&sides).any(|(offset, side)| offset >= side) {
            return Err(format!(
                "a chunk begins at {:?}, outside of the array's {sides:?}; {DAMAGED}",
                chunk.offset
            ));
        }
        let end = chunk.address.checked_add(chunk.storage_size);
        if end.is_none_or(|end| end > file_size) {
            return Err(format!(
                "a chunk of {} bytes lies outside of the file's {file_size}; {DAMAGED}",
                chunk.storage_size
            ));
        }
    }
    Ok(())
}
