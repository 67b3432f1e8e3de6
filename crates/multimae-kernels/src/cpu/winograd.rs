//! Dense 3x3 convolutions by Winograd F(4x4, 3x3) (Winograd, 1980; Lavin and Gray, 2016): a tile of
//! 4x4 output pixels takes 36 multiplications per pair of channels instead of 144.
//!
//! `y = A^T [ (G g G^T) * (B^T d B) ] A` for a tile of 6x6 input pixels `d`, a kernel `g` and the
//! elementwise product `*`, which summed over channels is a GEMM for each of the 36 points. The
//! weight's gradient is the same backwards: `dg = G^T [ (A dy A^T) * (B^T d B) ] G`, summed over
//! tiles.

use multiversion::multiversion;

use super::conv::ConvShape;
use super::matrix::{Into, Matrix, Shape, multiply_here};
use super::parallel;
use crate::precision::Precision;

/// Side of a tile of output pixels.
const TILE: usize = 4;
/// Side of the tile of input pixels that it hangs on.
const SIDE: usize = 6;
/// Products per tile and pair of channels.
const POINTS: usize = SIDE * SIDE;
/// Taps of a kernel.
const TAPS: usize = 9;
/// Channels whose kernels are transformed together.
const LANES: usize = 16;

/// Values that are transformed at a time: they should stay near the processor. Small in tests, so that
/// small images have several strips.
const STRIP: usize = if cfg!(test) { 1 << 12 } else { 1 << 21 };

/// Tiles from which on this is faster than unfolding, if the channels are as many as these.
const WORTH_TILES: usize = if cfg!(test) { 2 } else { 24 };
const WORTH_CHANNELS: usize = if cfg!(test) { 2 } else { 16 };

/// The tiles of all images, in rows one after the other.
#[derive(Debug, Clone, Copy)]
struct Tiling {
    shape: ConvShape,
    /// Rows of tiles of an image.
    rows: usize,
    /// Tiles of a row.
    columns: usize,
}

/// Consecutive rows of tiles, perhaps of several images.
#[derive(Debug, Clone, Copy)]
struct Strip {
    first: usize,
    rows: usize,
    tiles: usize,
}

impl Tiling {
    fn new(shape: ConvShape) -> Self {
        Self { shape, rows: shape.height.div_ceil(TILE), columns: shape.width.div_ceil(TILE) }
    }

    fn strips(self) -> impl Iterator<Item = Strip> {
        let all = self.shape.batch * self.rows;
        let row = POINTS * (self.shape.inputs + self.shape.outputs) * self.columns;
        let rows = (STRIP / row.max(1)).clamp(1, all.max(1));
        (0..all).step_by(rows).map(move |first| {
            let rows = rows.min(all - first);
            Strip { first, rows, tiles: rows * self.columns }
        })
    }

    /// The image and the row of tiles in it.
    fn place(self, row: usize) -> (usize, usize) {
        (row / self.rows, row % self.rows)
    }
}

/// Whether a convolution is computed this way.
pub(super) fn worth_it(shape: ConvShape) -> bool {
    let tiling = Tiling::new(shape);
    shape.kernel == 3
        && shape.inputs.min(shape.outputs) >= WORTH_CHANNELS
        && shape.batch * tiling.rows * tiling.columns >= WORTH_TILES
}

/// The transformed kernels of a convolution.
#[derive(Debug)]
pub(crate) struct Kernels {
    /// Those of a point one behind the other: `(36, outputs, inputs)`.
    values: Vec<f32>,
    inputs: usize,
    outputs: usize,
}

