//! The operations' gradients, behind the engine's automatic differentiation.
//!
//! A backward step keeps an input only if the gradient of something else needs it: under a frozen
//! weight no input is kept, and no gradient of the weight is computed. It also keeps the precision of
//! the forward pass, whose scope may have ended by then.

use std::fmt;
use std::marker::PhantomData;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};

use super::extension::KernelOps;
use super::flex::{
    conv_shape, conv2d_of, cross_attention_shape, cross_entropy_shape, dims, elements,
    gelu_linear_of, layer_norm_of, linear_of, linear_shape, resize_of, scale_shift_of,
    self_attention_shape, swap_axes_of, swap_shape, tensor, whole_numbers,
};
use crate::cpu::attention::{self, AttentionShape, Inputs};
use crate::cpu::conv::{self, ConvShape};
use crate::cpu::cross_entropy::{self, CrossEntropyShape, Smoothing};
use crate::cpu::layer_norm::Statistics;
use crate::cpu::linear::{self, LinearShape};
use crate::cpu::resize::{self, Resize};
use crate::cpu::swap_axes::SwapShape;
use crate::cpu::{depthwise, gelu, layer_norm, scale_shift};
use crate::precision::Precision;

/// The CPU backend with gradients.
type Tracked<C> = Autodiff<Flex, C>;

/// The state for the backward pass of an affine map: the weight if the input has a gradient, and
/// the input if the weight is trained.
trait AffineState: Clone + Send + fmt::Debug + 'static {
    /// Whether the input's own gradient needs the input.
    const OF_INPUT: bool = false;

    fn input_gradient(&self, dy: &[f32]) -> Option<FlexTensor>;
    fn weight_gradient(&self, dy: &[f32]) -> Option<FlexTensor>;
    fn bias_gradient(&self, dy: &[f32]) -> FlexTensor;

    /// The gradients of input and weight, where both are wanted.
    fn both_gradients(&self, dy: &[f32]) -> [Option<FlexTensor>; 2] {
        [self.input_gradient(dy), self.weight_gradient(dy)]
    }
}

/// The backward pass of such a map, with or without a bias.
#[derive(Debug)]
struct AffineBackward<S>(PhantomData<S>);

impl<S: AffineState> AffineBackward<S> {
    fn new() -> Self {
        Self(PhantomData)
    }

    fn register(state: &S, dy: &[f32], [x, weight]: [Option<NodeId>; 2], grads: &mut Gradients) {
        let gradients = match (x, weight) {
            (Some(_), Some(_)) => state.both_gradients(dy),
            (Some(_), None) => [state.input_gradient(dy), None],
            (None, Some(_)) => [None, state.weight_gradient(dy)],
            (None, None) => [None, None],
        };
        for (node, gradient) in [x, weight].into_iter().zip(gradients) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node, gradient);
            }
        }
    }
}

impl<S: AffineState> Backward<Flex, 3> for AffineBackward<S> {
    type State = S;

    fn backward(self, ops: Ops<S, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let dy = elements(&dy);
        let [x, weight, bias] = ops.parents;
        let nodes = [x, weight].map(|node| node.map(|node| node.id));
        Self::register(&ops.state, &dy, nodes, grads);
        if let Some(node) = bias {
            grads.register::<Flex>(node.id, ops.state.bias_gradient(&dy));
        }
    }
}

impl<S: AffineState> Backward<Flex, 2> for AffineBackward<S> {
    type State = S;

    fn backward(self, ops: Ops<S, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        Self::register(&ops.state, &elements(&dy), nodes, grads);
    }
}

