//! Depthwise convolutions of stride 1 whose borders are padded with zeros so that the size stays: every
//! channel by its own kernel.
//!
//! Planes are padded to whole vectors, so that no row has a rest that is computed value by value. The
//! sums of several rows stay in registers at a time: one row's are too few to keep the units busy.

use multiversion::multiversion;

use super::conv::ConvShape;
use super::lanes::fold;
use super::parallel;

/// Rows whose sums are computed at a time.
const ROWS: usize = 4;
/// Columns, likewise: two vectors of the widest registers.
const COLUMNS: usize = 32;
/// Lanes of a sum over pixels.
const LANES: usize = 16;

/// A depthwise convolution; `inputs` equals `outputs`.
///
/// # Shapes
/// `x (batch, channels, height, width)`, `weight (channels, 1, kernel, kernel)`,
/// `bias (channels)`.
///
/// # Panics
/// If a slice does not have its shape.
#[must_use]
pub fn forward(shape: ConvShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let (area, square) = (shape.area(), shape.kernel * shape.kernel);
    assert!(
        shape.inputs == shape.outputs
            && x.len() == shape.batch * shape.inputs * area
            && weight.len() == shape.inputs * square,
        "a depthwise convolution of {shape:?} over slices of another size"
    );
    let planes = x.chunks(area.max(1)).enumerate().map(|plane| (plane.1.len(), plane));
    let work = |(plane, x): (usize, &[f32]), y: &mut [f32]| {
        let channel = plane % shape.inputs;
        let bias = bias.map_or(0.0, |bias| bias[channel]);
        filter(&Padded::new(shape, x), y, &weight[channel * square..][..square], bias);
    };
    parallel::produce(x.len() * square, planes, work).0
}

/// The gradient of the input.
///
/// # Panics
/// If a slice does not have its shape.
#[must_use]
pub fn input_gradient(shape: ConvShape, dy: &[f32], weight: &[f32]) -> Vec<f32> {
    let square = shape.kernel * shape.kernel;
    let mirrored: Vec<f32> =
        weight.chunks(square).flat_map(|kernel| kernel.iter().rev().copied()).collect();
    forward(shape, dy, &mirrored, None)
}

/// The gradient of the weight.
///
/// # Panics
/// If a slice does not have its shape.
#[must_use]
pub fn weight_gradient(shape: ConvShape, dy: &[f32], x: &[f32]) -> Vec<f32> {
    let (area, square) = (shape.area(), shape.kernel * shape.kernel);
    assert!(
        x.len() == dy.len() && x.len() == shape.batch * shape.inputs * area,
        "a depthwise convolution of {shape:?} over slices of another size"
    );
    let mut gradient = vec![0.0; shape.inputs * square];
    let channels = gradient.chunks_mut(square).enumerate();
    parallel::for_each(x.len() * square, channels, |(channel, gradient)| {
        let mut sums = vec![[0.0; LANES]; square];
        for image in 0..shape.batch {
            let plane = (image * shape.inputs + channel) * area;
            let (dy, x) = (&dy[plane..][..area], &x[plane..][..area]);
            add_products(&Padded::new(shape, x), dy, &mut sums);
        }
        for (gradient, sums) in gradient.iter_mut().zip(sums) {
            *gradient = fold(sums, |a, b| a + b);
        }
    });
    gradient
}

/// A plane with `kernel / 2` zeros on every side, and more on the right and below, so that rows and
/// columns that are computed at a time are there.
struct Padded {
    values: Vec<f32>,
    /// From one row to the next.
    stride: usize,
    side: usize,
    width: usize,
}

impl Padded {
    fn new(shape: ConvShape, plane: &[f32]) -> Self {
        let ConvShape { kernel: side, height, width, .. } = shape;
        let half = side / 2;
        let stride = width.next_multiple_of(COLUMNS) + 2 * half;
        let mut values = vec![0.0; (height.next_multiple_of(ROWS) + 2 * half) * stride];
        for (y, row) in plane.chunks(width.max(1)).enumerate() {
            values[(y + half) * stride + half..][..row.len()].copy_from_slice(row);
        }
        Self { values, stride, side, width }
    }
}

