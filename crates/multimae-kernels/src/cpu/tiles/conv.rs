//! Convolutions on tiles, of images rounded to bfloat16 once and never unfolded.
//!
//! Images are padded with zeros and their rows laid one behind the other, so that the pixels a tap of
//! the kernel meets are those of the output, all moved by the same distance: tiles are read from the
//! padded image itself, at another place for every tap. The columns of padding between two rows of the
//! output are computed as well and left out.

use rayon::prelude::*;

use super::super::conv::ConvShape;
use super::super::matrix::Shape;
use super::super::parallel;
use super::super::tile::Tile;
use super::kernel::Tiles;
use super::pack::{self, Form, How};
use super::{LINES, Line, Parts, SIDE, kernel, supported};

/// Panels of pixels that are multiplied before the next panel of the kernel.
const PANELS: usize = 4;

/// A padded image whose rows lie one behind the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Padded {
    shape: ConvShape,
    /// Pixels of a padded row.
    row: usize,
    /// Places of the output, in whole panels.
    places: usize,
    /// Places of the padded image that some tap meets.
    len: usize,
}

impl Padded {
    fn new(shape: ConvShape) -> Self {
        let row = shape.width + shape.kernel - 1;
        let places = (shape.height * row).next_multiple_of(SIDE);
        Self { shape, row, places, len: places + (shape.kernel - 1) * (row + 1) }
    }

    fn taps(self) -> usize {
        self.shape.kernel * self.shape.kernel
    }

    /// The offset of a tap's pixels.
    fn distance(self, tap: usize) -> usize {
        tap / self.shape.kernel * self.row + tap % self.shape.kernel
    }

    /// The place of a row of the image in the padded one.
    fn start(self, y: usize) -> usize {
        let half = self.shape.kernel / 2;
        (y + half) * self.row + half
    }

    /// The pixels before a place of the output.
    pub(super) fn pixels_before(self, place: usize) -> usize {
        place / self.row * self.shape.width + (place % self.row).min(self.shape.width)
    }

    /// Whether there is a pixel at a place of the output.
    pub(super) fn is_pixel(self, place: usize) -> bool {
        place / self.row < self.shape.height && place % self.row < self.shape.width
    }
}

/// A length of rows, at least `len`, whose beginnings are spread over the sets of the cache.
fn spread_over_cache(len: usize, of_line: usize) -> usize {
    let lines = len.div_ceil(of_line);
    (lines + (1 - lines % 2)) * of_line
}

/// The kernels as left operands.
#[derive(Debug)]
pub(crate) struct Kernels {
    /// `(panels of outputs, taps, blocks of inputs)` blocks of lines.
    lines: Vec<Line>,
    /// Channels of the output and the input, and the side.
    size: (usize, usize, usize),
}

impl Kernels {
    /// Packs a weight `(outputs, inputs, kernel, kernel)`, by all threads.
    ///
    /// # Panics
    /// If the processor is not [`supported`], or the slice does not have its shape.
    pub(crate) fn new(shape: ConvShape, weight: &[f32]) -> Self {
        assert!(supported(), "a processor without tiles of bfloat16");
        let lines = packed_kernels(Padded::new(shape), weight);
        Self { lines, size: (shape.outputs, shape.inputs, shape.kernel) }
    }

    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice())
    }
}