impl Kernels {
    /// Transforms a weight.
    ///
    /// # Shapes
    /// `weight (outputs, inputs, 3, 3)`.
    ///
    /// # Panics
    /// If the slice does not have its shape.
    pub(crate) fn new(shape: ConvShape, weight: &[f32]) -> Self {
        let ConvShape { inputs, outputs, .. } = shape;
        assert!(weight.len() == outputs * inputs * TAPS, "kernels of another size");
        let by_output = transformed_kernels(shape, weight);
        let runs = (0..POINTS * outputs).map(|run| (inputs, run));
        let copy = |run: usize, to: &mut [f32]| {
            let (point, output) = (run / outputs, run % outputs);
            to.copy_from_slice(&by_output[(output * POINTS + point) * inputs..][..inputs]);
        };
        let values = parallel::produce(POINTS * outputs * inputs, runs, copy).0;
        Self { values, inputs, outputs }
    }

    /// Bytes of all.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.values.as_slice())
    }
}

/// The convolution into `y`, which holds the bias or is to be replaced.
pub(super) fn forward(shape: ConvShape, x: &[f32], weight: &[f32], y: &mut [f32], how: Into) {
    let inputs = shape.inputs;
    let kernels = transformed_kernels(shape, weight);
    let of_point = |point: usize| {
        (&kernels[point * inputs..], Shape::rows(shape.outputs, inputs, POINTS * inputs))
    };
    filter(shape, x, of_point, y, how);
}

/// [`forward`] by kernels that were transformed before.
///
/// # Panics
/// If they are of other sizes.
pub(super) fn forward_by(shape: ConvShape, x: &[f32], kernels: &Kernels, y: &mut [f32], how: Into) {
    let Kernels { values, inputs, outputs } = kernels;
    assert!((*inputs, *outputs) == (shape.inputs, shape.outputs), "other kernels for {shape:?}");
    let of_point = |point: usize| {
        (&values[point * outputs * inputs..], Shape::rows(*outputs, *inputs, *inputs))
    };
    filter(shape, x, of_point, y, how);
}

/// The convolution by the kernels `(outputs, inputs)` of every point.
fn filter<'a>(
    shape: ConvShape,
    x: &[f32],
    of_point: impl Fn(usize) -> Matrix<'a> + Sync + Send,
    y: &mut [f32],
    how: Into,
) {
    let tiling = Tiling::new(shape);
    let ConvShape { inputs, outputs, .. } = shape;
    for strip in tiling.strips() {
        let tiles = strip.tiles;
        let pixels = transform_inputs(tiling, strip, x);
        let points = (0..POINTS).map(|point| (outputs * tiles, point));
        let work = |point: usize, product: &mut [f32]| {
            multiply_here(
                Precision::Fp32,
                (product, Shape::rows(outputs, tiles, tiles)),
                Into::Replace,
                of_point(point),
                (&pixels[point * tiles..], Shape::rows(inputs, tiles, POINTS * tiles)),
            );
        };
        let (products, _) = parallel::produce(POINTS * outputs * inputs * tiles, points, work);
        collect_outputs(tiling, strip, &products, y, how);
    }
}

/// The gradient of the weight.
pub(super) fn weight_gradient(shape: ConvShape, dy: &[f32], x: &[f32]) -> Vec<f32> {
    let tiling = Tiling::new(shape);
    let ConvShape { inputs, outputs, .. } = shape;
    let mut kernels = vec![0.0; POINTS * outputs * inputs];
    for strip in tiling.strips() {
        let tiles = strip.tiles;
        let pixels = transform_inputs(tiling, strip, x);
        let gradients = spread_gradients(tiling, strip, dy);
        let points = kernels.chunks_mut(outputs * inputs).enumerate();
        parallel::for_each(POINTS * outputs * inputs * tiles, points, |(point, kernel)| {
            multiply_here(
                Precision::Fp32,
                (kernel, Shape::rows(outputs, inputs, inputs)),
                Into::Add,
                (&gradients[point * tiles..], Shape::rows(outputs, tiles, POINTS * tiles)),
                (&pixels[point * tiles..], Shape::rows(inputs, tiles, POINTS * tiles).transposed()),
            );
        });
    }
    kernel_gradients(shape, &kernels)
}

