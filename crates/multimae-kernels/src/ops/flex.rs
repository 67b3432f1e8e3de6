//! The operations on the engine's CPU backend: views of its tensors as slices, and back.

use std::borrow::Cow;

use burn::backend::Flex;
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Bytes, DType, Shape};

use super::extension::{KernelOps, UpdateOps};
use crate::cpu::adamw::{self, AdamWStep};
use crate::cpu::attention::{self, AttentionShape, Inputs};
use crate::cpu::conv::{self, ConvShape, Weight};
use crate::cpu::cross_entropy::{self, CrossEntropyShape, Smoothing};
use crate::cpu::linear::{self, LinearShape};
use crate::cpu::mlp::{self, Layer, Norm};
use crate::cpu::resize::{self, Resize};
use crate::cpu::swap_axes::{self, SwapShape};
use crate::cpu::{depthwise, gelu, layer_norm, scale_shift};
use crate::precision::Precision;
use crate::prepared;

/// The elements in order; copied only if the tensor is a view with gaps or another order.
pub(super) fn elements(tensor: &FlexTensor) -> Cow<'_, [f32]> {
    match tensor.as_slice::<f32>() {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(tensor.to_contiguous().storage::<f32>().to_vec()),
    }
}

/// A tensor of these elements.
pub(super) fn tensor(elements: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    let layout = Layout::contiguous(shape.into());
    FlexTensor::new(Bytes::from_elems(elements), layout, DType::F32)
}

/// The extents of a tensor.
pub(super) fn dims(tensor: &FlexTensor) -> Vec<usize> {
    tensor.layout().shape().to_vec()
}

/// The sizes of an affine map of `x` by `weight`.
pub(super) fn linear_shape(x: &FlexTensor, weight: &FlexTensor) -> LinearShape {
    let (x, weight) = (dims(x), dims(weight));
    let inputs = weight.get(1).copied().unwrap_or(0);
    assert!(
        weight.len() == 2 && x.last() == Some(&inputs),
        "a weight {weight:?} for an input {x:?}"
    );
    LinearShape { rows: x[..x.len() - 1].iter().product(), inputs, outputs: weight[0] }
}

/// The sizes of self-attention over `qkv`.
pub(super) fn self_attention_shape(qkv: &FlexTensor, heads: usize) -> AttentionShape {
    let [batch, tokens, width] = dims3(qkv);
    assert!(heads > 0 && width.is_multiple_of(3 * heads), "{heads} heads in a width of {width}");
    AttentionShape { batch, heads, queries: tokens, keys: tokens, dim: width / (3 * heads) }
}

/// The sizes of attention from `q` to `kv`.
pub(super) fn cross_attention_shape(
    q: &FlexTensor,
    kv: &FlexTensor,
    heads: usize,
) -> AttentionShape {
    let ([batch, queries, width], [samples, keys, double]) = (dims3(q), dims3(kv));
    assert!(
        samples == batch && double == 2 * width && heads > 0 && width.is_multiple_of(heads),
        "{heads} heads in a width of {width} and a context of {double}"
    );
    AttentionShape { batch, heads, queries, keys, dim: width / heads }
}

/// The sizes of a convolution of `x` by `weight`.
pub(super) fn conv_shape(x: &FlexTensor, weight: &FlexTensor, depthwise: bool) -> ConvShape {
    let (x, weight) = (dims(x), dims(weight));
    assert!(
        x.len() == 4
            && weight.len() == 4
            && weight[1] == if depthwise { 1 } else { x[1] }
            && (!depthwise || weight[0] == x[1])
            && weight[2] == weight[3]
            && weight[2] % 2 == 1,
        "a convolution of {x:?} by {weight:?}"
    );
    ConvShape {
        batch: x[0],
        inputs: x[1],
        outputs: weight[0],
        kernel: weight[2],
        height: x[2],
        width: x[3],
    }
}

/// The convolution.
pub(super) fn conv2d_of(
    precision: Precision,
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    depthwise: bool,
) -> FlexTensor {
    let shape = conv_shape(x, weight, depthwise);
    let bias = bias.map(elements);
    if let Some(bias) = &bias {
        assert!(bias.len() == shape.outputs, "a bias of {} for {shape:?}", bias.len());
    }
    let prepared = if depthwise { None } else { prepared::conv(precision, shape, weight) };
    let (bias, x, weight) = (bias.as_deref(), elements(x), elements(weight));
    let y = match prepared {
        _ if depthwise => depthwise::forward(shape, &x, &weight, bias),
        Some(prepared) => conv::forward_by(precision, shape, &x, Weight::Prepared(&prepared), bias),
        None => conv::forward(precision, shape, &x, &weight, bias),
    };
    tensor(y, [shape.batch, shape.outputs, shape.height, shape.width])
}

