//! Convolutions of stride 1 whose borders are padded with zeros so that the size stays.
//!
//! A dense convolution is a GEMM with the unfolded image (im2col; Chellapilla et al., 2006), or,
//! for 3x3 kernels, Winograd F(4x4, 3x3) (`winograd`); the gradient of its input is the convolution
//! of the output's gradient with the mirrored kernel.

use multiversion::multiversion;

use super::lanes::sum;
use super::matrix::{Into, Matrix, Shape, multiply, transposed};
use super::{int8, parallel, tiles, winograd};
use crate::int8::conv_is_worth;
use crate::precision::Precision;

/// Values of an unfolded part of an image: they should stay near the processor until they are
/// multiplied. Small in tests, so that small images have several parts.
const UNFOLDED: usize = if cfg!(test) { 1 << 8 } else { 1 << 20 };

/// Channels from which on the processor's tiles are filled well enough.
const WORTH_TILES: usize = 8;

/// Sizes of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Images.
    pub batch: usize,
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Side of the kernel, odd.
    pub kernel: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
}

impl ConvShape {
    pub(super) fn area(self) -> usize {
        self.height * self.width
    }

    /// Length of an unfolded column: the input values that an output value hangs on.
    fn column(self) -> usize {
        self.inputs * self.kernel * self.kernel
    }

    /// Whether an image is its own unfolded form.
    fn is_pointwise(self) -> bool {
        self.kernel == 1
    }

    /// Strips of rows that are unfolded one after the other: the first row and the number of rows.
    fn strips(self) -> impl Iterator<Item = (usize, usize)> {
        let row = (self.column() * self.width).max(1);
        let whole = self.height.max(1);
        let rows = if self.is_pointwise() { whole } else { (UNFOLDED / row).clamp(1, whole) };
        (0..self.height).step_by(rows).map(move |first| (first, rows.min(self.height - first)))
    }

    /// Values of the largest unfolded strip.
    fn unfolded(self) -> usize {
        let of_strip = |(_, rows)| self.column() * rows * self.width;
        if self.is_pointwise() { 0 } else { self.strips().next().map_or(0, of_strip) }
    }

    /// The convolution that takes the output's gradient to the input's.
    fn mirrored(self) -> Self {
        Self { inputs: self.outputs, outputs: self.inputs, ..self }
    }

    fn work(self) -> usize {
        self.batch * self.outputs * self.column() * self.area()
    }

    /// Images of a part of the batch; does not depend on the threads, since the order of sums over
    /// parts hangs on it.
    fn images_at_once(self) -> usize {
        self.batch.div_ceil(8).max(1)
    }

    fn check(self, x: &[f32], weight: &[f32]) {
        self.check_images(x);
        self.check_weight(weight);
    }

    fn check_images(self, x: &[f32]) {
        let values = self.batch * self.inputs * self.area();
        assert!(x.len() == values, "a convolution of {self:?} over {} values", x.len());
    }

    fn check_weight(self, weight: &[f32]) {
        assert!(self.kernel % 2 == 1, "a kernel of even side {}", self.kernel);
        let values = self.outputs * self.column();
        assert!(weight.len() == values, "a convolution of {self:?} by {} values", weight.len());
    }
}

/// The dense convolution.
///
/// # Shapes
/// `x (batch, inputs, height, width)`, `weight (outputs, inputs, kernel, kernel)`,
/// `bias (outputs)` to `(batch, outputs, height, width)`.
///
/// # Panics
/// If a slice does not have its shape or the kernel's side is even.
#[must_use]
pub fn forward(
    precision: Precision,
    shape: ConvShape,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Vec<f32> {
    shape.check(x, weight);
    forward_by(precision, shape, x, Weight::Plain(weight), bias)
}

/// The weight of a convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Weight<'a> {
    /// `(outputs, inputs, kernel, kernel)`.
    Plain(&'a [f32]),
    /// Prepared before.
    Prepared(&'a Prepared),
}

/// The way in which a weight is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Transformed for Winograd.
    Transformed,
    /// For the processor's tiles.
    Tiles,
    /// In whole numbers of 8 bits.
    Int8,
}

impl Form {
    /// That of convolutions of these sizes, if they are computed of prepared weights.
    pub(crate) fn of(precision: Precision, shape: ConvShape) -> Option<Self> {
        if rounds_whole(precision, shape) {
            return Some(Self::Int8);
        }
        if rounds_images(precision, shape) {
            return Some(Self::Tiles);
        }
        filters_minimally(precision, shape).then_some(Self::Transformed)
    }
}

/// A prepared weight.
#[derive(Debug)]
pub(crate) enum Prepared {
    Transformed(winograd::Kernels),
    OfTiles(tiles::conv::Kernels),
    Int8(int8::Weights),
}

impl Prepared {
    /// # Panics
    /// If the slice does not have its shape.
    pub(crate) fn new(form: Form, shape: ConvShape, weight: &[f32]) -> Self {
        match form {
            Form::Transformed => Self::Transformed(winograd::Kernels::new(shape, weight)),
            Form::Tiles => {
                shape.check_weight(weight);
                Self::OfTiles(tiles::conv::Kernels::new(shape, weight))
            }
            Form::Int8 => Self::Int8(int8::Weights::conv(shape, weight)),
        }
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Transformed(kernels) => kernels.bytes(),
            Self::OfTiles(kernels) => kernels.bytes(),
            Self::Int8(weights) => weights.bytes(),
        }
    }
}

