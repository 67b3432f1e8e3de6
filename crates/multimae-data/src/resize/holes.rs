//! Smooth resizing of planes with invalid pixels.

use std::ops::Range;

use fast_image_resize::FilterType;

use super::{CropBox, smooth};
use crate::Result;

/// A result is invalid where the valid pixels weigh less than this.
const LEAST_WEIGHT: f32 = 0.5;

/// Whether a crop has invalid pixels.
pub(super) fn any(plane: &[f32], from: (usize, usize), crop: CropBox) -> bool {
    rows(plane, from, crop).flatten().any(|value| value.is_nan())
}

/// Crops a plane with invalid pixels and resizes the crop, as the [module](super) says.
pub(super) fn resize(
    plane: &[f32],
    from: (usize, usize),
    crop: CropBox,
    to: (usize, usize),
    filter: FilterType,
) -> Result<Vec<f32>> {
    let size = (crop.height, crop.width);
    let whole = CropBox::whole(size);
    let cut: Vec<f32> = rows(plane, from, crop).flatten().copied().collect();
    let filled: Vec<f32> = cut.iter().map(|&x| if x.is_nan() { 0.0 } else { x }).collect();
    let valid: Vec<f32> = cut.iter().map(|&x| if x.is_nan() { 0.0 } else { 1.0 }).collect();
    let undisturbed = smooth(&filled, size, whole, to, filter)?;
    // Weights that are never negative keep the mean between the pixels that it is of.
    let sums = smooth(&filled, size, whole, to, FilterType::Bilinear)?;
    let weights = smooth(&valid, size, whole, to, FilterType::Bilinear)?;
    let clear = Clear::new(&cut, size, to, filter);
    let pixels = undisturbed.into_iter().zip(sums).zip(weights).enumerate();
    let value = |(index, ((undisturbed, sum), weight)): (usize, ((f32, f32), f32))| {
        if clear.at(index / to.1, index % to.1) {
            undisturbed
        } else if weight >= LEAST_WEIGHT {
            sum / weight
        } else {
            f32::NAN
        }
    };
    Ok(pixels.map(value).collect())
}

fn rows(plane: &[f32], from: (usize, usize), crop: CropBox) -> impl Iterator<Item = &[f32]> {
    let rows = plane.chunks_exact(from.1.max(1)).skip(crop.top).take(crop.height);
    rows.map(move |row| &row[crop.left..crop.left + crop.width])
}

/// The pixels of a result under whose filter every pixel is valid.
struct Clear {
    /// Invalid pixels above and to the left, `(H + 1, W + 1)`.
    sums: Vec<u32>,
    stride: usize,
    /// The pixels under the filter, by row and by column of the result.
    rows: Vec<Range<usize>>,
    columns: Vec<Range<usize>>,
}

impl Clear {
    fn new(
        cut: &[f32],
        (height, width): (usize, usize),
        to: (usize, usize),
        filter: FilterType,
    ) -> Self {
        let stride = width + 1;
        let mut sums = vec![0_u32; (height + 1) * stride];
        for (y, row) in cut.chunks_exact(width).enumerate() {
            let mut in_row = 0;
            for (x, value) in row.iter().enumerate() {
                in_row += u32::from(value.is_nan());
                sums[(y + 1) * stride + x + 1] = sums[y * stride + x + 1] + in_row;
            }
        }
        Self {
            sums,
            stride,
            rows: supports(height, to.0, filter),
            columns: supports(width, to.1, filter),
        }
    }

    fn at(&self, row: usize, column: usize) -> bool {
        let (rows, columns) = (&self.rows[row], &self.columns[column]);
        let sum = |y: usize, x: usize| self.sums[y * self.stride + x];
        sum(rows.end, columns.end) + sum(rows.start, columns.start)
            == sum(rows.start, columns.end) + sum(rows.end, columns.start)
    }
}

