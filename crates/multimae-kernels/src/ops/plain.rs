//! The same operations from the engine's own: slower, and what the kernels are tested against.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Int, Tensor, TensorData, activation};

use crate::cpu::adamw::AdamWStep;
use crate::cpu::adamw::bf16::Bf16Moments;
use crate::cpu::adamw::blockwise::BlockwiseMoments;
use crate::cpu::resize::{Resize, Tap};

/// The plain [`super::linear`].
#[must_use]
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    burn::tensor::module::linear(x, weight.transpose(), bias)
}

/// The plain [`super::gelu_linear`].
#[must_use]
pub fn gelu_linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<D> {
    linear(gelu(x), weight, Some(bias))
}

/// The plain [`super::norm_linear`].
#[must_use]
pub fn norm_linear<const D: usize>(
    x: Tensor<D>,
    (scale, shift, eps): (Tensor<1>, Tensor<1>, f64),
    weight: Tensor<2>,
    bias: Tensor<1>,
) -> Tensor<D> {
    linear(layer_norm(x, scale, shift, eps), weight, Some(bias))
}

/// The plain [`super::scale_shift`].
#[must_use]
pub fn scale_shift<const D: usize>(x: Tensor<D>, scale: Tensor<1>, shift: Tensor<1>) -> Tensor<D> {
    let last = |values: Tensor<1>| {
        let mut shape = [1; D];
        shape[D - 1] = values.dims()[0];
        values.reshape(shape)
    };
    x * last(scale) + last(shift)
}

/// The plain [`super::cross_entropy`].
#[must_use]
pub fn cross_entropy(
    logits: Tensor<3>,
    labels: Tensor<2, Int>,
    smoothing: f64,
    ignore: Option<i64>,
) -> Tensor<2> {
    let [batch, classes, pixels] = logits.dims();
    let ignored = ignore.map(|label| labels.clone().equal_elem(label));
    // A label that is ignored may lie beyond the classes.
    let labels = match &ignored {
        Some(ignored) => labels.mask_fill(ignored.clone(), 0),
        None => labels,
    };
    let rows = logits.swap_dims(1, 2).reshape([batch * pixels, classes]);
    let log_probabilities = activation::log_softmax(rows, 1);
    let labels = labels.reshape([batch * pixels, 1]);
    let mut loss = log_probabilities.clone().gather(1, labels).neg();
    if smoothing > 0.0 {
        let uniform = log_probabilities.mean_dim(1).neg();
        loss = loss.mul_scalar(1.0 - smoothing) + uniform.mul_scalar(smoothing);
    }
    let loss = loss.reshape([batch, pixels]);
    match ignored {
        Some(ignored) => loss.mask_fill(ignored, 0.0),
        None => loss,
    }
}

/// The plain [`super::swap_axes`].
#[must_use]
pub fn swap_axes(x: Tensor<4>) -> Tensor<4> {
    x.swap_dims(1, 2)
}

/// The plain [`super::resize`]: a GEMM per axis.
#[must_use]
pub fn resize(x: Tensor<4>, resize: &Resize) -> Tensor<4> {
    let device = x.device();
    let matrix = |taps: &[Tap], side: usize| {
        let mut matrix = vec![0.0; taps.len() * side];
        for (row, tap) in matrix.chunks_exact_mut(side).zip(taps) {
            row[tap.left] += 1.0 - tap.weight;
            row[tap.right] += tap.weight;
        }
        Tensor::<2>::from_data(TensorData::new(matrix, [taps.len(), side]), &device)
    };
    let [height, width] = resize.from;
    let columns = matrix(&resize.columns, width).transpose();
    let stretched = x.matmul(columns.unsqueeze::<4>());
    matrix(&resize.rows, height).unsqueeze::<4>().matmul(stretched)
}

/// The plain [`super::layer_norm`].
#[must_use]
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
) -> Tensor<D> {
    burn::tensor::module::layer_norm(x, weight, Some(bias), eps)
}

/// The plain [`super::gelu`].
#[must_use]
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::gelu(x)
}

/// The plain [`super::self_attention`].
#[must_use]
pub fn self_attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [q, k, v] = split_heads(qkv, heads);
    attend(q, k, v)
}

/// The plain [`super::cross_attention`].
#[must_use]
pub fn cross_attention(q: Tensor<3>, kv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [q] = split_heads(q, heads);
    let [k, v] = split_heads(kv, heads);
    attend(q, k, v)
}