/// Runs an affine map and registers its backward pass. `state` gets input and weight, each if it
/// is to be kept.
fn affine<C: CheckpointStrategy, S: AffineState>(
    x: FloatTensor<Tracked<C>>,
    weight: FloatTensor<Tracked<C>>,
    bias: Option<FloatTensor<Tracked<C>>>,
    forward: impl FnOnce(&FlexTensor, &FlexTensor, Option<&FlexTensor>) -> FlexTensor,
    state: impl FnOnce(Option<FlexTensor>, Option<FlexTensor>) -> S,
) -> FloatTensor<Tracked<C>> {
    let (keep_x, keep_weight) =
        (weight.is_tracked() || (S::OF_INPUT && x.is_tracked()), x.is_tracked());
    let y = forward(x.primitive(), weight.primitive(), bias.as_ref().map(|bias| bias.primitive()));
    let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
    let state = || state(keep_x.then_some(x), keep_weight.then_some(weight));
    let backward = AffineBackward::<S>::new();
    match bias {
        Some(bias) => {
            let nodes = [x_node, weight_node, bias.node()];
            match Backward::<Flex, 3>::prepare::<C>(backward, nodes).compute_bound().stateful() {
                OpsKind::Tracked(prepared) => prepared.finish(state(), y),
                OpsKind::UnTracked(prepared) => prepared.finish(y),
            }
        }
        None => {
            let nodes = [x_node, weight_node];
            match Backward::<Flex, 2>::prepare::<C>(backward, nodes).compute_bound().stateful() {
                OpsKind::Tracked(prepared) => prepared.finish(state(), y),
                OpsKind::UnTracked(prepared) => prepared.finish(y),
            }
        }
    }
}

/// Of the linear map.
#[derive(Debug, Clone)]
struct LinearState {
    precision: Precision,
    shape: LinearShape,
    /// The extents of the input.
    input: Vec<usize>,
    x: Option<FlexTensor>,
    weight: Option<FlexTensor>,
}

impl AffineState for LinearState {
    fn input_gradient(&self, dy: &[f32]) -> Option<FlexTensor> {
        let weight = elements(self.weight.as_ref()?);
        let dx = linear::input_gradient(self.precision, self.shape, dy, &weight);
        Some(tensor(dx, self.input.clone()))
    }

    fn weight_gradient(&self, dy: &[f32]) -> Option<FlexTensor> {
        let x = elements(self.x.as_ref()?);
        let dw = linear::weight_gradient(self.precision, self.shape, dy, &x);
        Some(tensor(dw, [self.shape.outputs, self.shape.inputs]))
    }

    fn bias_gradient(&self, dy: &[f32]) -> FlexTensor {
        let outputs = self.shape.outputs;
        tensor(linear::bias_gradient(outputs, dy), [outputs])
    }
}

fn linear_map<C: CheckpointStrategy>(
    x: FloatTensor<Tracked<C>>,
    weight: FloatTensor<Tracked<C>>,
    bias: Option<FloatTensor<Tracked<C>>>,
    precision: Precision,
) -> FloatTensor<Tracked<C>> {
    let shape = linear_shape(x.primitive(), weight.primitive());
    let input = dims(x.primitive());
    let forward = |x: &FlexTensor, weight: &FlexTensor, bias: Option<&FlexTensor>| {
        linear_of(precision, x, weight, bias)
    };
    affine::<C, LinearState>(x, weight, bias, forward, |x, weight| LinearState {
        precision,
        shape,
        input,
        x,
        weight,
    })
}

/// Of the linear map behind a GELU, whose values are computed again from its input.
#[derive(Debug, Clone)]
struct GeluLinearState(LinearState);

impl GeluLinearState {
    fn gradients(&self, dy: &[f32], of_x: bool, of_weight: bool) -> [Option<FlexTensor>; 2] {
        let LinearState { precision, shape, input, x: Some(x), weight } = &self.0 else {
            return [None, None];
        };
        let weight = weight.as_ref().filter(|_| of_x).map(elements);
        let (dx, dw) = linear::gradients_of_gelu(
            *precision,
            *shape,
            dy,
            &elements(x),
            weight.as_deref(),
            of_weight,
        );
        let dx = dx.map(|dx| tensor(dx, input.clone()));
        [dx, dw.map(|dw| tensor(dw, [shape.outputs, shape.inputs]))]
    }
}

