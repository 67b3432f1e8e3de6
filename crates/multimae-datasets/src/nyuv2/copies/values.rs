//! Conversion of the values of copies, with checks of every value.

use super::FULL_SIZE;
use crate::frame::DEPTH_PER_METRE;
use crate::nyuv2::frame::{MAX_DEPTH, millimetres};

/// The problem with a value; the caller adds the file.
type Checked<T> = Result<T, String>;

/// Converts a map of this width value by value; a problem names its pixel.
fn map<S: Copy, T>(
    values: &[S],
    width: usize,
    convert: impl Fn(S) -> Checked<T>,
) -> Checked<Vec<T>> {
    let at = |(index, &value)| {
        convert(value).map_err(|problem| {
            format!("row {}, column {}: {problem}", index / width, index % width)
        })
    };
    values.iter().enumerate().map(at).collect()
}

/// Depth in metres as the nearest whole millimetres; 0 stays unknown.
pub(super) fn metres(values: &[f32], width: usize) -> Checked<Vec<u16>> {
    map(values, width, millimetres)
}

/// Depth in whole millimetres; 0 stays unknown.
pub(super) fn whole_millimetres(values: &[f32], width: usize) -> Checked<Vec<u16>> {
    map(values, width, |value| {
        // Also false for NaN.
        if (0.0..=MAX_DEPTH * DEPTH_PER_METRE).contains(&value) {
            return Ok(value.round() as u16);
        }
        Err(format!(
            "depth {value}; depths are millimetres from 0 to {}, so this is damaged or in other \
             units",
            MAX_DEPTH * DEPTH_PER_METRE
        ))
    })
}

/// Depth in codes of 8 bits, of which 255 is 10 m, as whole millimetres; 0 stays unknown.
pub(super) fn codes_of_ten_metres(values: &[f32], width: usize) -> Checked<Vec<u16>> {
    let millimetres = MAX_DEPTH * DEPTH_PER_METRE;
    map(values, width, |code| Ok((code / 255.0 * millimetres).round() as u16))
}

/// Colours from 0 to 1 in 8 bits.
pub(super) fn unit_colors(values: &[f32], width: usize) -> Checked<Vec<u8>> {
    map(values, 3 * width, |value| {
        if (0.0..=1.0).contains(&value) {
            return Ok((value * 255.0).round() as u8);
        }
        Err(format!("colour {value} (of three per pixel); colours of this copy are from 0 to 1"))
    })
}

/// Colours in 8 bits that were read as numbers.
pub(super) fn byte_colors(values: &[f32], width: usize) -> Checked<Vec<u8>> {
    map(values, 3 * width, |value| {
        if (0.0..=255.0).contains(&value) && value.fract() == 0.0 {
            return Ok(value as u8);
        }
        Err(format!("colour {value}; colours of this copy are whole numbers from 0 to 255"))
    })
}

/// The 13 classes counted from 0 with -1 for void, as ids from 1 with 0 for void.
pub(super) fn thirteen_from_zero(values: &[f32], width: usize) -> Checked<Vec<u8>> {
    map(values, width, |value| {
        if (-1.0..=12.0).contains(&value) && value.fract() == 0.0 {
            return Ok((value + 1.0) as u8);
        }
        Err(format!("label {value}; labels of this copy are -1 for void and 0 to 12"))
    })
}

/// Planes `(3, H, W)` as pixels `(H, W, 3)`.
pub(super) fn interleaved<T: Copy>(planes: &[T]) -> Vec<T> {
    let (red, rest) = planes.split_at(planes.len() / 3);
    let (green, blue) = rest.split_at(rest.len() / 2);
    red.iter().zip(green).zip(blue).flat_map(|((&r, &g), &b)| [r, g, b]).collect()
}

/// Checks that a map has the size of the copy.
pub(super) fn check_full_size((height, width): (usize, usize)) -> Checked<()> {
    if (height, width) == FULL_SIZE {
        return Ok(());
    }
    let (rows, columns) = FULL_SIZE;
    Err(format!(
        "it has {width} x {height} pixels, and frames of this copy have {columns} x {rows}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_become_millimetres() {
        assert_eq!(metres(&[0.0, 0.7132, 10.0], 3).unwrap(), [0, 713, 10_000]);
        assert_eq!(whole_millimetres(&[0.0, 713.0, 10_000.0], 3).unwrap(), [0, 713, 10_000]);
        // A step is 39.2 mm.
        assert_eq!(codes_of_ten_metres(&[0.0, 1.0, 255.0], 3).unwrap(), [0, 39, 10_000]);
    }

    #[test]
    fn impossible_values_are_named_with_their_pixel() {
        for bad in [f32::NAN, f32::INFINITY, -0.5, 10.5] {
            let problem = metres(&[1.0, 1.0, 1.0, bad], 3).unwrap_err();
            assert!(problem.contains("row 1, column 0: depth"), "{problem}");
        }
        assert!(whole_millimetres(&[65_535.0], 1).unwrap_err().contains("depth 65535"));
        assert!(unit_colors(&[0.5, 0.5, 128.0], 1).unwrap_err().contains("from 0 to 1"));
        assert!(byte_colors(&[0.5], 1).unwrap_err().contains("colour 0.5"));
        for bad in [13.0, -2.0, 255.0, 0.5, f32::NAN] {
            assert!(thirteen_from_zero(&[bad], 1).unwrap_err().contains("label"));
        }
    }

    #[test]
    fn values_are_converted() {
        assert_eq!(unit_colors(&[0.0, 0.2, 1.0], 1).unwrap(), [0, 51, 255]);
        assert_eq!(byte_colors(&[0.0, 51.0, 255.0], 1).unwrap(), [0, 51, 255]);
        assert_eq!(thirteen_from_zero(&[-1.0, 0.0, 12.0], 3).unwrap(), [0, 1, 13]);
        assert_eq!(interleaved(&[1, 2, 3, 4, 5, 6]), [1, 3, 5, 2, 4, 6]);
    }
}