/// `G g G^T` of every kernel.
///
/// # Shapes
/// `weight (outputs, inputs, 3, 3)` to `(outputs, 36, inputs)`.
fn transformed_kernels(shape: ConvShape, weight: &[f32]) -> Vec<f32> {
    let ConvShape { inputs, outputs, .. } = shape;
    let mut transformed = vec![0.0; POINTS * outputs * inputs];
    let of_outputs = transformed.chunks_mut(POINTS * inputs).zip(weight.chunks(TAPS * inputs));
    parallel::for_each(POINTS * outputs * inputs, of_outputs, |(to, weight)| {
        transform_kernels(weight, to, inputs);
    });
    transformed
}

#[multiversion(targets = "simd")]
fn transform_kernels(weight: &[f32], to: &mut [f32], inputs: usize) {
    for (chunk, weight) in weight.chunks(TAPS * LANES).enumerate() {
        let lanes = weight.len() / TAPS;
        let mut taps = [[0.0f32; LANES]; TAPS];
        for (lane, kernel) in weight.chunks_exact(TAPS).enumerate() {
            for (tap, value) in kernel.iter().enumerate() {
                taps[tap][lane] = *value;
            }
        }
        let mut points = [[0.0f32; LANES]; POINTS];
        for lane in 0..LANES {
            let mut rows = [[0.0; 3]; SIDE];
            for column in 0..3 {
                let spread = spread_taps(std::array::from_fn(|row| taps[3 * row + column][lane]));
                for row in 0..SIDE {
                    rows[row][column] = spread[row];
                }
            }
            for row in 0..SIDE {
                let spread = spread_taps(rows[row]);
                for column in 0..SIDE {
                    points[SIDE * row + column][lane] = spread[column];
                }
            }
        }
        for (point, values) in points.iter().enumerate() {
            to[point * inputs + chunk * LANES..][..lanes].copy_from_slice(&values[..lanes]);
        }
    }
}

/// The transforms interpolate at 0, 1/q, -1/q, q, -q and infinity with q = sqrt 2. That the points
/// are each other's inverses keeps the factors small and leaves a fourth of the rounding errors of
/// the usual 1, -1, 2, -2 (Barabasz et al., 2020, study the choice).
const ROOT: f32 = std::f32::consts::SQRT_2;
const INVERSE: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// `G g`.
#[inline(always)]
fn spread_taps([a, b, c]: [f32; 3]) -> [f32; SIDE] {
    let (near, far) = (a.mul_add(-2.0 / 3.0, c * (-1.0 / 3.0)), a.mul_add(1.0 / 6.0, c / 3.0));
    let (slope, steep) = (b * (-2.0 / 3.0 * INVERSE), b * (ROOT / 6.0));
    [a, near + slope, near - slope, far + steep, far - steep, c]
}

/// `G^T g`.
#[inline(always)]
fn gather_taps([a, b, c, d, e, f]: [f32; SIDE]) -> [f32; 3] {
    let (near, far) = (b + c, d + e);
    [
        near.mul_add(-2.0 / 3.0, far.mul_add(1.0 / 6.0, a)),
        (b - c).mul_add(-2.0 / 3.0 * INVERSE, (d - e) * (ROOT / 6.0)),
        (far - near).mul_add(1.0 / 3.0, f),
    ]
}

/// `B^T d`.
#[inline(always)]
fn spread_pixels([a, b, c, d, e, f]: [f32; SIDE]) -> [f32; SIDE] {
    let (near, far) = (c.mul_add(-2.0, e), c.mul_add(-0.5, e));
    let (slope, steep) = (INVERSE * b.mul_add(-2.0, d), ROOT * b.mul_add(-0.5, d));
    [
        c.mul_add(-2.5, a + e),
        near + slope,
        near - slope,
        far + steep,
        far - steep,
        d.mul_add(-2.5, b + f),
    ]
}