impl AffineState for GeluLinearState {
    const OF_INPUT: bool = true;

    fn input_gradient(&self, dy: &[f32]) -> Option<FlexTensor> {
        let [dx, _] = self.gradients(dy, true, false);
        dx
    }

    fn weight_gradient(&self, dy: &[f32]) -> Option<FlexTensor> {
        let [_, dw] = self.gradients(dy, false, true);
        dw
    }

    fn both_gradients(&self, dy: &[f32]) -> [Option<FlexTensor>; 2] {
        self.gradients(dy, true, true)
    }

    fn bias_gradient(&self, dy: &[f32]) -> FlexTensor {
        self.0.bias_gradient(dy)
    }
}

/// Of a convolution.
#[derive(Debug, Clone)]
struct ConvState {
    precision: Precision,
    shape: ConvShape,
    depthwise: bool,
    x: Option<FlexTensor>,
    weight: Option<FlexTensor>,
}

impl AffineState for ConvState {
    fn input_gradient(&self, dy: &[f32]) -> Option<FlexTensor> {
        let ConvShape { batch, inputs, height, width, .. } = self.shape;
        let weight = elements(self.weight.as_ref()?);
        let dx = if self.depthwise {
            depthwise::input_gradient(self.shape, dy, &weight)
        } else {
            conv::input_gradient(self.precision, self.shape, dy, &weight)
        };
        Some(tensor(dx, [batch, inputs, height, width]))
    }

    fn weight_gradient(&self, dy: &[f32]) -> Option<FlexTensor> {
        let ConvShape { inputs, outputs, kernel, .. } = self.shape;
        let x = elements(self.x.as_ref()?);
        let dw = if self.depthwise {
            depthwise::weight_gradient(self.shape, dy, &x)
        } else {
            conv::weight_gradient(self.precision, self.shape, dy, &x)
        };
        Some(tensor(dw, [outputs, if self.depthwise { 1 } else { inputs }, kernel, kernel]))
    }

    fn bias_gradient(&self, dy: &[f32]) -> FlexTensor {
        let ConvShape { outputs, height, width, .. } = self.shape;
        tensor(conv::bias_gradient(outputs, height * width, dy), [outputs])
    }
}

fn convolution<C: CheckpointStrategy>(
    x: FloatTensor<Tracked<C>>,
    weight: FloatTensor<Tracked<C>>,
    bias: Option<FloatTensor<Tracked<C>>>,
    depthwise: bool,
    precision: Precision,
) -> FloatTensor<Tracked<C>> {
    let shape = conv_shape(x.primitive(), weight.primitive(), depthwise);
    let forward = |x: &FlexTensor, weight: &FlexTensor, bias: Option<&FlexTensor>| {
        conv2d_of(precision, x, weight, bias, depthwise)
    };
    affine::<C, ConvState>(x, weight, bias, forward, |x, weight| ConvState {
        precision,
        shape,
        depthwise,
        x,
        weight,
    })
}

/// Of scale and shift; the scale is the weight.
#[derive(Debug, Clone)]
struct ScaleShiftState {
    width: usize,
    input: Vec<usize>,
    x: Option<FlexTensor>,
    scale: Option<FlexTensor>,
}

impl AffineState for ScaleShiftState {
    fn input_gradient(&self, dy: &[f32]) -> Option<FlexTensor> {
        let dx = scale_shift::input_gradient(dy, &elements(self.scale.as_ref()?));
        Some(tensor(dx, self.input.clone()))
    }

    fn weight_gradient(&self, dy: &[f32]) -> Option<FlexTensor> {
        let d_scale = scale_shift::scale_gradient(self.width, dy, &elements(self.x.as_ref()?));
        Some(tensor(d_scale, [self.width]))
    }

    fn bias_gradient(&self, dy: &[f32]) -> FlexTensor {
        tensor(linear::bias_gradient(self.width, dy), [self.width])
    }
}

#[derive(Debug)]
struct CrossEntropyBackward;

