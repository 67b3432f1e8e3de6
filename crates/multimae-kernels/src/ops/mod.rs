//! The kernels as operations on the engine's tensors, with their gradients.
//!
//! Every function here has a plain twin in [`plain`], made of the engine's own operations: the
//! oracle of its tests, and what runs when the environment variable `MULTIMAE_KERNELS` is `plain`,
//! the tensors are not `f32`, or they are not the processor's. On other devices GEMMs go through
//! `accelerator`.
//!
//! Products are computed in the [precision](crate::precision) of the scope in which a function is
//! called; so are those of its backward pass, wherever that runs. Plain twins know 32 bits alone.

mod accelerator;
mod autodiff;
mod extension;
mod flex;
pub mod plain;

use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::{DType, Device, Int, Tensor};

use crate::cpu::adamw::AdamWStep;
use crate::cpu::adamw::bf16::Bf16Moments;
use crate::cpu::adamw::blockwise::BlockwiseMoments;
use crate::cpu::cross_entropy::Smoothing;
use crate::cpu::resize::Resize;
use crate::observe;
use crate::precision::Precision;
use crate::switch::Switch;
use extension::{KernelOps, UpdateOps};

/// Whether the fused operations are switched on.
#[must_use]
pub fn enabled() -> bool {
    Switch::current() > Switch::Plain
}

/// Whether tensors of the device are the processor's own.
#[must_use]
pub fn on_cpu(device: &Device) -> bool {
    matches!(device.clone().without_autodiff().as_dispatch(), DispatchDevice::Flex(_))
}

fn fused<const D: usize>(x: &Tensor<D>) -> bool {
    enabled() && x.dtype() == DType::F32 && on_cpu(&x.device())
}

/// Whether GEMMs are the plain ones, or those of an accelerator.
fn accelerated<const D: usize>(x: &Tensor<D>) -> bool {
    enabled() && x.dtype() == DType::F32 && !on_cpu(&x.device())
}

/// `y = x W^T + b` over the last axis.
///
/// # Shapes
/// `x (..., inputs)`, `weight (outputs, inputs)`, `bias (outputs)` to `(..., outputs)`.
#[must_use]
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    if observe::is_on() {
        observe::see(&weight, &x);
    }
    if accelerated(&x) {
        return accelerator::linear(Precision::current(), x, weight, bias);
    }
    if !fused(&x) {
        return plain::linear(x, weight, bias);
    }
    let (x, weight, precision) = (x.into_dispatch(), weight.into_dispatch(), Precision::current());
    Tensor::from_dispatch(match bias {
        Some(bias) => <Dispatch as KernelOps>::linear(x, weight, bias.into_dispatch(), precision),
        None => <Dispatch as KernelOps>::linear_without_bias(x, weight, precision),
    })
}

/// `y = gelu(x) W^T + b` with the exact GELU, whose output is not kept for the backward pass.
///
/// # Shapes
/// `x (..., inputs)`, `weight (outputs, inputs)`, `bias (outputs)` to `(..., outputs)`.
#[must_use]
pub fn gelu_linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<D> {
    if !fused(&x) || observe::is_on() {
        return linear(gelu(x), weight, Some(bias));
    }
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    let precision = Precision::current();
    Tensor::from_dispatch(<Dispatch as KernelOps>::gelu_linear(x, weight, bias, precision))
}

/// Layer normalisation of the last axis with `scale` and `shift`, then `y = norm(x) W^T + b`; the
/// norm's output is not kept for the backward pass.
///
/// # Shapes
/// `x (..., inputs)`, `scale` and `shift (inputs)`, `weight (outputs, inputs)`, `bias (outputs)` to
/// `(..., outputs)`.
#[must_use]
pub fn norm_linear<const D: usize>(
    x: Tensor<D>,
    (scale, shift, eps): (Tensor<1>, Tensor<1>, f64),
    weight: Tensor<2>,
    bias: Tensor<1>,
) -> Tensor<D> {
    if !fused(&x) || observe::is_on() {
        return linear(layer_norm(x, scale, shift, eps), weight, Some(bias));
    }
    let (x, scale, shift) = (x.into_dispatch(), scale.into_dispatch(), shift.into_dispatch());
    let (weight, bias) = (weight.into_dispatch(), bias.into_dispatch());
    let precision = Precision::current();
    Tensor::from_dispatch(<Dispatch as KernelOps>::norm_linear(
        x, scale, shift, eps as f32, weight, bias, precision,
    ))
}

