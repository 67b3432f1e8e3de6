//! The operations by which the engine's backends are extended.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

use crate::cpu::adamw::AdamWStep;
use crate::cpu::cross_entropy::Smoothing;
use crate::cpu::resize::Resize;
use crate::precision::Precision;

/// Operations with a backward pass. Tensors are `f32`; the first argument's leading axes are
/// rows. The precision is that of the GEMMs of both passes.
#[backend_extension(Autodiff, Flex)]
pub(crate) trait KernelOps: Backend {
    /// `x W^T + b`.
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// `x W^T`.
    fn linear_without_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// `gelu(x) W^T + b`.
    fn gelu_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// `norm(x) W^T + b`.
    fn norm_linear(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        eps: f32,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// `x * scale + shift` over the last axis.
    fn scale_shift(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Softmax cross-entropy of every pixel; the labels are whole numbers.
    fn cross_entropy(
        logits: FloatTensor<Self>,
        labels: FloatTensor<Self>,
        smoothing: Smoothing,
    ) -> FloatTensor<Self>;

    /// Maps of another size, linear between neighbours.
    fn resize(x: FloatTensor<Self>, resize: Resize) -> FloatTensor<Self>;

    /// The tensor with its second and third axes swapped.
    fn swap_axes(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Layer normalisation over the last axis.
    fn layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self>;

    /// The exact GELU.
    fn gelu(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Attention over `[q | k | v]`.
    fn self_attention(
        qkv: FloatTensor<Self>,
        heads: usize,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// Attention from queries to `[k | v]` of a context.
    fn cross_attention(
        q: FloatTensor<Self>,
        kv: FloatTensor<Self>,
        heads: usize,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// A convolution of stride 1 that keeps the size; depthwise or dense.
    fn conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        depthwise: bool,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// [`Self::conv2d`] without bias.
    fn conv2d_without_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        depthwise: bool,
        precision: Precision,
    ) -> FloatTensor<Self>;
}

/// Operations without a backward pass.
#[backend_extension(Flex)]
pub(crate) trait UpdateOps: Backend {
    /// The new value, mean and mean square of AdamW.
    fn adamw(
        value: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        square: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Norm and MLP: scale and shift of the norm, and weight and bias of either layer.
    #[allow(clippy::too_many_arguments, reason = "an extension takes tensors one by one")]
    fn norm_mlp(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        eps: f32,
        first_weight: FloatTensor<Self>,
        first_bias: FloatTensor<Self>,
        second_weight: FloatTensor<Self>,
        second_bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;
}