/// The state for the backward pass of cross-entropy.
#[derive(Debug, Clone)]
struct CrossEntropyState {
    shape: CrossEntropyShape,
    smoothing: Smoothing,
    logits: FlexTensor,
    labels: Vec<i64>,
    log_sums: Vec<f32>,
}

impl Backward<Flex, 1> for CrossEntropyBackward {
    type State = CrossEntropyState;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let d_losses = grads.consume::<Flex>(&ops.node);
        let CrossEntropyState { shape, smoothing, logits, labels, log_sums } = &ops.state;
        if let [Some(node)] = ops.parents {
            let of_logits = cross_entropy::gradient(
                *shape,
                (&elements(logits), labels),
                log_sums,
                &elements(&d_losses),
                *smoothing,
            );
            grads.register::<Flex>(node.id, tensor(of_logits, dims(logits)));
        }
    }
}

#[derive(Debug)]
struct ResizeBackward;

impl Backward<Flex, 1> for ResizeBackward {
    /// The resize, and the extents of the input.
    type State = (Resize, Vec<usize>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let (how, input) = &ops.state;
        if let [Some(node)] = ops.parents {
            let dx = resize::gradient(how, &elements(&dy));
            grads.register::<Flex>(node.id, tensor(dx, input.clone()));
        }
    }
}

/// Its state is the way back.
#[derive(Debug)]
struct SwapAxesBackward;

impl Backward<Flex, 1> for SwapAxesBackward {
    type State = SwapShape;

    fn backward(self, ops: Ops<SwapShape, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        if let [Some(node)] = ops.parents {
            grads.register::<Flex>(node.id, swap_axes_of(ops.state, &dy));
        }
    }
}

#[derive(Debug)]
struct LayerNormBackward;

/// The state for the backward pass of layer normalisation.
#[derive(Debug, Clone)]
struct LayerNormState {
    x: FlexTensor,
    weight: FlexTensor,
    statistics: Statistics,
}

impl LayerNormState {
    /// The gradients of input, weight and bias, where they are needed.
    fn register(&self, dy: &[f32], nodes: [Option<NodeId>; 3], grads: &mut Gradients) {
        let Self { x, weight, statistics } = self;
        let of = layer_norm::gradients(dy, &elements(x), &elements(weight), statistics);
        let width = of.weight.len();
        let all = [tensor(of.x, dims(x)), tensor(of.weight, [width]), tensor(of.bias, [width])];
        for (node, gradient) in nodes.into_iter().zip(all) {
            if let Some(node) = node {
                grads.register::<Flex>(node, gradient);
            }
        }
    }
}

impl Backward<Flex, 3> for LayerNormBackward {
    type State = LayerNormState;

    fn backward(self, ops: Ops<LayerNormState, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        ops.state.register(&elements(&dy), ops.parents.map(|node| node.map(|node| node.id)), grads);
    }
}

#[derive(Debug)]
struct NormLinearBackward;

/// The state for the backward pass of the linear map behind a norm. The norm's output is
/// recomputed.
#[derive(Debug, Clone)]
struct NormLinearState {
    precision: Precision,
    norm: LayerNormState,
    shift: FlexTensor,
    shape: LinearShape,
    weight: FlexTensor,
}

impl Backward<Flex, 5> for NormLinearBackward {
    type State = NormLinearState;

    fn backward(self, ops: Ops<NormLinearState, 5>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let dy = elements(&dy);
        let NormLinearState { precision, norm, shift, shape, weight } = &ops.state;
        let [of_x, of_scale, of_shift, of_weight, of_bias] = ops.parents;
        if let Some(node) = of_weight {
            let (x, scale) = (elements(&norm.x), elements(&norm.weight));
            let normed = layer_norm::forward_again(&x, &scale, &elements(shift), &norm.statistics);
            let dw = linear::weight_gradient(*precision, *shape, &dy, &normed);
            grads.register::<Flex>(node.id, tensor(dw, [shape.outputs, shape.inputs]));
        }
        if let Some(node) = of_bias {
            let db = linear::bias_gradient(shape.outputs, &dy);
            grads.register::<Flex>(node.id, tensor(db, [shape.outputs]));
        }
        let before = [of_x, of_scale, of_shift];
        if before.iter().any(Option::is_some) {
            let d_normed = linear::input_gradient(*precision, *shape, &dy, &elements(weight));
            norm.register(&d_normed, before.map(|node| node.map(|node| node.id)), grads);
        }
    }
}