/// `A^T m`.
#[inline(always)]
fn gather_pixels([a, b, c, d, e, f]: [f32; SIDE]) -> [f32; TILE] {
    let (near, far) = (b + c, d + e);
    let (slope, steep) = (INVERSE * (b - c), ROOT * (d - e));
    [
        a + near + far,
        slope + steep,
        near.mul_add(0.5, 2.0 * far),
        slope.mul_add(0.5, steep.mul_add(2.0, f)),
    ]
}

/// `A dy`.
#[inline(always)]
fn spread_outputs([a, b, c, d]: [f32; TILE]) -> [f32; SIDE] {
    let (near, far) = (c.mul_add(0.5, a), c.mul_add(2.0, a));
    let (slope, steep) = (INVERSE * d.mul_add(0.5, b), ROOT * d.mul_add(2.0, b));
    [a, near + slope, near - slope, far + steep, far - steep, d]
}

/// `B^T d B` of every tile of a strip.
///
/// # Shapes
/// `x (batch, inputs, height, width)` to `(inputs, 36, tiles)`.
fn transform_inputs(tiling: Tiling, strip: Strip, x: &[f32]) -> Vec<f32> {
    let ConvShape { inputs, height, width, .. } = tiling.shape;
    let area = height * width;
    let channels = (0..inputs).map(|channel| (POINTS * strip.tiles, channel));
    let work = |channel: usize, to: &mut [f32]| {
        // A row of pixels with a zero on its left and zeros up to whole tiles on its right.
        let padded = TILE * tiling.columns + SIDE - TILE;
        let mut scratch = vec![0.0; SIDE * padded + SIDE * tiling.columns];
        for row in 0..strip.rows {
            let (image, tile_row) = tiling.place(strip.first + row);
            let plane = &x[(image * inputs + channel) * area..][..area];
            let (rows, phases) = scratch.split_at_mut(SIDE * padded);
            for (at, padded_row) in rows.chunks_exact_mut(padded).enumerate() {
                let source = (TILE * tile_row + at).checked_sub(1).filter(|&y| y < height);
                match source {
                    Some(y) => padded_row[1..=width].copy_from_slice(&plane[y * width..][..width]),
                    None => padded_row.fill(0.0),
                }
            }
            spread_tile_row(rows, phases, &mut to[row * tiling.columns..], strip.tiles);
        }
    };
    parallel::produce(inputs * POINTS * strip.tiles, channels, work).0
}

/// The transform of a row of tiles from its six rows of pixels.
#[multiversion(targets = "simd")]
fn spread_tile_row(rows: &mut [f32], phases: &mut [f32], to: &mut [f32], stride: usize) {
    let (padded, columns) = (rows.len() / SIDE, phases.len() / SIDE);
    let (a, rest) = rows.split_at_mut(padded);
    let (b, rest) = rest.split_at_mut(padded);
    let (c, rest) = rest.split_at_mut(padded);
    let (d, rest) = rest.split_at_mut(padded);
    let (e, f) = rest.split_at_mut(padded);
    for x in 0..padded {
        let spread = spread_pixels([a[x], b[x], c[x], d[x], e[x], f[x]]);
        [a[x], b[x], c[x], d[x], e[x], f[x]] = spread;
    }
    for (y, row) in rows.chunks_exact(padded).enumerate() {
        for (at, phase) in phases.chunks_exact_mut(columns).enumerate() {
            for (value, pixel) in phase.iter_mut().zip(row[at..].iter().step_by(TILE)) {
                *value = *pixel;
            }
        }
        let phase = |at: usize| &phases[at * columns..][..columns];
        let all: [&[f32]; SIDE] = std::array::from_fn(phase);
        write_spread(all, spread_pixels, &mut to[SIDE * y * stride..], stride);
    }
}