/// Whether a convolution multiplies in whole numbers of 8 bits.
fn rounds_whole(precision: Precision, shape: ConvShape) -> bool {
    precision == Precision::Int8
        && int8::usable()
        && conv_is_worth(shape.outputs, shape.inputs, shape.kernel)
}

/// [`forward`] by a weight in either form.
///
/// # Panics
/// As [`forward`].
pub(crate) fn forward_by(
    precision: Precision,
    shape: ConvShape,
    x: &[f32],
    weight: Weight<'_>,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let (area, column) = (shape.area(), shape.column());
    let of_image = shape.outputs * area;
    // Products are added to the bias, where there is one.
    let how = if bias.is_some() { Into::Add } else { Into::Replace };
    let first = |at: usize| bias.map_or(0.0, |bias| bias[at % shape.outputs]);
    let weight = match weight {
        Weight::Plain(weight) => weight,
        Weight::Prepared(Prepared::Int8(weights)) => return int8::conv(shape, x, weights, bias),
        Weight::Prepared(Prepared::OfTiles(kernels)) => {
            shape.check_images(x);
            return tiles::conv::forward(shape, x, kernels, bias);
        }
        Weight::Prepared(Prepared::Transformed(kernels)) => {
            shape.check_images(x);
            let mut y = parallel::runs(shape.batch * shape.outputs, area, first);
            winograd::forward_by(shape, x, kernels, &mut y, how);
            return y;
        }
    };
    shape.check(x, weight);
    if rounds_whole(precision, shape) {
        return int8::conv(shape, x, &int8::Weights::conv(shape, weight), bias);
    }
    if rounds_images(precision, shape) {
        return tiles::conv::forward(shape, x, &tiles::conv::Kernels::new(shape, weight), bias);
    }
    let mut y = parallel::runs(shape.batch * shape.outputs, area, first);
    if y.is_empty() {
        return y;
    }
    if filters_minimally(precision, shape) {
        winograd::forward(shape, x, weight, &mut y, how);
        return y;
    }
    let weight = (weight, Shape::rows(shape.outputs, column, column));
    let at_once = shape.images_at_once();
    let parts = y.chunks_mut(at_once * of_image).enumerate();
    parallel::for_each(shape.work(), parts, |(part, y)| {
        let x = &x[part * at_once * shape.inputs * area..];
        let mut unfolded = vec![0.0; shape.unfolded()];
        for (image, y) in y.chunks_mut(of_image).enumerate() {
            let x = &x[image * shape.inputs * area..][..shape.inputs * area];
            for strip in shape.strips() {
                let columns = unfold(shape, x, strip, &mut unfolded);
                let pixels = Shape::rows(shape.outputs, columns.1.columns, area);
                let y = &mut y[strip.0 * shape.width..];
                multiply(precision, (y, pixels), how, 1.0, weight, columns);
            }
        }
    });
    y
}

/// Whether images are rounded to bfloat16 and read as they are by the processor's tiles.
fn rounds_images(precision: Precision, shape: ConvShape) -> bool {
    let work = shape.inputs.min(shape.outputs) >= WORTH_TILES && !shape.is_pointwise();
    precision == Precision::Bf16 && tiles::usable() && work && shape.batch * shape.area() > 0
}

/// Whether Winograd is faster; in bfloat16 its transforms would lose too many digits.
fn filters_minimally(precision: Precision, shape: ConvShape) -> bool {
    matches!(precision, Precision::Fp32 | Precision::Int8) && winograd::worth_it(shape)
}