/// The convolution, in one value of bfloat16 per operand.
///
/// # Panics
/// If the kernels are of another shape. The slice of the input is to have been checked.
pub(crate) fn forward(
    shape: ConvShape,
    x: &[f32],
    kernels: &Kernels,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let ConvShape { batch, inputs, outputs, kernel, height, width } = shape;
    assert!(
        kernels.size == (outputs, inputs, kernel),
        "kernels of {:?} in {shape:?}",
        kernels.size
    );
    let (padded, area) = (Padded::new(shape), height * width);
    let kernels = &kernels.lines;
    let blocks = inputs.div_ceil(SIDE);
    let pitch = spread_over_cache(padded.len, 16);
    let offsets: Vec<usize> = (0..padded.taps())
        .flat_map(|tap| {
            let of_block = move |block| (block * 16 * pitch + padded.distance(tap)) * 4;
            (0..blocks).map(of_block)
        })
        .collect();
    let mut y: Vec<f32> = Vec::with_capacity(batch * outputs * area);
    let place = Place(y.as_mut_ptr());
    // The padding stays what it is from one image to the next.
    let mut pairs = vec![0; blocks * 16 * pitch];
    for index in 0..batch {
        interleave(padded, &x[index * inputs * area..][..inputs * area], pitch, &mut pairs);
        let image = Image { padded, pairs: &pairs, pitch, offsets: &offsets };
        let groups: Vec<usize> = (0..padded.places / SIDE).step_by(PANELS).collect();
        groups.into_par_iter().for_each(|first| {
            let tiles = Tiles::new();
            let last = (first + PANELS).min(padded.places / SIDE);
            for (panel, kernels) in kernels.chunks_exact(offsets.len() * LINES).enumerate() {
                let output = panel * SIDE;
                let count = SIDE.min(outputs - output);
                let bias = bias.map(|bias| &bias[output..][..count]);
                let rows = kernel::Rows { count, stride: area, bias };
                for pixels in first..last {
                    // SAFETY: the memory has room for all channels of all images; nothing else
                    // writes these pixels of these channels.
                    #[allow(unsafe_code)]
                    unsafe {
                        let to = place.at((index * outputs + output) * area);
                        image.write_pixels(&tiles, to, rows, kernels, pixels * SIDE);
                    }
                }
            }
        });
    }
    // SAFETY: every pixel is at some place of the output, and every channel in some panel, so that all
    // were written.
    #[allow(unsafe_code)]
    unsafe {
        y.set_len(batch * outputs * area);
    }
    y
}

/// One image as the right operand.
#[derive(Debug, Clone, Copy)]
struct Image<'a> {
    padded: Padded,
    /// As [`interleave`] leaves it.
    pairs: &'a [u32],
    /// Words of a row of pairs.
    pitch: usize,
    /// The places of the tiles of every tap and block of channels, in bytes from the first place.
    offsets: &'a [usize],
}

impl Image<'_> {
    /// Some channels of the pixels among 32 places.
    ///
    /// # Safety
    /// The image's pixels of these rows' channels must lie behind `to`, and nothing else may refer
    /// to them.
    #[allow(unsafe_code)]
    unsafe fn write_pixels(
        self,
        tiles: &Tiles,
        to: *mut f32,
        rows: kernel::Rows<'_>,
        kernels: &[Line],
        place: usize,
    ) {
        let Self { padded, pairs, pitch, offsets } = self;
        let moved = kernel::Moved { right: &pairs[place..], offsets, pitch };
        // SAFETY: offsets reach over the rows of all pairs, each of `pitch` words, and in a row as far as
        // the last tap, which a padded image holds beyond the last place (`Padded::new`); the caller
        // promises the pixels.
        unsafe { kernel::multiply_moved(tiles, to, rows, kernels, moved, (padded, place)) };
    }
}

/// The destination of threads, each with its own pixels.
#[derive(Clone, Copy)]
struct Place(*mut f32);

impl Place {
    /// # Safety
    /// There must be more than `offset` elements.
    #[allow(unsafe_code)]
    unsafe fn at(self, offset: usize) -> *mut f32 {
        // SAFETY: as the caller promises.
        unsafe { self.0.add(offset) }
    }
}