/// `bias` and the products of the kernel of every pixel.
#[multiversion(targets = "simd")]
fn filter(padded: &Padded, y: &mut [f32], kernel: &[f32], bias: f32) {
    let &Padded { ref values, stride, side, width } = padded;
    for (block, y) in y.chunks_mut(ROWS * width.max(1)).enumerate() {
        let rows = &values[block * ROWS * stride..][..(ROWS + side - 1) * stride];
        for column in (0..width).step_by(COLUMNS) {
            let (mut first, mut second) = ([bias; COLUMNS], [bias; COLUMNS]);
            let (mut third, mut fourth) = ([bias; COLUMNS], [bias; COLUMNS]);
            for (ky, weights) in kernel.chunks_exact(side).enumerate() {
                for (kx, &weight) in weights.iter().enumerate() {
                    let at = ky * stride + column + kx;
                    add_product(&mut first, &rows[at..], weight);
                    add_product(&mut second, &rows[at + stride..], weight);
                    add_product(&mut third, &rows[at + 2 * stride..], weight);
                    add_product(&mut fourth, &rows[at + 3 * stride..], weight);
                }
            }
            let count = COLUMNS.min(width - column);
            let sums = [&first, &second, &third, &fourth];
            for (y, sums) in y.chunks_exact_mut(width).zip(sums) {
                y[column..][..count].copy_from_slice(&sums[..count]);
            }
        }
    }
}

/// Adds the products of a row's columns and a value of the kernel.
#[inline(always)]
fn add_product(sums: &mut [f32; COLUMNS], source: &[f32], weight: f32) {
    if let Some((source, _)) = source.split_first_chunk::<COLUMNS>() {
        for lane in 0..COLUMNS {
            sums[lane] = source[lane].mul_add(weight, sums[lane]);
        }
    }
}

/// Adds to every value of the kernel, in lanes, the products of a plane's pixels and their gradients.
#[multiversion(targets = "simd")]
fn add_products(padded: &Padded, dy: &[f32], sums: &mut [[f32; LANES]]) {
    let &Padded { ref values, stride, side, width } = padded;
    let mut whole = vec![0.0; width.next_multiple_of(LANES)];
    for (row, dy) in dy.chunks_exact(width.max(1)).enumerate() {
        whole[..width].copy_from_slice(dy);
        for (ky, sums) in sums.chunks_exact_mut(side).enumerate() {
            let source = &values[(row + ky) * stride..][..stride];
            for (kx, sum) in sums.iter_mut().enumerate() {
                let mut total = *sum;
                let source = source[kx..].chunks_exact(LANES);
                for (dy, source) in whole.chunks_exact(LANES).zip(source) {
                    for lane in 0..LANES {
                        total[lane] = dy[lane].mul_add(source[lane], total[lane]);
                    }
                }
                *sum = total;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, values};
    use super::*;

    /// The definition.
    fn plain(shape: ConvShape, x: &[f32], weight: &[f32]) -> Vec<f32> {
        let ConvShape { inputs, kernel, height, width, .. } = shape;
        let half = kernel / 2;
        let pixel = |plane: usize, row: usize, column: usize| {
            let inside =
                (half..height + half).contains(&row) && (half..width + half).contains(&column);
            if inside { x[(plane * height + row - half) * width + column - half] } else { 0.0 }
        };
        let of_pixel = |at: usize| -> f32 {
            let (plane, row, column) = (at / (height * width), at / width % height, at % width);
            let products = (0..kernel * kernel).map(|tap| {
                let weight = weight[plane % inputs * kernel * kernel + tap];
                weight * pixel(plane, row + tap / kernel, column + tap % kernel)
            });
            products.sum()
        };
        (0..x.len()).map(of_pixel).collect()
    }

    #[test]
    fn agrees_with_the_definition_and_its_gradients_with_the_differences() {
        let sizes = [(1, 1, 1, 1, 1), (2, 3, 3, 5, 7), (1, 2, 7, 2, 3), (3, 5, 5, 8, 17)];
        let more = [(0, 2, 3, 4, 4), (1, 2, 7, 13, 70), (2, 3, 3, 4, 32), (1, 1, 9, 3, 33)];
        for (batch, inputs, kernel, height, width) in sizes.into_iter().chain(more) {
            let shape = ConvShape { batch, inputs, outputs: inputs, kernel, height, width };
            let x = values(1, batch * inputs * height * width);
            let weight = values(2, inputs * kernel * kernel);
            let y = forward(shape, &x, &weight, None);
            assert_close(&y, &plain(shape, &x, &weight), 1e-5);
            let bias = values(5, inputs);
            let biased = forward(shape, &x, &weight, Some(&bias));
            for (plane, (y, biased)) in
                y.chunks(height * width).zip(biased.chunks(height * width)).enumerate()
            {
                let expected: Vec<f32> = y.iter().map(|y| y + bias[plane % inputs]).collect();
                assert_close(biased, &expected, 1e-5);
            }
            // A linear function of its input and of its weight: its value is the product of either with
            // its gradient.
            let dy = values(4, y.len());
            let inner = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let by_x = inner(&x, &input_gradient(shape, &dy, &weight));
            let by_weight = inner(&weight, &weight_gradient(shape, &dy, &x));
            assert_close(&[by_x, by_weight], &[inner(&y, &dy); 2], 1e-4);
        }
    }
}