/// Applies a transform across six rows, into six rows `stride` apart.
#[inline(always)]
fn write_spread(
    from: [&[f32]; SIDE],
    transform: impl Fn([f32; SIDE]) -> [f32; SIDE],
    to: &mut [f32],
    stride: usize,
) {
    let columns = from[0].len();
    let (a, rest) = to.split_at_mut(stride);
    let (b, rest) = rest.split_at_mut(stride);
    let (c, rest) = rest.split_at_mut(stride);
    let (d, rest) = rest.split_at_mut(stride);
    let (e, f) = rest.split_at_mut(stride);
    let (a, b, c) = (&mut a[..columns], &mut b[..columns], &mut c[..columns]);
    let (d, e, f) = (&mut d[..columns], &mut e[..columns], &mut f[..columns]);
    let from = from.map(|row| &row[..columns]);
    for x in 0..columns {
        [a[x], b[x], c[x], d[x], e[x], f[x]] = transform(from.map(|row| row[x]));
    }
}

/// `A^T m A` of every tile of a strip, to its place in `y`.
///
/// # Shapes
/// `products (36, outputs, tiles)`, `y (batch, outputs, height, width)`.
fn collect_outputs(tiling: Tiling, strip: Strip, products: &[f32], y: &mut [f32], how: Into) {
    let ConvShape { outputs, height, width, .. } = tiling.shape;
    let (first, _) = tiling.place(strip.first);
    let (last, _) = tiling.place(strip.first + strip.rows - 1);
    let planes = &mut y[first * outputs * height * width..(last + 1) * outputs * height * width];
    let planes = planes.chunks_mut(height * width).enumerate();
    parallel::for_each(products.len(), planes, |(at, plane)| {
        let (image, channel) = (first + at / outputs, at % outputs);
        let mut scratch = vec![0.0; TILE * SIDE * tiling.columns + TILE * TILE * tiling.columns];
        for row in 0..strip.rows {
            let (of_image, tile_row) = tiling.place(strip.first + row);
            if of_image != image {
                continue;
            }
            let from = &products[channel * strip.tiles + row * tiling.columns..];
            gather_tile_row(from, outputs * strip.tiles, tiling.columns, &mut scratch);
            let lines = &scratch[TILE * SIDE * tiling.columns..];
            let rows = plane.chunks_exact_mut(width).skip(TILE * tile_row);
            for (to, line) in rows.zip(lines.chunks_exact(TILE * tiling.columns)) {
                match how {
                    Into::Replace => to.copy_from_slice(&line[..width]),
                    Into::Add => to.iter_mut().zip(line).for_each(|(to, value)| *to += value),
                }
            }
        }
    });
}

/// The pixels of a row of tiles: the last `4 * 4 * columns` values of the scratch, a line each.
#[multiversion(targets = "simd")]
fn gather_tile_row(from: &[f32], stride: usize, columns: usize, scratch: &mut [f32]) {
    let (halves, lines) = scratch.split_at_mut(TILE * SIDE * columns);
    // Down the columns of the tiles: half [line][point], a row of tiles each.
    for point in 0..SIDE {
        let row = |at: usize| &from[(SIDE * at + point) * stride..][..columns];
        let rows: [&[f32]; SIDE] = std::array::from_fn(row);
        for x in 0..columns {
            let pixels = gather_pixels(rows.map(|row| row[x]));
            for (line, value) in pixels.into_iter().enumerate() {
                halves[(line * SIDE + point) * columns + x] = value;
            }
        }
    }
    for (half, line) in
        halves.chunks_exact(SIDE * columns).zip(lines.chunks_exact_mut(TILE * columns))
    {
        let row = |at: usize| &half[at * columns..][..columns];
        let rows: [&[f32]; SIDE] = std::array::from_fn(row);
        for (x, pixels) in line.chunks_exact_mut(TILE).enumerate() {
            pixels.copy_from_slice(&gather_pixels(rows.map(|row| row[x])));
        }
    }
}