/// `softmax(q k^T / sqrt(d)) v`, per head.
///
/// # Shapes
/// `q (B, heads, N, d)`, `k` and `v (B, heads, M, d)` to `(B, N, heads * d)`.
fn attend(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<3> {
    let [batch, heads, queries, dim] = q.dims();
    let scores = q.matmul(k.swap_dims(2, 3)).mul_scalar((dim as f64).powf(-0.5));
    activation::softmax(scores, 3).matmul(v).swap_dims(1, 2).reshape([batch, queries, heads * dim])
}

/// Splits a fused projection into its `P` parts, each with its heads contiguous.
///
/// # Shapes
/// `(B, N, P * heads * d)` to `P` tensors `(B, heads, N, d)`.
pub(super) fn split_heads<const P: usize>(fused: Tensor<3>, heads: usize) -> [Tensor<4>; P] {
    let [batch, tokens, width] = fused.dims();
    let dim = width / (P * heads);
    let parts = fused.reshape([batch, tokens, P, heads, dim]);
    std::array::from_fn(|part| {
        parts.clone().narrow(2, part, 1).reshape([batch, tokens, heads, dim]).swap_dims(1, 2)
    })
}

/// The plain [`super::conv2d`].
#[must_use]
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    depthwise: bool,
) -> Tensor<4> {
    let [outputs, inputs, kernel, _] = weight.dims();
    if kernel == 1 && !depthwise {
        // A GEMM, whose backward is two more; the engine's convolution is slow backwards.
        let [batch, _, height, width] = x.dims();
        let y = weight
            .reshape([1, outputs, inputs])
            .matmul(x.reshape([batch, inputs, height * width]))
            .reshape([batch, outputs, height, width]);
        return match bias {
            Some(bias) => y + bias.reshape([1, outputs, 1, 1]),
            None => y,
        };
    }
    let groups = if depthwise { x.dims()[1] } else { 1 };
    let options = ConvOptions::new([1; 2], [kernel / 2; 2], [1; 2], groups);
    burn::tensor::module::conv2d(x, weight, bias, options)
}

/// The plain [`super::adamw`].
#[must_use]
pub fn adamw(
    step: AdamWStep,
    value: Tensor<1>,
    gradient: Tensor<1>,
    mean: Tensor<1>,
    square: Tensor<1>,
) -> (Tensor<1>, Tensor<1>, Tensor<1>) {
    let AdamWStep { beta_1, beta_2, eps, lr, weight_decay, step } = step;
    let mean = mean.mul_scalar(beta_1) + gradient.clone().mul_scalar(1.0 - beta_1);
    let square = square.mul_scalar(beta_2) + gradient.square().mul_scalar(1.0 - beta_2);
    let correction_1 = 1.0 - beta_1.powf(step as f64);
    let correction_2 = 1.0 - beta_2.powf(step as f64);
    let denominator = square.clone().sqrt().div_scalar(correction_2.sqrt()).add_scalar(eps);
    let change = (mean.clone() / denominator).mul_scalar(lr / correction_1);
    (value.mul_scalar(1.0 - lr * weight_decay) - change, mean, square)
}

/// The plain [`super::adamw_bf16`]: the moments are widened, moved and rounded as a whole.
#[must_use]
pub fn adamw_bf16(
    step: AdamWStep,
    key: u64,
    value: Tensor<1>,
    gradient: Tensor<1>,
    moments: &mut Bf16Moments,
) -> Tensor<1> {
    let (value, [mean, square]) = adamw_of(step, value, gradient, moments.to_f32());
    *moments = Bf16Moments::from_f32(key, &mean, &square);
    value
}

/// The plain [`super::adamw_8bit`].
#[must_use]
pub fn adamw_8bit(
    step: AdamWStep,
    key: u64,
    value: Tensor<1>,
    gradient: Tensor<1>,
    moments: &mut BlockwiseMoments,
) -> Tensor<1> {
    let (value, [mean, square]) = adamw_of(step, value, gradient, moments.to_f32());
    *moments = BlockwiseMoments::from_f32(key, &mean, &square);
    value
}

/// [`adamw`] with moments of the host.
fn adamw_of(
    step: AdamWStep,
    value: Tensor<1>,
    gradient: Tensor<1>,
    moments: [Vec<f32>; 2],
) -> (Tensor<1>, [Vec<f32>; 2]) {
    let device = value.device();
    let [mean, square] = moments.map(|numbers| Tensor::from_floats(numbers.as_slice(), &device));
    let (value, mean, square) = adamw(step, value, gradient, mean, square);
    (value, [mean, square].map(|tensor| tensor.into_data().iter::<f32>().collect()))
}
