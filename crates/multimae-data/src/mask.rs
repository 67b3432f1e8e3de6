//! The convention of masks, for every reader of them.

/// The value of masks for "valid".
const VALID: i64 = 255;

/// Returns the value that stands for "valid" in a mask of these values: 255, or 1 where none is
/// above it, as in masks of one bit. Values above 255 are padding.
#[must_use]
pub fn valid_label(values: impl IntoIterator<Item = i64>) -> i64 {
    let one_bit = values.into_iter().filter(|&value| value <= VALID).all(|value| value <= 1);
    if one_bit { 1 } else { VALID }
}