/// `A dy A^T` of every tile of a strip.
///
/// # Shapes
/// `dy (batch, outputs, height, width)` to `(outputs, 36, tiles)`.
fn spread_gradients(tiling: Tiling, strip: Strip, dy: &[f32]) -> Vec<f32> {
    let ConvShape { outputs, height, width, .. } = tiling.shape;
    let area = height * width;
    let channels = (0..outputs).map(|channel| (POINTS * strip.tiles, channel));
    let work = |channel: usize, to: &mut [f32]| {
        let padded = TILE * tiling.columns;
        let mut rows = vec![0.0; TILE * padded];
        let mut spread = vec![0.0; SIDE * padded];
        for row in 0..strip.rows {
            let (image, tile_row) = tiling.place(strip.first + row);
            let plane = &dy[(image * outputs + channel) * area..][..area];
            for (at, padded_row) in rows.chunks_exact_mut(padded).enumerate() {
                match Some(TILE * tile_row + at).filter(|&y| y < height) {
                    Some(y) => padded_row[..width].copy_from_slice(&plane[y * width..][..width]),
                    None => padded_row.fill(0.0),
                }
            }
            spread_gradient_row(&rows, &mut spread, &mut to[row * tiling.columns..], strip.tiles);
        }
    };
    parallel::produce(outputs * POINTS * strip.tiles, channels, work).0
}

/// The transform of a row of tiles from its four rows of gradients.
#[multiversion(targets = "simd")]
fn spread_gradient_row(rows: &[f32], spread: &mut [f32], to: &mut [f32], stride: usize) {
    let padded = rows.len() / TILE;
    let columns = padded / TILE;
    let row = |at: usize| &rows[at * padded..][..padded];
    let lines: [&[f32]; TILE] = std::array::from_fn(row);
    for x in 0..padded {
        let points = spread_outputs(lines.map(|line| line[x]));
        for (point, value) in points.into_iter().enumerate() {
            spread[point * padded + x] = value;
        }
    }
    for (y, line) in spread.chunks_exact(padded).enumerate() {
        for (x, pixels) in line.as_chunks::<TILE>().0.iter().take(columns).enumerate() {
            for (point, value) in spread_outputs(*pixels).into_iter().enumerate() {
                to[(SIDE * y + point) * stride + x] = value;
            }
        }
    }
}

/// `G^T k G` of every kernel.
///
/// # Shapes
/// `kernels (36, outputs, inputs)` to `(outputs, inputs, 3, 3)`.
fn kernel_gradients(shape: ConvShape, kernels: &[f32]) -> Vec<f32> {
    let ConvShape { inputs, outputs, .. } = shape;
    let mut gradient = vec![0.0; outputs * inputs * TAPS];
    let of_outputs = gradient.chunks_mut(inputs * TAPS).enumerate();
    parallel::for_each(kernels.len(), of_outputs, |(output, gradient)| {
        gather_kernels(&kernels[output * inputs..], outputs * inputs, gradient);
    });
    gradient
}