/// Its state is the derivative.
#[derive(Debug)]
struct GeluBackward;

impl Backward<Flex, 1> for GeluBackward {
    type State = FlexTensor;

    fn backward(self, ops: Ops<FlexTensor, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        if let [Some(node)] = ops.parents {
            let dx = gelu::input_gradient(&elements(&dy), &elements(&ops.state));
            grads.register::<Flex>(node.id, tensor(dx, dims(&dy)));
        }
    }
}

#[derive(Debug)]
struct AttentionBackward;

/// The state for the backward pass of attention: its inputs and results.
#[derive(Debug, Clone)]
struct AttentionState<const N: usize> {
    precision: Precision,
    shape: AttentionShape,
    inputs: [FlexTensor; N],
    out: FlexTensor,
    log_sums: Vec<f32>,
}

impl<const N: usize> AttentionState<N> {
    fn gradients(&self, inputs: Inputs<'_>, d_out: &FlexTensor) -> attention::Gradients {
        let results = (&*elements(&self.out), self.log_sums.as_slice());
        attention::gradients(self.precision, self.shape, inputs, results, &elements(d_out))
    }
}

impl Backward<Flex, 1> for AttentionBackward {
    type State = AttentionState<1>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let d_out = grads.consume::<Flex>(&ops.node);
        let [qkv] = &ops.state.inputs;
        let of = ops.state.gradients(Inputs::Fused(&elements(qkv)), &d_out);
        if let ([Some(node)], attention::Gradients::Fused(of_qkv)) = (ops.parents, of) {
            grads.register::<Flex>(node.id, tensor(of_qkv, dims(qkv)));
        }
    }
}

impl Backward<Flex, 2> for AttentionBackward {
    type State = AttentionState<2>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let d_out = grads.consume::<Flex>(&ops.node);
        let [q, kv] = &ops.state.inputs;
        let of = ops.state.gradients(Inputs::Context(&elements(q), &elements(kv)), &d_out);
        let attention::Gradients::Context(of_q, of_kv) = of else {
            return;
        };
        let all = [tensor(of_q, dims(q)), tensor(of_kv, dims(kv))];
        for (node, gradient) in ops.parents.into_iter().zip(all) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

impl<C: CheckpointStrategy> KernelOps for Tracked<C> {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        linear_map::<C>(x, weight, Some(bias), precision)
    }

