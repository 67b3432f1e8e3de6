//! Images that are quantised for convolutions.

use multiversion::multiversion;
use rayon::prelude::*;

use super::super::conv::ConvShape;
use super::super::parallel;
use super::kernel::STEP;
use super::quantize::{Scale, ZERO, magnitude};

/// Side of the squares in which channels and pixels are transposed.
const SIDE: usize = 16;

type Square = [[u8; SIDE]; SIDE];

/// Quantised images, padded with zeros by half a kernel on every side.
#[derive(Debug)]
pub(super) struct Images {
    shape: ConvShape,
    /// `(batch, height + kernel - 1, width + kernel - 1, inputs)`, and some values that the last run
    /// may reach over the end.
    values: Vec<u8>,
    /// `(batch)`.
    scales: Vec<f32>,
}

impl Images {
    /// Quantises `x (batch, inputs, height, width)`, none of which is 0.
    pub(super) fn quantize(shape: ConvShape, x: &[f32], threads: usize) -> Self {
        let ConvShape { batch, inputs, kernel, height, width, .. } = shape;
        let of_plane = height * width;
        let planes = x.chunks(of_plane);
        let magnitudes = if threads > 1 {
            parallel::map(x.len(), planes, magnitude)
        } else {
            planes.map(magnitude).collect()
        };
        let of_images = magnitudes.chunks(inputs);
        let scales: Vec<Scale> = of_images
            .map(|of_planes| Scale::of(of_planes.iter().copied().max().unwrap_or(0)))
            .collect();
        let (row, rows) = ((width + kernel - 1) * inputs, height + kernel - 1);
        let mut values = vec![0; batch * rows * row + STEP];
        let work = |(index, to): (usize, &mut [u8])| {
            let (image, y) = (index / rows, (index % rows).wrapping_sub(kernel / 2));
            if y >= height {
                return to.fill(ZERO);
            }
            let x = &x[image * inputs * of_plane + y * width..];
            let border = kernel / 2 * inputs;
            to[..border].fill(ZERO);
            to[row - border..].fill(ZERO);
            turn_row(&mut to[border..row - border], x, shape, scales[image]);
        };
        let places = values[..batch * rows * row].chunks_mut(row).enumerate();
        if threads > 1 && parallel::worth_sharing(x.len()) {
            places.collect::<Vec<_>>().into_par_iter().for_each(work);
        } else {
            places.for_each(work);
        }
        Self { shape, values, scales: scales.iter().map(|scale| scale.scale).collect() }
    }

    /// Returns the distances of a convolution kernel's rows, each of which reads a run.
    pub(super) fn runs(&self) -> Vec<usize> {
        let ConvShape { inputs, kernel, width, .. } = self.shape;
        (0..kernel).map(|row| row * (width + kernel - 1) * inputs).collect()
    }

    /// Returns the inputs of output pixel `index` of all images, from the first on, and their scale.
    pub(super) fn pixel(&self, index: usize) -> (&[u8], f32) {
        let ConvShape { inputs, kernel, height, width, .. } = self.shape;
        let (image, pixel) = (index / (height * width), index % (height * width));
        let row = image * (height + kernel - 1) + pixel / width;
        let at = (row * (width + kernel - 1) + pixel % width) * inputs;
        (&self.values[at..], self.scales[image])
    }
}