fn dims3(tensor: &FlexTensor) -> [usize; 3] {
    let dims = dims(tensor);
    assert!(dims.len() == 3, "three axes are expected, not {dims:?}");
    [dims[0], dims[1], dims[2]]
}

/// `dims` with another last axis.
pub(super) fn with_last(mut dims: Vec<usize>, last: usize) -> Vec<usize> {
    if let Some(place) = dims.last_mut() {
        *place = last;
    }
    dims
}

/// The linear map.
pub(super) fn linear_of(
    precision: Precision,
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
) -> FlexTensor {
    affine_of(precision, (x, false), weight, bias)
}

/// The linear map behind a GELU.
pub(super) fn gelu_linear_of(
    precision: Precision,
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
) -> FlexTensor {
    affine_of(precision, (x, true), weight, bias)
}

/// The linear map, of the GELU of `x` if it is to be activated.
fn affine_of(
    precision: Precision,
    (x, activated): (&FlexTensor, bool),
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
) -> FlexTensor {
    let shape = linear_shape(x, weight);
    let bias = bias.map(elements);
    if let Some(bias) = &bias {
        assert!(bias.len() == shape.outputs, "a bias of {} for {shape:?}", bias.len());
    }
    let (values, bias) = (elements(x), bias.as_deref());
    let y = match prepared::linear(precision, shape, weight) {
        Some(weight) => linear::forward_packed(shape, (&values, activated), &weight, bias),
        None if activated => {
            linear::forward_of_gelu(precision, shape, &values, &elements(weight), bias)
        }
        None => linear::forward(precision, shape, &values, &elements(weight), bias),
    };
    tensor(y, with_last(dims(x), shape.outputs))
}

/// The resized maps.
pub(super) fn resize_of(x: &FlexTensor, how: &Resize) -> FlexTensor {
    let shape = dims(x);
    assert!(shape.len() == 4 && shape[2..] == how.from, "{shape:?} resized as {:?}", how.from);
    let y = resize::forward(how, &elements(x));
    tensor(y, [shape[0], shape[1], how.rows.len(), how.columns.len()])
}

/// The sizes of a map of logits.
pub(super) fn cross_entropy_shape(logits: &FlexTensor) -> CrossEntropyShape {
    let [batch, classes, pixels] = dims3(logits);
    CrossEntropyShape { batch, classes, pixels }
}

/// Labels as whole numbers.
pub(super) fn whole_numbers(labels: &FlexTensor) -> Vec<i64> {
    elements(labels).iter().map(|&label| label as i64).collect()
}

/// Scale and shift.
pub(super) fn scale_shift_of(
    x: &FlexTensor,
    scale: &FlexTensor,
    shift: Option<&FlexTensor>,
) -> FlexTensor {
    let scale = elements(scale);
    assert!(dims(x).last() == Some(&scale.len()), "{} scales for {:?}", scale.len(), dims(x));
    let shift = shift.map_or(Cow::Owned(vec![0.0; scale.len()]), elements);
    tensor(scale_shift::forward(&elements(x), &scale, &shift), dims(x))
}

/// The sizes of a tensor of four axes of which the middle ones are swapped.
pub(super) fn swap_shape(x: &FlexTensor) -> SwapShape {
    let dims = dims(x);
    assert!(dims.len() == 4, "four axes are expected, not {dims:?}");
    SwapShape { outer: dims[0], first: dims[1], second: dims[2], tail: dims[3] }
}

/// A tensor with its middle axes swapped.
pub(super) fn swap_axes_of(shape: SwapShape, x: &FlexTensor) -> FlexTensor {
    let SwapShape { outer, first, second, tail } = shape;
    tensor(swap_axes::forward(shape, &elements(x)), [outer, second, first, tail])
}

/// Layer normalisation with what its backward pass needs.
pub(super) fn layer_norm_of(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    eps: f32,
) -> (FlexTensor, layer_norm::Statistics) {
    let (weight, bias) = (elements(weight), elements(bias));
    assert!(dims(x).last() == Some(&weight.len()), "a norm of {} for {:?}", weight.len(), dims(x));
    let (y, statistics) = layer_norm::forward(&elements(x), &weight, &bias, eps);
    (tensor(y, dims(x)), statistics)
}