/// The values that the output pixels of a strip hang on, a column per pixel:
/// `(inputs * kernel^2, pixels)`.
fn unfold<'a>(
    shape: ConvShape,
    x: &'a [f32],
    (first, rows): (usize, usize),
    unfolded: &'a mut [f32],
) -> Matrix<'a> {
    let ConvShape { kernel, width, .. } = shape;
    let pixels = rows * width;
    if shape.is_pointwise() {
        return (x, Shape::rows(shape.inputs, pixels, pixels));
    }
    let of_plane = (kernel * kernel * pixels).max(1);
    let planes = x.chunks(shape.area()).zip(unfolded.chunks_mut(of_plane));
    // One image at a time has nothing else to share among the threads.
    parallel::for_each(shape.column() * pixels, planes, |(plane, unfolded)| {
        for (at, to) in unfolded.chunks_mut(pixels).enumerate() {
            let (ky, kx) = (at / kernel, at % kernel);
            shift(shape, plane, to, (first + ky, kx));
        }
    });
    (unfolded, Shape::rows(shape.column(), pixels, pixels))
}

/// Rows of the plane from `down - kernel / 2` on, moved left by `kx - kernel / 2` columns, zeros
/// moving in.
fn shift(shape: ConvShape, plane: &[f32], to: &mut [f32], (down, kx): (usize, usize)) {
    let ConvShape { kernel, height, width, .. } = shape;
    let half = kernel / 2;
    let from = kx.saturating_sub(half).min(width);
    let left = half.saturating_sub(kx).min(width);
    let count = width - from.max(left);
    for (y, row) in to.chunks_mut(width).enumerate() {
        match (y + down).checked_sub(half).filter(|&source| source < height) {
            Some(source) => {
                row[..left].fill(0.0);
                row[left..left + count].copy_from_slice(&plane[source * width + from..][..count]);
                row[left + count..].fill(0.0);
            }
            None => row.fill(0.0),
        }
    }
}

/// The gradient of the input.
///
/// # Panics
/// If a slice does not have its shape.
#[must_use]
pub fn input_gradient(
    precision: Precision,
    shape: ConvShape,
    dy: &[f32],
    weight: &[f32],
) -> Vec<f32> {
    let square = shape.kernel * shape.kernel;
    assert!(weight.len() == shape.outputs * shape.column(), "a weight of {shape:?}");
    let of_inputs = (0..shape.inputs).map(|input| (shape.outputs * square, input));
    let mirror = |input: usize, to: &mut [f32]| {
        for (output, to) in to.chunks_exact_mut(square).enumerate() {
            let from = &weight[(output * shape.inputs + input) * square..][..square];
            to.iter_mut().zip(from.iter().rev()).for_each(|(to, from)| *to = *from);
        }
    };
    let (mirrored, _) = parallel::produce(weight.len(), of_inputs, mirror);
    forward(precision.of_gradients(), shape.mirrored(), dy, &mirrored, None)
}

/// The gradient of the weight.
///
/// # Panics
/// If a slice does not have its shape.
#[must_use]
pub fn weight_gradient(precision: Precision, shape: ConvShape, dy: &[f32], x: &[f32]) -> Vec<f32> {
    let (area, column) = (shape.area(), shape.column());
    let whole = Shape::rows(shape.outputs, column, column);
    let mut total = vec![0.0; shape.outputs * column];
    assert!(
        x.len() == shape.batch * shape.inputs * area
            && dy.len() == shape.batch * shape.outputs * area,
        "a convolution of {shape:?} over slices of another size"
    );
    if x.is_empty() || dy.is_empty() {
        return total;
    }
    if rounds_images(precision, shape) {
        return tiles::conv::weight_gradient(shape, dy, x);
    }
    if filters_minimally(precision, shape) {
        return winograd::weight_gradient(shape, dy, x);
    }
    let at_once = shape.images_at_once();
    let parts =
        dy.chunks(at_once * shape.outputs * area).zip(x.chunks(at_once * shape.inputs * area));
    let sums = parallel::map(shape.work(), parts, |(dy, x)| {
        let mut unfolded = vec![0.0; shape.unfolded()];
        let mut sum = vec![0.0; shape.outputs * column];
        for (dy, x) in dy.chunks(shape.outputs * area).zip(x.chunks(shape.inputs * area)) {
            for strip in shape.strips() {
                let columns = unfold(shape, x, strip, &mut unfolded);
                let pixels = Shape::rows(shape.outputs, columns.1.columns, area);
                let dy = (&dy[strip.0 * shape.width..], pixels);
                let into = (sum.as_mut_slice(), whole);
                multiply(precision, into, Into::Add, 1.0, dy, transposed(columns));
            }
        }
        sum
    });
    for sum in sums {
        total.iter_mut().zip(sum).for_each(|(total, value)| *total += value);
    }
    total
}