/// Along one side, the pixels under the filter of every pixel of the result.
fn supports(from: usize, to: usize, filter: FilterType) -> Vec<Range<usize>> {
    let step = from as f64 / to as f64;
    // A filter that reduces is wider by the factor of the reduction.
    let radius = step.max(1.0) * if filter == FilterType::Bilinear { 1.0 } else { 2.0 };
    let support = |index: usize| {
        let centre = (index as f64 + 0.5) * step;
        let first = (centre - radius).floor().max(0.0) as usize;
        first..((centre + radius).ceil() as usize).min(from)
    };
    (0..to).map(support).collect()
}

#[cfg(test)]
mod tests {
    use crate::Interpolation;
    use crate::resize::{CropBox, resize_plane};
    use proptest::prelude::*;

    /// A plane of `height` x `width` that is steep everywhere.
    fn steep(height: usize, width: usize) -> Vec<f32> {
        (0..height * width).map(|i| 1.0 + ((i * 37 + i / width * 11) % 100) as f32).collect()
    }

    proptest! {
        #[test]
        fn no_result_is_outside_the_valid_values_or_made_without_them(
            size in (1_usize..24, 1_usize..24),
            to in (1_usize..24, 1_usize..24),
            holes in proptest::collection::vec(any::<bool>(), 24 * 24),
            bicubic: bool,
        ) {
            let interpolation =
                if bicubic { Interpolation::Bicubic } else { Interpolation::Bilinear };
            let plain = steep(size.0, size.1);
            let mut holed = plain.clone();
            for (value, hole) in holed.iter_mut().zip(&holes) {
                if *hole {
                    *value = f32::NAN;
                }
            }
            let whole = CropBox::whole(size);
            let expected = resize_plane(&plain, size, whole, to, interpolation).unwrap();
            let resized = resize_plane(&holed, size, whole, to, interpolation).unwrap();
            let known: Vec<f32> = holed.iter().copied().filter(|x| !x.is_nan()).collect();
            let least = known.iter().copied().fold(f32::INFINITY, f32::min);
            let most = known.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for (value, undisturbed) in resized.iter().zip(&expected) {
                let mean_of_valid = (least - 1e-3..=most + 1e-3).contains(value);
                prop_assert!(value.is_nan() || mean_of_valid || value == undisturbed);
            }
            if known.is_empty() {
                prop_assert!(resized.iter().all(|value| value.is_nan()));
            }
            if known.len() == plain.len() {
                prop_assert_eq!(resized, expected);
            }
        }
    }

    #[test]
    fn a_hole_stays_where_it_is_and_changes_nothing_else() {
        let size = (32, 32);
        let mut holed = vec![2000.0_f32; 32 * 32];
        for y in 8..16 {
            holed[32 * y + 8..32 * y + 16].fill(f32::NAN);
        }
        for to in [(32, 32), (16, 16), (48, 48)] {
            let whole = CropBox::whole(size);
            let resized = resize_plane(&holed, size, whole, to, Interpolation::Bicubic).unwrap();
            let invalid = resized.iter().filter(|value| value.is_nan()).count();
            assert_eq!(invalid, to.0 * to.1 / 16, "{to:?}");
            assert!(resized.iter().all(|value| value.is_nan() || (value - 2000.0).abs() < 1e-2));
        }
        // Far from the hole, bit-identical to the result without it.
        let mut plain = steep(32, 32);
        let whole = CropBox::whole(size);
        let expected = resize_plane(&plain, size, whole, (20, 24), Interpolation::Bicubic).unwrap();
        plain[0] = f32::NAN;
        let resized = resize_plane(&plain, size, whole, (20, 24), Interpolation::Bicubic).unwrap();
        assert_eq!(resized[24 * 5..], expected[24 * 5..]);
        // Pixels outside the crop have no influence.
        let crop = CropBox { top: 1, left: 1, height: 31, width: 31 };
        let cropped = resize_plane(&plain, size, crop, (20, 24), Interpolation::Bicubic).unwrap();
        assert!(cropped.iter().all(|value| !value.is_nan()));
    }
}
