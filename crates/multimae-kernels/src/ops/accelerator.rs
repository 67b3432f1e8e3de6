//! The operations on devices other than the processor: the engine's own, with factors of products in
//! bfloat16 where that is asked for, and its fused attention where nothing is to be learnt.

use burn::tensor::ops::{AttentionModuleOptions, ConvOptions};
use burn::tensor::{FloatDType, Tensor, activation};

use super::plain::{self, split_heads};
use crate::precision::{Precision, precision};

/// `x` as a factor of a product.
fn factor<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match precision() {
        Precision::Fp32 => x,
        Precision::Bf16 => x.cast(FloatDType::BF16),
    }
}

/// A product in 32 bits again.
fn product<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match precision() {
        Precision::Fp32 => x,
        Precision::Bf16 => x.cast(FloatDType::F32),
    }
}

/// [`super::linear`].
pub(super) fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let y = product(plain::linear(factor(x), factor(weight), None));
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
pub(super) fn self_attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [q, k, v] = split_heads(factor(qkv), heads);
    attend(q, k, v)
}

/// [`super::cross_attention`].
pub(super) fn cross_attention(q: Tensor<3>, kv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [q] = split_heads(factor(q), heads);
    let [k, v] = split_heads(factor(kv), heads);
    attend(q, k, v)
}

/// Attention per head. The engine's fused one has no backward pass; with gradients it is two
/// products, and exponentials in 32 bits between them.
///
/// # Shapes
/// `q (B, heads, N, d)`, `k` and `v (B, heads, M, d)` to `(B, N, heads * d)`.
fn attend(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<3> {
    let [batch, heads, queries, dim] = q.dims();
    let heads_apart = if q.device().is_autodiff() || k.device().is_autodiff() {
        let scores = product(q.matmul(k.swap_dims(2, 3))).mul_scalar((dim as f64).powf(-0.5));
        factor(activation::softmax(scores, 3)).matmul(v)
    } else {
        burn::tensor::module::attention(q, k, v, None, None, AttentionModuleOptions::default())
    };
    product(heads_apart).swap_dims(1, 2).reshape([batch, queries, heads * dim])
}

/// [`super::conv2d`].
pub(super) fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    depthwise: bool,
) -> Tensor<4> {
    let [_, inputs, ..] = x.dims();
    let [outputs, _, kernel, _] = weight.dims();
    let groups = if depthwise { inputs } else { 1 };
    let options = ConvOptions::new([1; 2], [kernel / 2; 2], [1; 2], groups);
    let y = product(burn::tensor::module::conv2d(factor(x), factor(weight), None, options));
    match bias {
        Some(bias) => y + bias.reshape([1, outputs, 1, 1]),
        None => y,
    }
}
