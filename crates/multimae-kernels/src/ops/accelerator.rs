//! The operations on devices other than the CPU: the engine's own, with bfloat16 operands of GEMMs
//! where the precision says so, and its fused attention where no gradient is needed.

use burn::tensor::ops::{AttentionModuleOptions, ConvOptions};
use burn::tensor::{FloatDType, Tensor, activation};

use super::plain::{self, split_heads};
use crate::precision::Precision;

/// `x` as an operand of a product.
fn operand<const D: usize>(precision: Precision, x: Tensor<D>) -> Tensor<D> {
    match precision {
        Precision::Fp32 | Precision::Int8 => x,
        Precision::Bf16 => x.cast(FloatDType::BF16),
    }
}

/// A product in 32 bits again.
fn product<const D: usize>(precision: Precision, x: Tensor<D>) -> Tensor<D> {
    match precision {
        Precision::Fp32 | Precision::Int8 => x,
        Precision::Bf16 => x.cast(FloatDType::F32),
    }
}

/// [`super::linear`].
pub(super) fn linear<const D: usize>(
    precision: Precision,
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let (x, weight) = (operand(precision, x), operand(precision, weight));
    let y = product(precision, plain::linear(x, weight, None));
    match bias {
        Some(bias) => {
            let mut shape = [1; D];
            shape[D - 1] = bias.dims()[0];
            y + bias.reshape(shape)
        }
        None => y,
    }
}

/// [`super::self_attention`].
pub(super) fn self_attention(precision: Precision, qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [q, k, v] = split_heads(operand(precision, qkv), heads);
    attend(precision, q, k, v)
}

/// [`super::cross_attention`].
pub(super) fn cross_attention(
    precision: Precision,
    q: Tensor<3>,
    kv: Tensor<3>,
    heads: usize,
) -> Tensor<3> {
    let [q] = split_heads(operand(precision, q), heads);
    let [k, v] = split_heads(operand(precision, kv), heads);
    attend(precision, q, k, v)
}

/// Attention per head. The engine's fused one has no backward pass; with gradients it is two
/// products, and exponentials in 32 bits between them.
///
/// # Shapes
/// `q (B, heads, N, d)`, `k` and `v (B, heads, M, d)` to `(B, N, heads * d)`.
fn attend(precision: Precision, q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<3> {
    let [batch, heads, queries, dim] = q.dims();
    let heads_apart = if q.device().is_autodiff() || k.device().is_autodiff() {
        let scores = product(precision, q.matmul(k.swap_dims(2, 3)));
        let scores = scores.mul_scalar((dim as f64).powf(-0.5));
        operand(precision, activation::softmax(scores, 3)).matmul(v)
    } else {
        burn::tensor::module::attention(q, k, v, None, None, AttentionModuleOptions::default())
    };
    product(precision, heads_apart).swap_dims(1, 2).reshape([batch, queries, heads * dim])
}

/// [`super::conv2d`].
pub(super) fn conv2d(
    precision: Precision,
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    depthwise: bool,
) -> Tensor<4> {
    let [_, inputs, ..] = x.dims();
    let [outputs, _, kernel, _] = weight.dims();
    let groups = if depthwise { inputs } else { 1 };
    let options = ConvOptions::new([1; 2], [kernel / 2; 2], [1; 2], groups);
    let (x, weight) = (operand(precision, x), operand(precision, weight));
    let y = product(precision, burn::tensor::module::conv2d(x, weight, None, options));
    match bias {
        Some(bias) => y + bias.reshape([1, outputs, 1, 1]),
        None => y,
    }
}