/// Computes layer normalisation and a two-layer MLP (weight and bias each) with the exact GELU
/// between. Without gradients the hidden values of many rows are never in memory as a whole.
///
/// # Shapes
/// `x (..., inputs)`, `scale` and `shift (inputs)`, `first (hidden, inputs)`,
/// `second (outputs, hidden)` to `(..., outputs)`.
#[must_use]
pub fn norm_mlp<const D: usize>(
    x: Tensor<D>,
    (scale, shift, eps): (Tensor<1>, Tensor<1>, f64),
    first: (Tensor<2>, Tensor<1>),
    second: (Tensor<2>, Tensor<1>),
) -> Tensor<D> {
    if x.is_autodiff() || !fused(&x) || observe::is_on() {
        let hidden = norm_linear(x, (scale, shift, eps), first.0, first.1);
        return gelu_linear(hidden, second.0, second.1);
    }
    let (x, scale, shift) = (x.into_dispatch(), scale.into_dispatch(), shift.into_dispatch());
    let (w1, b1) = (first.0.into_dispatch(), first.1.into_dispatch());
    let (w2, b2) = (second.0.into_dispatch(), second.1.into_dispatch());
    let precision = Precision::current();
    Tensor::from_dispatch(<Dispatch as UpdateOps>::norm_mlp(
        x, scale, shift, eps as f32, w1, b1, w2, b2, precision,
    ))
}

/// `y = x * scale + shift`, every channel of the last axis by itself.
///
/// # Shapes
/// `x (..., width)`, `scale` and `shift (width)` to `(..., width)`.
#[must_use]
pub fn scale_shift<const D: usize>(x: Tensor<D>, scale: Tensor<1>, shift: Tensor<1>) -> Tensor<D> {
    if !fused(&x) {
        return plain::scale_shift(x, scale, shift);
    }
    let (x, scale, shift) = (x.into_dispatch(), scale.into_dispatch(), shift.into_dispatch());
    Tensor::from_dispatch(<Dispatch as KernelOps>::scale_shift(x, scale, shift))
}

/// Softmax cross-entropy of every pixel, with label smoothing (Szegedy et al., 2016). Pixels whose
/// label is ignored have the loss 0.
///
/// # Shapes
/// `logits (B, classes, P)`, `labels (B, P)` to `(B, P)`.
#[must_use]
pub fn cross_entropy(
    logits: Tensor<3>,
    labels: Tensor<2, Int>,
    smoothing: f64,
    ignore: Option<i64>,
) -> Tensor<2> {
    if !fused(&logits) {
        return plain::cross_entropy(logits, labels, smoothing, ignore);
    }
    // Whole numbers up to 2^24 stay what they are.
    let (logits, labels) = (logits.into_dispatch(), labels.float().into_dispatch());
    let smoothing = Smoothing { share: smoothing as f32, ignore };
    Tensor::from_dispatch(<Dispatch as KernelOps>::cross_entropy(logits, labels, smoothing))
}

/// Maps of another size, linear between neighbours along either axis.
///
/// # Shapes
/// `(B, C, h, w)` with `[h, w] = resize.from` to `(B, C, rows, columns)`.
#[must_use]
pub fn resize(x: Tensor<4>, resize: &Resize) -> Tensor<4> {
    if !fused(&x) {
        return plain::resize(x, resize);
    }
    Tensor::from_dispatch(<Dispatch as KernelOps>::resize(x.into_dispatch(), resize.clone()))
}

/// The middle axes in each other's place.
///
/// # Shapes
/// `x (outer, first, second, tail)` to `(outer, second, first, tail)`.
#[must_use]
pub fn swap_axes(x: Tensor<4>) -> Tensor<4> {
    if !fused(&x) {
        return plain::swap_axes(x);
    }
    Tensor::from_dispatch(<Dispatch as KernelOps>::swap_axes(x.into_dispatch()))
}

/// Layer normalisation over the last axis, biased variance.
///
/// # Shapes
/// `x (..., width)`, `weight` and `bias (width)` to `(..., width)`.
#[must_use]
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
) -> Tensor<D> {
    if !fused(&x) {
        return plain::layer_norm(x, weight, bias, eps);
    }
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(<Dispatch as KernelOps>::layer_norm(x, weight, bias, eps as f32))
}

/// The exact GELU.
#[must_use]
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !fused(&x) {
        return plain::gelu(x);
    }
    Tensor::from_dispatch(<Dispatch as KernelOps>::gelu(x.into_dispatch()))
}

/// Multi-head self-attention over a fused projection.
///
/// # Shapes
/// `qkv (B, N, 3 * width)`, `[q | k | v]` of every token and in each the heads side by side, to
/// `(B, N, width)`.
#[must_use]
pub fn self_attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    if accelerated(&qkv) {
        return accelerator::self_attention(Precision::current(), qkv, heads);
    }
    if !fused(&qkv) {
        return plain::self_attention(qkv, heads);
    }
    let (qkv, precision) = (qkv.into_dispatch(), Precision::current());
    Tensor::from_dispatch(<Dispatch as KernelOps>::self_attention(qkv, heads, precision))
}