#[multiversion(targets = "simd")]
fn gather_kernels(from: &[f32], stride: usize, gradient: &mut [f32]) {
    for (chunk, gradient) in gradient.chunks_mut(TAPS * LANES).enumerate() {
        let lanes = gradient.len() / TAPS;
        let mut points = [[0.0f32; LANES]; POINTS];
        for (point, values) in points.iter_mut().enumerate() {
            let from = &from[point * stride + chunk * LANES..][..lanes];
            values[..lanes].copy_from_slice(from);
        }
        let mut taps = [[0.0f32; LANES]; TAPS];
        for lane in 0..LANES {
            let mut rows = [[0.0; SIDE]; 3];
            for column in 0..SIDE {
                let values = std::array::from_fn(|row| points[SIDE * row + column][lane]);
                let gathered = gather_taps(values);
                for row in 0..3 {
                    rows[row][column] = gathered[row];
                }
            }
            for row in 0..3 {
                let gathered = gather_taps(rows[row]);
                for column in 0..3 {
                    taps[3 * row + column][lane] = gathered[column];
                }
            }
        }
        for (lane, kernel) in gradient.chunks_exact_mut(TAPS).enumerate() {
            for (tap, value) in kernel.iter_mut().enumerate() {
                *value = taps[tap][lane];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_close, values};
    use super::*;

    /// Calls `term` with the places in output, input and kernel of every product of a convolution.
    fn products(shape: ConvShape, mut term: impl FnMut(usize, usize, usize)) {
        let ConvShape { batch, inputs, outputs, height, width, .. } = shape;
        for (image, output) in (0..batch * outputs).map(|at| (at / outputs, at % outputs)) {
            for (input, tap) in (0..inputs * TAPS).map(|at| (at / TAPS, at % TAPS)) {
                for (y, x) in (0..height * width).map(|at| (at / width, at % width)) {
                    let (row, column) = (y + tap / 3, x + tap % 3);
                    if (1..=height).contains(&row) && (1..=width).contains(&column) {
                        let pixel = ((image * inputs + input) * height + row - 1) * width + column;
                        term(
                            ((image * outputs + output) * height + y) * width + x,
                            pixel - 1,
                            (output * inputs + input) * TAPS + tap,
                        );
                    }
                }
            }
        }
    }

    fn shape([batch, inputs, outputs, height, width]: [usize; 5]) -> ConvShape {
        ConvShape { batch, inputs, outputs, kernel: 3, height, width }
    }

    /// The largest difference of this way's output and weight gradient from the definition's in 64
    /// bits, over the size of the values.
    fn worst(shape: ConvShape) -> [f64; 2] {
        let ConvShape { batch, inputs, outputs, height, width, .. } = shape;
        let x = values(1, batch * inputs * height * width);
        let weight = values(2, outputs * inputs * TAPS);
        let dy = values(3, batch * outputs * height * width);
        let (mut y_64, mut dw_64) = (vec![0.0f64; dy.len()], vec![0.0f64; weight.len()]);
        products(shape, |to, from, tap| {
            y_64[to] += f64::from(x[from]) * f64::from(weight[tap]);
            dw_64[tap] += f64::from(x[from]) * f64::from(dy[to]);
        });
        let mut y = vec![f32::NAN; dy.len()];
        forward(shape, &x, &weight, &mut y, Into::Replace);
        let dw = weight_gradient(shape, &dy, &x);
        [(y, y_64), (dw, dw_64)].map(|(ours, exact)| {
            let largest = exact.iter().fold(0.0f64, |most, value| most.max(value.abs()));
            let differences = ours.iter().zip(&exact).map(|(a, b)| (f64::from(*a) - b).abs());
            differences.fold(0.0, f64::max) / largest.max(1e-3)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_the_definition(
            sizes in (1usize..4, 1usize..6, 1usize..20, 1usize..14, 1usize..19)
        ) {
            let (batch, inputs, outputs, height, width) = sizes;
            for error in worst(shape([batch, inputs, outputs, height, width])) {
                prop_assert!(error < 4e-6, "{error}");
            }
        }
    }

    #[test]
    fn many_channels_keep_their_digits() {
        for error in worst(shape([2, 96, 40, 15, 21])) {
            assert!(error < 4e-6, "{error}");
        }
    }

    #[test]
    fn a_bias_that_is_there_stays() {
        let shape = shape([1, 3, 2, 6, 5]);
        let (x, weight) = (values(1, 90), values(2, 54));
        let mut alone = vec![0.0; 60];
        forward(shape, &x, &weight, &mut alone, Into::Replace);
        let mut added = vec![0.5; 60];
        forward(shape, &x, &weight, &mut added, Into::Add);
        let expected: Vec<f32> = alone.iter().map(|value| value + 0.5).collect();
        assert_close(&added, &expected, 1e-6);
    }

    #[test]
    fn bits_do_not_depend_on_the_threads() {
        let shape = shape([3, 8, 16, 20, 30]);
        let x = values(1, 3 * 8 * 600);
        let weight = values(2, 16 * 8 * TAPS);
        let dy = values(3, 3 * 16 * 600);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut y = vec![0.0; dy.len()];
                forward(shape, &x, &weight, &mut y, Into::Replace);
                (y, weight_gradient(shape, &dy, &x))
            })
        };
        assert!(run(1) == run(3));
    }
}