// SAFETY: threads write to different pixels (`forward`).
#[allow(unsafe_code)]
unsafe impl Send for Place {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Place {}

/// The lines of [`Kernels`].
fn packed_kernels(padded: Padded, weight: &[f32]) -> Vec<Line> {
    let ConvShape { inputs, outputs, .. } = padded.shape;
    let (taps, blocks) = (padded.taps(), inputs.div_ceil(SIDE));
    let of_tap = blocks * LINES;
    let mut lines = vec![Line([0; 16]); outputs.div_ceil(SIDE) * taps * of_tap];
    lines.par_chunks_mut(taps * of_tap).enumerate().for_each(|(panel, lines)| {
        for (tap, lines) in lines.chunks_exact_mut(of_tap).enumerate() {
            let shape = Shape {
                rows: outputs,
                columns: inputs,
                row_stride: inputs * taps,
                column_stride: taps,
            };
            let first = (panel * SIDE, 0);
            pack::pack(
                (&weight[tap..], shape),
                first,
                How::new(Parts::One, Form::Left),
                (lines, blocks),
            );
        }
    });
    lines
}

/// Writes the padded image, a word of two channels per place, `(blocks of inputs, 16, pitch)`, over
/// zeros or another image.
fn interleave(padded: Padded, x: &[f32], pitch: usize, pairs: &mut [u32]) {
    let ConvShape { height, width, .. } = padded.shape;
    let area = height * width;
    let rows = pairs.chunks_exact_mut(pitch).zip(x.chunks(2 * area));
    parallel::for_each(x.len(), rows, |(to, planes)| {
        // The last of an odd number of channels is beside zeros.
        let (first, second) = planes.split_at(area);
        let zeros = vec![0.0; if second.is_empty() { area } else { 0 }];
        let second = if second.is_empty() { &zeros } else { second };
        for (y, rows) in first.chunks_exact(width).zip(second.chunks_exact(width)).enumerate() {
            pack::interleave(rows, &mut to[padded.start(y)..][..width]);
        }
    });
}

/// The gradient of the weight, in one value of bfloat16 per operand.
///
/// # Panics
/// If the processor is not [`supported`]. Slices are to have been checked.
pub(crate) fn weight_gradient(shape: ConvShape, dy: &[f32], x: &[f32]) -> Vec<f32> {
    assert!(supported(), "a processor without tiles of bfloat16");
    let ConvShape { batch, inputs, outputs, height, width, .. } = shape;
    let (padded, area) = (Padded::new(shape), height * width);
    let taps = padded.taps();
    let pitch = spread_over_cache(padded.len, 32);
    // `(inputs, taps, outputs)`.
    let mut gradients = vec![0.0; inputs * taps * outputs];
    let mut planes = vec![0; inputs.next_multiple_of(SIDE) * pitch];
    for image in 0..batch {
        round(padded, &x[image * inputs * area..][..inputs * area], pitch, &mut planes);
        let right = packed_gradients(padded, &dy[image * outputs * area..][..outputs * area]);
        gradients.par_chunks_mut(SIDE * taps * outputs).enumerate().for_each(|(panel, to)| {
            let tiles = Tiles::new();
            let channels = to.len() / (taps * outputs);
            let planes = &planes[panel * SIDE * pitch..];
            for (column, right) in right.chunks_exact(padded.places / SIDE * LINES).enumerate() {
                for tap in 0..taps {
                    let first = column * SIDE;
                    let tile = Tile {
                        rows: channels,
                        columns: SIDE.min(outputs - first),
                        stride: taps * outputs,
                        add: image > 0,
                        scale: 1.0,
                    };
                    let place = &mut to[tap * outputs + first..];
                    let left = kernel::Sliding { planes: &planes[padded.distance(tap)..], pitch };
                    // SAFETY: rows of the tile are the panel's channels, columns its outputs, which
                    // lie in `place`; planes are there for all channels of the panel, and as long as
                    // the last tap takes.
                    #[allow(unsafe_code)]
                    unsafe {
                        kernel::multiply_sliding(&tiles, place.as_mut_ptr(), tile, left, right);
                    }
                }
            }
        });
    }
    in_order_of_weights(padded, &gradients)
}

/// Writes the padded image in bfloat16, `(inputs in whole panels, pitch)`, over zeros or another image.
fn round(padded: Padded, x: &[f32], pitch: usize, planes: &mut [u16]) {
    let ConvShape { height, width, .. } = padded.shape;
    let all = planes.chunks_exact_mut(pitch).zip(x.chunks_exact(height * width));
    parallel::for_each(x.len(), all, |(to, plane)| {
        for (y, row) in plane.chunks_exact(width).enumerate() {
            pack::round(row, &mut to[padded.start(y)..][..width]);
        }
    });
}

/// The output's gradients as right operands, whose inner axis are the places of the output.
fn packed_gradients(padded: Padded, dy: &[f32]) -> Vec<Line> {
    let ConvShape { outputs, height, width, .. } = padded.shape;
    let Padded { row, places, .. } = padded;
    let of_panel = places / SIDE * LINES;
    let mut lines = vec![Line([0; 16]); outputs.div_ceil(SIDE) * of_panel];
    lines.par_chunks_mut(of_panel).enumerate().for_each(|(panel, lines)| {
        let first = panel * SIDE;
        let count = SIDE.min(outputs - first);
        let mut spread = vec![0.0; count * places];
        let planes = dy[first * height * width..].chunks_exact(height * width);
        for (to, plane) in spread.chunks_exact_mut(places).zip(planes) {
            for (to, from) in to.chunks_mut(row).zip(plane.chunks_exact(width)) {
                to[..width].copy_from_slice(from);
            }
        }
        let matrix = (spread.as_slice(), Shape::rows(count, places, places));
        pack::pack(matrix, (0, 0), How::new(Parts::One, Form::Right), (lines, places / SIDE));
    });
    lines
}

/// `(inputs, taps, outputs)` to `(outputs, inputs, taps)`.
fn in_order_of_weights(padded: Padded, gradients: &[f32]) -> Vec<f32> {
    let ConvShape { inputs, outputs, .. } = padded.shape;
    let of_output = inputs * padded.taps();
    parallel::produce_evenly(gradients.len(), of_output, |first, to| {
        let output = first / of_output;
        for (to, from) in to.iter_mut().zip(gradients[output..].iter().step_by(outputs)) {
            *to = *from;
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::testing::{assert_close, values};
    use super::super::permission::skip;
    use super::*;

    fn nearest(values: &[f32]) -> Vec<f64> {
        values.iter().map(|&value| f64::from(pack::nearest(value))).collect()
    }

    /// `visit(output index, input index, weight index)` of every product.
    fn products(shape: ConvShape, mut visit: impl FnMut(usize, usize, usize)) {
        let ConvShape { batch, inputs, outputs, kernel, height, width } = shape;
        for (image, output, input) in (0..batch * outputs * inputs)
            .map(|at| (at / (outputs * inputs), at / inputs % outputs, at % inputs))
        {
            for (y, x, ky, kx) in (0..height * width * kernel * kernel).map(|at| {
                let (pixel, tap) = (at / (kernel * kernel), at % (kernel * kernel));
                (pixel / width, pixel % width, tap / kernel, tap % kernel)
            }) {
                let from = ((y + ky).checked_sub(kernel / 2), (x + kx).checked_sub(kernel / 2));
                let (Some(row), Some(column)) = from else { continue };
                if row < height && column < width {
                    visit(
                        ((image * outputs + output) * height + y) * width + x,
                        ((image * inputs + input) * height + row) * width + column,
                        ((output * inputs + input) * kernel + ky) * kernel + kx,
                    );
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn agrees_with_rounded_factors(batch in 1usize..3, inputs in 1usize..40,
                                       outputs in 1usize..40, half in 0usize..3,
                                       height in 1usize..9, width in 1usize..21,
                                       biased: bool, seed in 0u64..9) {
            if skip() {
                return Ok(());
            }
            let shape =
                ConvShape { batch, inputs, outputs, kernel: 2 * half + 1, height, width };
            let x = values(seed, batch * inputs * height * width);
            let weight = values(seed + 1, outputs * inputs * shape.kernel * shape.kernel);
            let bias = values(seed + 2, outputs);
            let bias = biased.then_some(bias.as_slice());
            let (of_x, of_weight) = (nearest(&x), nearest(&weight));
            let mut y: Vec<f64> = (0..batch * outputs * height * width)
                .map(|at| bias.map_or(0.0, |bias| bias[at / (height * width) % outputs].into()))
                .collect();
            products(shape, |to, from, weight| y[to] += of_x[from] * of_weight[weight]);
            let y: Vec<f32> = y.into_iter().map(|y| y as f32).collect();
            assert_close(&forward(shape, &x, &Kernels::new(shape, &weight), bias), &y, 1e-5);

            let dy = values(seed + 3, y.len());
            let of_dy = nearest(&dy);
            let mut dw = vec![0.0; weight.len()];
            products(shape, |to, from, weight| dw[weight] += of_dy[to] * of_x[from]);
            let dw: Vec<f32> = dw.into_iter().map(|dw| dw as f32).collect();
            assert_close(&weight_gradient(shape, &dy, &x), &dw, 1e-5);
        }
    }
}