/// Multi-head attention from queries to a context.
///
/// # Shapes
/// `q (B, N, width)`, `kv (B, M, 2 * width)`, `[k | v]` of every token, to `(B, N, width)`.
#[must_use]
pub fn cross_attention(q: Tensor<3>, kv: Tensor<3>, heads: usize) -> Tensor<3> {
    if accelerated(&q) {
        return accelerator::cross_attention(Precision::current(), q, kv, heads);
    }
    if !fused(&q) {
        return plain::cross_attention(q, kv, heads);
    }
    let (q, kv, precision) = (q.into_dispatch(), kv.into_dispatch(), Precision::current());
    Tensor::from_dispatch(<Dispatch as KernelOps>::cross_attention(q, kv, heads, precision))
}

/// A convolution of stride 1 with a square kernel of odd side, its borders padded with zeros so that
/// the size stays; dense, or of every channel by itself.
///
/// # Shapes
/// `x (B, inputs, h, w)`, `weight (outputs, inputs, k, k)`, or `(inputs, 1, k, k)` if depthwise,
/// `bias (outputs)` to `(B, outputs, h, w)`.
#[must_use]
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    depthwise: bool,
) -> Tensor<4> {
    if accelerated(&x) {
        return accelerator::conv2d(Precision::current(), x, weight, bias, depthwise);
    }
    if !fused(&x) {
        return plain::conv2d(x, weight, bias, depthwise);
    }
    let (x, weight, precision) = (x.into_dispatch(), weight.into_dispatch(), Precision::current());
    Tensor::from_dispatch(match bias {
        Some(bias) => {
            let bias = bias.into_dispatch();
            <Dispatch as KernelOps>::conv2d(x, weight, bias, depthwise, precision)
        }
        None => <Dispatch as KernelOps>::conv2d_without_bias(x, weight, depthwise, precision),
    })
}

/// One step of AdamW: the new value, mean of the gradient and mean of the squared gradient. Tensors
/// that nothing else holds are changed in place.
///
/// # Shapes
/// All `(n)`.
#[must_use]
pub fn adamw(
    step: AdamWStep,
    value: Tensor<1>,
    gradient: Tensor<1>,
    mean: Tensor<1>,
    square: Tensor<1>,
) -> (Tensor<1>, Tensor<1>, Tensor<1>) {
    if !fused(&value) {
        return plain::adamw(step, value, gradient, mean, square);
    }
    let (value, mean, square) = <Dispatch as UpdateOps>::adamw(
        value.into_dispatch(),
        gradient.into_dispatch(),
        mean.into_dispatch(),
        square.into_dispatch(),
        step,
    );
    (Tensor::from_dispatch(value), Tensor::from_dispatch(mean), Tensor::from_dispatch(square))
}

/// One step of AdamW whose moments are in bfloat16: the new value. `key` names the random bits of the
/// moments' rounding. The moments are in the memory of the host; values of other devices come there
/// and return.
///
/// # Shapes
/// All `(n)`.
///
/// # Panics
/// If the tensors are not `f32`, or the shapes differ.
#[must_use]
pub fn adamw_bf16(
    step: AdamWStep,
    key: u64,
    value: Tensor<1>,
    gradient: Tensor<1>,
    moments: &mut Bf16Moments,
) -> Tensor<1> {
    if !enabled() {
        return plain::adamw_bf16(step, key, value, gradient, moments);
    }
    on_host(value, gradient, |value, gradient| moments.update(step, key, value, gradient))
}

/// [`adamw_bf16`] with moments in 8 bits, quantised block by block.
///
/// # Shapes
/// All `(n)`.
///
/// # Panics
/// If the tensors are not `f32`, or the shapes differ.
#[must_use]
pub fn adamw_8bit(
    step: AdamWStep,
    key: u64,
    value: Tensor<1>,
    gradient: Tensor<1>,
    moments: &mut BlockwiseMoments,
) -> Tensor<1> {
    if !enabled() {
        return plain::adamw_8bit(step, key, value, gradient, moments);
    }
    on_host(value, gradient, |value, gradient| moments.update(step, key, value, gradient))
}

/// Changes a value in the memory of the host. One of the processor that nothing else holds stays where
/// it is.
fn on_host(
    value: Tensor<1>,
    gradient: Tensor<1>,
    change: impl FnOnce(&mut [f32], &[f32]),
) -> Tensor<1> {
    let device = value.device();
    let (mut value, gradient) = (value.into_data(), gradient.into_data());
    // A tensor of another type has no such elements, which the kernels refuse as a wrong length.
    change(value.as_mut_slice().unwrap_or_default(), gradient.as_slice().unwrap_or_default());
    Tensor::from_data(value, &device)
}