    fn linear_without_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        linear_map::<C>(x, weight, None, precision)
    }

    fn gelu_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let shape = linear_shape(x.primitive(), weight.primitive());
        let input = dims(x.primitive());
        let forward = |x: &FlexTensor, weight: &FlexTensor, bias: Option<&FlexTensor>| {
            gelu_linear_of(precision, x, weight, bias)
        };
        affine::<C, GeluLinearState>(x, weight, Some(bias), forward, |x, weight| {
            GeluLinearState(LinearState { precision, shape, input, x, weight })
        })
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
        let nodes = [x.node(), scale.node(), shift.node(), weight.node(), bias.node()];
        let (x, scale, shift) =
            (x.into_primitive(), scale.into_primitive(), shift.into_primitive());
        let (weight, bias) = (weight.into_primitive(), bias.into_primitive());
        let shape = linear_shape(&x, &weight);
        let (normed, statistics) = layer_norm_of(&x, &scale, &shift, eps);
        let y = linear_of(precision, &normed, &weight, Some(&bias));
        match NormLinearBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let norm = LayerNormState { x, weight: scale, statistics };
                prepared.finish(NormLinearState { precision, norm, shift, shape, weight }, y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn scale_shift(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let input = dims(x.primitive());
        let width = input.last().copied().unwrap_or(0);
        affine::<C, ScaleShiftState>(x, scale, Some(shift), scale_shift_of, |x, scale| {
            ScaleShiftState { width, input, x, scale }
        })
    }

    fn cross_entropy(
        logits: FloatTensor<Self>,
        labels: FloatTensor<Self>,
        smoothing: Smoothing,
    ) -> FloatTensor<Self> {
        let node = logits.node();
        let (logits, labels) = (logits.into_primitive(), whole_numbers(labels.primitive()));
        let shape = cross_entropy_shape(&logits);
        let (losses, log_sums) =
            cross_entropy::forward(shape, &elements(&logits), &labels, smoothing);
        let losses = tensor(losses, [shape.batch, shape.pixels]);
        match CrossEntropyBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared
                .finish(CrossEntropyState { shape, smoothing, logits, labels, log_sums }, losses),
            OpsKind::UnTracked(prepared) => prepared.finish(losses),
        }
    }

    fn resize(x: FloatTensor<Self>, resize: Resize) -> FloatTensor<Self> {
        let node = x.node();
        let x = x.into_primitive();
        let y = resize_of(&x, &resize);
        match ResizeBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((resize, dims(&x)), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn swap_axes(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let node = x.node();
        let x = x.into_primitive();
        let shape = swap_shape(&x);
        let y = swap_axes_of(shape, &x);
        match SwapAxesBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(shape.reversed(), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let (y, statistics) = layer_norm_of(&x, &weight, bias.primitive(), eps);
        match LayerNormBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                prepared.finish(LayerNormState { x, weight, statistics }, y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

    fn gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let node = x.node();
        let x = x.into_primitive();
        match GeluBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (y, slope) = gelu::forward_with_slope(&elements(&x));
                prepared.finish(tensor(slope, dims(&x)), tensor(y, dims(&x)))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(Flex::gelu(x)),
        }
    }

    fn self_attention(
        qkv: FloatTensor<Self>,
        heads: usize,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let node = qkv.node();
        let qkv = qkv.into_primitive();
        let shape = self_attention_shape(&qkv, heads);
        let (out, log_sums) = attention::forward(precision, shape, Inputs::Fused(&elements(&qkv)));
        let out = tensor(out, [shape.batch, shape.queries, shape.heads * shape.dim]);
        match Backward::<Flex, 1>::prepare::<C>(AttentionBackward, [node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                let (inputs, result) = ([qkv], out.clone());
                let state = AttentionState { precision, shape, inputs, out: result, log_sums };
                prepared.finish(state, out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        }
    }

    fn cross_attention(
        q: FloatTensor<Self>,
        kv: FloatTensor<Self>,
        heads: usize,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let nodes = [q.node(), kv.node()];
        let (q, kv) = (q.into_primitive(), kv.into_primitive());
        let shape = cross_attention_shape(&q, &kv, heads);
        let inputs = Inputs::Context(&elements(&q), &elements(&kv));
        let (out, log_sums) = attention::forward(precision, shape, inputs);
        let out = tensor(out, dims(&q));
        match Backward::<Flex, 2>::prepare::<C>(AttentionBackward, nodes).compute_bound().stateful()
        {
            OpsKind::Tracked(prepared) => {
                let (inputs, result) = ([q, kv], out.clone());
                let state = AttentionState { precision, shape, inputs, out: result, log_sums };
                prepared.finish(state, out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        }
    }

    fn conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        depthwise: bool,
        precision: Precision,
    ) -> FloatTensor<Self> {
        convolution::<C>(x, weight, Some(bias), depthwise, precision)
    }

    fn conv2d_without_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        depthwise: bool,
        precision: Precision,
    ) -> FloatTensor<Self> {
        convolution::<C>(x, weight, None, depthwise, precision)
    }
}
