//! Dense 3x3 convolutions by Winograd F(4x4, 3x3) (Winograd, 1980; Lavin and Gray, 2016): a tile of
//! 4x4 output pixels takes 36 multiplications per pair of channels instead of 144.
//!
//! `y = A^T [ (G g G^T) * (B^T d B) ] A` for a tile of 6x6 input pixels `d`, a kernel `g` and the
//! elementwise product `*`, which summed over channels is a GEMM for each of the 36 points. The
//! weight's gradient is the same backwards: `dg = G^T [ (A dy A^T) * (B^T d B) ] G`, summed over
//! tiles.

mod kernels;
mod maps;
mod transforms;

use std::cell::RefCell;

use self::kernels::{kernel_gradients, transformed_kernels};
use self::maps::{collect_outputs, transform_gradients, transform_inputs};
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
        let mut buffers = Buffers::take();
        let pixels = Buffers::part(&mut buffers.pixels, POINTS * inputs * tiles);
        let products = Buffers::part(&mut buffers.products, POINTS * outputs * tiles);
        transform_inputs(tiling, strip, x, pixels);
        let points = products.chunks_mut(outputs * tiles).enumerate();
        parallel::for_each(POINTS * outputs * inputs * tiles, points, |(point, product)| {
            multiply_here(
                Precision::Fp32,
                (product, Shape::rows(outputs, tiles, tiles)),
                Into::Replace,
                of_point(point),
                (&pixels[point * tiles..], Shape::rows(inputs, tiles, POINTS * tiles)),
            );
        });
        collect_outputs(tiling, strip, products, y, how);
        buffers.keep();
    }
}

/// The gradient of the weight.
pub(super) fn weight_gradient(shape: ConvShape, dy: &[f32], x: &[f32]) -> Vec<f32> {
    let tiling = Tiling::new(shape);
    let ConvShape { inputs, outputs, .. } = shape;
    let mut kernels = vec![0.0; POINTS * outputs * inputs];
    for strip in tiling.strips() {
        let tiles = strip.tiles;
        let mut buffers = Buffers::take();
        let pixels = Buffers::part(&mut buffers.pixels, POINTS * inputs * tiles);
        let gradients = Buffers::part(&mut buffers.products, POINTS * outputs * tiles);
        transform_inputs(tiling, strip, x, pixels);
        transform_gradients(tiling, strip, dy, gradients);
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
        buffers.keep();
    }
    kernel_gradients(shape, &kernels)
}

/// The transformed values of a strip. Their memory is reused, since clearing it would take as long as a
/// transform; every value is written before it is read.
#[derive(Debug, Default)]
struct Buffers {
    pixels: Vec<f32>,
    products: Vec<f32>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

impl Buffers {
    /// Those of this thread, if no other convolution has them.
    fn take() -> Self {
        BUFFERS.take()
    }

    /// Leaves them to the next convolution.
    fn keep(self) {
        BUFFERS.set(self);
    }

    /// The first values of a buffer.
    fn part(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
        if buffer.len() < len {
            buffer.resize(len, 0.0);
        }
        &mut buffer[..len]
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
    fn rows_of_one_vector_and_of_several_agree() {
        for width in [59, 61, 64, 65, 130] {
            for error in worst(shape([2, 3, 2, 9, width])) {
                assert!(error < 4e-6, "{width} pixels: {error}");
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