/// The gradient of the bias: the sum over images and pixels of every channel.
///
/// # Panics
/// Never; channels that are not whole are left out.
#[must_use]
pub fn bias_gradient(channels: usize, area: usize, dy: &[f32]) -> Vec<f32> {
    let mut total = vec![0.0; channels];
    for image in dy.chunks_exact((channels * area).max(1)) {
        add_channel_sums(&mut total, image, area);
    }
    total
}

#[multiversion(targets = "simd")]
fn add_channel_sums(total: &mut [f32], image: &[f32], area: usize) {
    for (total, channel) in total.iter_mut().zip(image.chunks_exact(area.max(1))) {
        *total += sum(channel);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, values};
    use super::*;

    const FP32: Precision = Precision::Fp32;

    /// The definition. The weight has `inputs` kernels per output, or one if depthwise.
    fn plain(shape: ConvShape, x: &[f32], weight: &[f32], depthwise: bool) -> Vec<f32> {
        let ConvShape { batch, inputs, outputs, kernel, height, width } = shape;
        let pixel = |image: usize, channel: usize, row: usize, column: usize| {
            let half = kernel / 2;
            let inside =
                (half..height + half).contains(&row) && (half..width + half).contains(&column);
            let plane = (image * inputs + channel) * shape.area();
            if inside { x[plane + (row - half) * width + column - half] } else { 0.0 }
        };
        let mut y = Vec::new();
        for (image, output) in (0..batch * outputs).map(|at| (at / outputs, at % outputs)) {
            for (row, column) in (0..shape.area()).map(|at| (at / width, at % width)) {
                let channels: Vec<usize> =
                    if depthwise { vec![output] } else { (0..inputs).collect() };
                let kernels = channels.len();
                let mut total = 0.0;
                for (number, channel) in channels.into_iter().enumerate() {
                    for (ky, kx) in (0..kernel * kernel).map(|at| (at / kernel, at % kernel)) {
                        let at = ((output * kernels + number) * kernel + ky) * kernel + kx;
                        total += weight[at] * pixel(image, channel, row + ky, column + kx);
                    }
                }
                y.push(total);
            }
        }
        y
    }

    fn shapes() -> impl Iterator<Item = ConvShape> {
        let sizes = [
            (1, 1, 1, 1, 1, 1),
            (2, 3, 4, 3, 5, 7),
            (9, 2, 3, 3, 4, 6),
            (1, 2, 2, 7, 2, 3),
            (3, 5, 5, 5, 8, 17),
            (0, 2, 2, 3, 4, 4),
        ];
        sizes.into_iter().map(|(batch, inputs, outputs, kernel, height, width)| ConvShape {
            batch,
            inputs,
            outputs,
            kernel,
            height,
            width,
        })
    }

    fn inner(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn dense_agrees_with_the_definition_and_its_gradients_with_the_differences() {
        for shape in shapes() {
            let x = values(1, shape.batch * shape.inputs * shape.area());
            let weight = values(2, shape.outputs * shape.column());
            let bias = values(3, shape.outputs);
            let expected = plain(shape, &x, &weight, false);
            let y = forward(FP32, shape, &x, &weight, None);
            assert_close(&y, &expected, 1e-5);
            // A linear function of its input and of its weight: its value is the product of either
            // with its gradient.
            let dy = values(4, y.len());
            let value = inner(&y, &dy);
            let by_x = inner(&x, &input_gradient(FP32, shape, &dy, &weight));
            let by_weight = inner(&weight, &weight_gradient(FP32, shape, &dy, &x));
            assert_close(&[by_x, by_weight], &[value; 2], 1e-4);
            let with_bias = inner(&forward(FP32, shape, &x, &weight, Some(&bias)), &dy);
            let by_bias = inner(&bias, &bias_gradient(shape.outputs, shape.area(), &dy));
            assert_close(&[value + by_bias], &[with_bias], 1e-4);
        }
    }

    #[test]
    fn gradients_do_not_depend_on_the_threads() {
        let shape =
            ConvShape { batch: 5, inputs: 8, outputs: 16, kernel: 3, height: 20, width: 30 };
        let x = values(1, shape.batch * shape.inputs * shape.area());
        let dy = values(2, shape.batch * shape.outputs * shape.area());
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| weight_gradient(FP32, shape, &dy, &x))
        };
        assert!(run(1) == run(3));
    }
}