impl KernelOps for Flex {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        linear_of(precision, &x, &weight, Some(&bias))
    }

    fn linear_without_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        linear_of(precision, &x, &weight, None)
    }

    fn gelu_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        gelu_linear_of(precision, &x, &weight, Some(&bias))
    }

    fn norm_linear(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        eps: f32,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        linear_of(precision, &layer_norm_of(&x, &scale, &shift, eps).0, &weight, Some(&bias))
    }

    fn scale_shift(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        scale_shift_of(&x, &scale, Some(&shift))
    }

    fn cross_entropy(
        logits: FloatTensor<Self>,
        labels: FloatTensor<Self>,
        smoothing: Smoothing,
    ) -> FloatTensor<Self> {
        let shape = cross_entropy_shape(&logits);
        let labels = whole_numbers(&labels);
        let (losses, _) = cross_entropy::forward(shape, &elements(&logits), &labels, smoothing);
        tensor(losses, [shape.batch, shape.pixels])
    }

    fn resize(x: FloatTensor<Self>, resize: Resize) -> FloatTensor<Self> {
        resize_of(&x, &resize)
    }

    fn swap_axes(x: FloatTensor<Self>) -> FloatTensor<Self> {
        swap_axes_of(swap_shape(&x), &x)
    }

    fn layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self> {
        layer_norm_of(&x, &weight, &bias, eps).0
    }

    fn gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        tensor(gelu::forward(&elements(&x)), dims(&x))
    }

    fn self_attention(
        qkv: FloatTensor<Self>,
        heads: usize,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let shape = self_attention_shape(&qkv, heads);
        let (out, _) = attention::forward(precision, shape, Inputs::Fused(&elements(&qkv)));
        tensor(out, [shape.batch, shape.queries, shape.heads * shape.dim])
    }

    fn cross_attention(
        q: FloatTensor<Self>,
        kv: FloatTensor<Self>,
        heads: usize,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let shape = cross_attention_shape(&q, &kv, heads);
        let (out, _) =
            attention::forward(precision, shape, Inputs::Context(&elements(&q), &elements(&kv)));
        tensor(out, dims(&q))
    }

    fn conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        depthwise: bool,
        precision: Precision,
    ) -> FloatTensor<Self> {
        conv2d_of(precision, &x, &weight, Some(&bias), depthwise)
    }

    fn conv2d_without_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        depthwise: bool,
        precision: Precision,
    ) -> FloatTensor<Self> {
        conv2d_of(precision, &x, &weight, None, depthwise)
    }
}

impl UpdateOps for Flex {
    fn adamw(
        value: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        square: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [mut value, mut mean, mut square] = [value, mean, square].map(whole);
        adamw::update(
            step,
            value.storage_mut(),
            &elements(&gradient),
            mean.storage_mut(),
            square.storage_mut(),
        );
        (value, mean, square)
    }

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
    ) -> FloatTensor<Self> {
        let (scale, shift) = (elements(&scale), elements(&shift));
        let norm = Norm { scale: &scale, shift: &shift, eps };
        let (w1, b1) = (elements(&first_weight), elements(&first_bias));
        let (w2, b2) = (elements(&second_weight), elements(&second_bias));
        let of_x = linear_shape(&x, &first_weight);
        let of_hidden = LinearShape { inputs: of_x.outputs, outputs: b2.len(), ..of_x };
        let packed = (
            prepared::linear(precision, of_x, &first_weight),
            prepared::linear(precision, of_hidden, &second_weight),
        );
        let first = Layer::new(&w1, &b1).with_packed(packed.0.as_deref());
        let second = Layer::new(&w2, &b2).with_packed(packed.1.as_deref());
        let y = mlp::forward(precision, &elements(&x), norm, first, second);
        tensor(y, with_last(dims(&x), b2.len()))
    }
}

/// The tensor itself if its elements are its whole storage, in order; otherwise a copy that is so.
fn whole(tensor: FlexTensor) -> FlexTensor {
    match tensor.as_slice::<f32>() {
        Some(slice) if slice.len() == tensor.storage::<f32>().len() => tensor,
        _ => self::tensor(elements(&tensor).into_owned(), dims(&tensor)),
    }
}