/// Quantises a row of an image, whose channels become neighbours.
#[multiversion(targets = "simd")]
fn turn_row(to: &mut [u8], x: &[f32], shape: ConvShape, scale: Scale) {
    let ConvShape { inputs, height, width, .. } = shape;
    for channel in (0..inputs).step_by(SIDE) {
        let channels = SIDE.min(inputs - channel);
        for column in (0..width).step_by(SIDE) {
            // The last square is whole too if it can: some pixels are written twice.
            let column = column.min(width.saturating_sub(SIDE));
            let columns = SIDE.min(width - column);
            let mut square = [[0; SIDE]; SIDE];
            for (at, values) in square.iter_mut().enumerate().take(channels) {
                let x = &x[(channel + at) * height * width + column..][..columns];
                match x.as_array::<SIDE>() {
                    Some(x) => *values = x.map(|x| scale.input(x)),
                    None => values.iter_mut().zip(x).for_each(|(to, &x)| *to = scale.input(x)),
                }
            }
            let turned = turn(&square);
            for (at, values) in turned.iter().enumerate().take(columns) {
                let to = &mut to[(column + at) * inputs + channel..][..channels];
                match to.as_mut_array::<SIDE>() {
                    Some(to) => *to = *values,
                    None => to.copy_from_slice(&values[..channels]),
                }
            }
        }
    }
}

/// Swaps rows and columns.
#[cfg(not(target_arch = "x86_64"))]
fn turn(square: &Square) -> Square {
    std::array::from_fn(|row| std::array::from_fn(|column| square[column][row]))
}

/// Swaps rows and columns: four times, the rows of both halves are interleaved.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn turn(square: &Square) -> Square {
    use std::arch::x86_64::{
        _mm_loadu_si128, _mm_setzero_si128, _mm_storeu_si128, _mm_unpackhi_epi8, _mm_unpacklo_epi8,
    };
    let mut turned = [[0; SIDE]; SIDE];
    // SAFETY: all processors of this architecture have SSE2, and a row has the bytes of a vector.
    #[allow(unsafe_code)]
    unsafe {
        let mut rows = [_mm_setzero_si128(); SIDE];
        for (row, from) in rows.iter_mut().zip(square) {
            *row = _mm_loadu_si128(from.as_ptr().cast());
        }
        for _ in 0..SIDE.ilog2() {
            let mut shuffled = rows;
            for at in 0..SIDE / 2 {
                shuffled[2 * at] = _mm_unpacklo_epi8(rows[at], rows[at + SIDE / 2]);
                shuffled[2 * at + 1] = _mm_unpackhi_epi8(rows[at], rows[at + SIDE / 2]);
            }
            rows = shuffled;
        }
        for (to, row) in turned.iter_mut().zip(rows) {
            _mm_storeu_si128(to.as_mut_ptr().cast(), row);
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use std::array::from_fn;

    use super::super::super::testing::values;
    use super::*;

    #[test]
    fn squares_are_turned() {
        let square: Square = from_fn(|row| from_fn(|column| (16 * row + column) as u8));
        assert_eq!(turn(&square), from_fn(|row| from_fn(|column| square[column][row])));
    }

    #[test]
    fn every_value_is_in_its_place() {
        for (batch, inputs, kernel, height, width) in
            [(2, 3, 3, 4, 5), (1, 16, 1, 3, 16), (3, 35, 5, 2, 33), (1, 1, 7, 1, 1)]
        {
            let shape = ConvShape { batch, inputs, outputs: 1, kernel, height, width };
            let x = values(3, batch * inputs * height * width);
            let images = Images::quantize(shape, &x, 2);
            let half = kernel / 2;
            for (image, of_image) in x.chunks(inputs * height * width).enumerate() {
                let scale = Scale::of(magnitude(of_image));
                assert_eq!(images.scales[image], scale.scale);
                for row in 0..height + 2 * half {
                    for column in 0..width + 2 * half {
                        for channel in 0..inputs {
                            let (y, x) = (row.wrapping_sub(half), column.wrapping_sub(half));
                            let expected = if y < height && x < width {
                                scale.input(of_image[(channel * height + y) * width + x])
                            } else {
                                ZERO
                            };
                            let at = (image * (height + 2 * half) + row) * (width + 2 * half);
                            let got = images.values[(at + column) * inputs + channel];
                            assert_eq!(got, expected, "{shape:?} {row} {column} {channel}");
                        }
                    }
                }
            }
        }
    }
}
