//! Every fused operation against its plain twin: values and all gradients, over random shapes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use burn::tensor::{Device, Int, Tensor, TensorData};
use multimae_kernels::cpu::adamw::AdamWStep;
use multimae_kernels::cpu::adamw::bf16::Bf16Moments;
use multimae_kernels::cpu::adamw::blockwise::BlockwiseMoments;
use multimae_kernels::cpu::resize::{Resize, Tap};
use multimae_kernels::ops::{self, plain};
use proptest::prelude::*;

/// Numbers in [-2, 2) that hang on the seed alone.
fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 22) as f32 - 2.0
    };
    (0..count).map(|_| next()).collect()
}

fn tensor<const D: usize>(seed: u64, dims: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values(seed, dims.iter().product()), dims), device)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

#[track_caller]
fn assert_close(what: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1.0f32, |scale, v| scale.max(v.abs()));
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        let close = (got - expected).abs() <= 2e-5 * scale;
        assert!(close, "{what}, element {index}: {got} instead of {expected}");
    }
}

/// Values and gradients of an operation on leaves, from the sum of its outputs times fixed weights.
macro_rules! run {
    ($op:expr, $($leaf:ident),+) => {{
        let device = Device::default().autodiff();
        $(let $leaf = Tensor::from_data($leaf.clone().into_data(), &device).require_grad();)+
        let out = $op($($leaf.clone()),+);
        let dims = out.dims();
        let total = (out.clone() * tensor(99, dims, &device)).sum();
        let grads = total.backward();
        let mut all = vec![numbers(out)];
        $(all.push(numbers($leaf.grad(&grads).unwrap()));)+
        all
    }};
}

#[track_caller]
fn assert_all_close(what: &str, got: Vec<Vec<f32>>, expected: Vec<Vec<f32>>) {
    for (index, (got, expected)) in got.iter().zip(&expected).enumerate() {
        assert_close(&format!("{what}, result {index}"), got, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn linear(batch in 1usize..4, rows in 1usize..40, inputs in 1usize..70, outputs in 1usize..70) {
        let device = Device::default();
        let x = tensor(1, [batch, rows, inputs], &device);
        let w = tensor(2, [outputs, inputs], &device);
        let b = tensor(3, [outputs], &device);
        let fused = |x: Tensor<3>, w, b| ops::linear(x, w, Some(b));
        let slow = |x: Tensor<3>, w, b| plain::linear(x, w, Some(b));
        assert_all_close("linear", run!(fused, x, w, b), run!(slow, x, w, b));
        let fused = |x: Tensor<3>, w| ops::linear(x, w, None);
        let slow = |x: Tensor<3>, w| plain::linear(x, w, None);
        assert_all_close("without bias", run!(fused, x, w), run!(slow, x, w));
    }

    #[test]
    fn gelu_linear(batch in 1usize..4, rows in 1usize..40, inputs in 1usize..70,
                   outputs in 1usize..70) {
        let device = Device::default();
        let x = tensor(1, [batch, rows, inputs], &device);
        let w = tensor(2, [outputs, inputs], &device);
        let b = tensor(3, [outputs], &device);
        let fused = |x: Tensor<3>, w, b| ops::gelu_linear(x, w, b);
        let slow = |x: Tensor<3>, w, b| plain::gelu_linear(x, w, b);
        assert_all_close("GELU and linear", run!(fused, x, w, b), run!(slow, x, w, b));
    }

    #[test]
    fn norm_linear(batch in 1usize..4, rows in 1usize..40, inputs in 2usize..70,
                   outputs in 1usize..70) {
        let device = Device::default();
        let x = tensor(1, [batch, rows, inputs], &device);
        let (scale, shift) = (tensor(2, [inputs], &device), tensor(3, [inputs], &device));
        let w = tensor(4, [outputs, inputs], &device);
        let b = tensor(5, [outputs], &device);
        let fused = |x: Tensor<3>, scale, shift, w, b| {
            ops::norm_linear(x, (scale, shift, 1e-2), w, b)
        };
        let slow = |x: Tensor<3>, scale, shift, w, b| {
            plain::norm_linear(x, (scale, shift, 1e-2), w, b)
        };
        let got = run!(fused, x, scale, shift, w, b);
        assert_all_close("norm and linear", got, run!(slow, x, scale, shift, w, b));
    }

    /// Enough rows that they are taken some at a time.
    #[test]
    fn norm_mlp(rows in 1usize..2000, inputs in 2usize..20, hidden in 1usize..40,
                outputs in 1usize..20) {
        let device = Device::default();
        let x: Tensor<2> = tensor(1, [rows, inputs], &device);
        let norm = || (tensor(2, [inputs], &device), tensor(3, [inputs], &device), 1e-2);
        let first = || (tensor(4, [hidden, inputs], &device), tensor(5, [hidden], &device));
        let second = || (tensor(6, [outputs, hidden], &device), tensor(7, [outputs], &device));
        let got = ops::norm_mlp(x.clone(), norm(), first(), second());
        let between = plain::norm_linear(x, norm(), first().0, first().1);
        let expected = plain::gelu_linear(between, second().0, second().1);
        assert_close("norm and MLP", &numbers(got), &numbers(expected));
    }

    #[test]
    fn swap_axes(outer in 1usize..4, first in 1usize..70, second in 1usize..70,
                 tail in 1usize..5) {
        let x = tensor(1, [outer, first, second, tail], &Device::default());
        let (fused, slow) = (ops::swap_axes, plain::swap_axes);
        assert_all_close("swapped axes", run!(fused, x), run!(slow, x));
    }

    #[test]
    fn layer_norm(batch in 1usize..4, rows in 1usize..60, width in 2usize..200) {
        let device = Device::default();
        let x = tensor(1, [batch, rows, width], &device);
        let w = tensor(2, [width], &device);
        let b = tensor(3, [width], &device);
        // A wide epsilon: with two columns that are nearly equal both sides are ill conditioned.
        let fused = |x: Tensor<3>, w, b| ops::layer_norm(x, w, b, 1e-2);
        let slow = |x: Tensor<3>, w, b| plain::layer_norm(x, w, b, 1e-2);
        assert_all_close("norm", run!(fused, x, w, b), run!(slow, x, w, b));
    }

    #[test]
    fn scale_shift(batch in 1usize..4, rows in 1usize..60, width in 1usize..200) {
        let device = Device::default();
        let x = tensor(1, [batch, rows, width], &device);
        let scale = tensor(2, [width], &device);
        let shift = tensor(3, [width], &device);
        let fused = |x: Tensor<3>, scale, shift| ops::scale_shift(x, scale, shift);
        let slow = |x: Tensor<3>, scale, shift| plain::scale_shift(x, scale, shift);
        assert_all_close("scale and shift", run!(fused, x, scale, shift), run!(slow, x, scale, shift));
    }

    #[test]
    fn cross_entropy(batch in 1usize..4, classes in 1usize..50, pixels in 1usize..300,
                     smoothing in 0.0f64..0.5, ignored in 0usize..4) {
        let device = Device::default();
        let logits = tensor(1, [batch, classes, pixels], &device).mul_scalar(8.0);
        // Some pixels are ignored, by a label beyond the classes or below them.
        let void = if pixels.is_multiple_of(2) { 255 } else { -1 };
        let label = |at: usize| if at % 5 < ignored { void } else { (at * 7 % classes) as i64 };
        let labels: Vec<i64> = (0..batch * pixels).map(label).collect();
        let labels = TensorData::new(labels, [batch, pixels]);
        let labels = || Tensor::<2, Int>::from_data(labels.clone(), &device);
        let fused = |logits| ops::cross_entropy(logits, labels(), smoothing, Some(void));
        let slow = |logits| plain::cross_entropy(logits, labels(), smoothing, Some(void));
        assert_all_close("cross-entropy", run!(fused, logits), run!(slow, logits));
    }

    #[test]
    fn resize(maps in 1usize..5, height in 1usize..20, width in 1usize..20,
              rows in 1usize..45, columns in 1usize..45) {
        let x = tensor(1, [1, maps, height, width], &Device::default());
        // Any taps do: neighbours, the same twice, backwards.
        let taps = |count: usize, side: usize| -> Vec<Tap> {
            let tap = |at: usize| Tap {
                left: at * side / count,
                right: (at * 7 + 1) % side,
                weight: (at % 5) as f32 / 4.0,
            };
            (0..count).map(tap).collect()
        };
        let how = Resize {
            from: [height, width],
            rows: taps(rows, height),
            columns: taps(columns, width),
        };
        let fused = |x| ops::resize(x, &how);
        let slow = |x| plain::resize(x, &how);
        assert_all_close("resize", run!(fused, x), run!(slow, x));
    }

    #[test]
    fn gelu(rows in 1usize..400, width in 1usize..70) {
        let device = Device::default();
        let x = tensor(4, [rows, width], &device).mul_scalar(3.0);
        let fused = |x: Tensor<2>| ops::gelu(x);
        let slow = |x: Tensor<2>| plain::gelu(x);
        assert_all_close("gelu", run!(fused, x), run!(slow, x));
    }

    #[test]
    fn self_attention(batch in 1usize..4, tokens in 1usize..150, heads in 1usize..5,
                      dim in 1usize..33) {
        let qkv = tensor(1, [batch, tokens, 3 * heads * dim], &Device::default());
        let fused = |qkv| ops::self_attention(qkv, heads);
        let slow = |qkv| plain::self_attention(qkv, heads);
        assert_all_close("self-attention", run!(fused, qkv), run!(slow, qkv));
    }

    #[test]
    fn cross_attention(batch in 1usize..4, queries in 1usize..150, keys in 1usize..90,
                       heads in 1usize..5, dim in 1usize..33) {
        let device = Device::default();
        let q = tensor(1, [batch, queries, heads * dim], &device);
        let kv = tensor(2, [batch, keys, 2 * heads * dim], &device);
        let fused = |q, kv| ops::cross_attention(q, kv, heads);
        let slow = |q, kv| plain::cross_attention(q, kv, heads);
        assert_all_close("cross-attention", run!(fused, q, kv), run!(slow, q, kv));
    }

    #[test]
    fn conv2d(batch in 1usize..4, inputs in 1usize..9, outputs in 1usize..9, half in 0usize..4,
              height in 1usize..12, width in 1usize..20) {
        let device = Device::default();
        let kernel = 2 * half + 1;
        let x = tensor(1, [batch, inputs, height, width], &device);
        let w = tensor(2, [outputs, inputs, kernel, kernel], &device);
        let b = tensor(3, [outputs], &device);
        let fused = |x, w, b| ops::conv2d(x, w, Some(b), false);
        let slow = |x, w, b| plain::conv2d(x, w, Some(b), false);
        assert_all_close("dense", run!(fused, x, w, b), run!(slow, x, w, b));
        let w = tensor(2, [inputs, 1, kernel, kernel], &device);
        let fused = |x, w| ops::conv2d(x, w, None, true);
        let slow = |x, w| plain::conv2d(x, w, None, true);
        assert_all_close("depthwise", run!(fused, x, w), run!(slow, x, w));
    }

    #[test]
    fn adamw(count in 1usize..40_000, step in 1u64..1000, lr in 1e-5f64..1e-1) {
        let device = Device::default();
        let step = AdamWStep { beta_1: 0.9, beta_2: 0.95, eps: 1e-8, lr, weight_decay: 0.05, step };
        let value = tensor(1, [count], &device);
        let gradient = tensor(2, [count], &device);
        let mean = tensor(3, [count], &device);
        let square = tensor(4, [count], &device).square();
        let run = |op: fn(_, _, _, _, _) -> (Tensor<1>, Tensor<1>, Tensor<1>)| {
            let (value, mean, square) =
                op(step, value.clone(), gradient.clone(), mean.clone(), square.clone());
            vec![numbers(value), numbers(mean), numbers(square)]
        };
        // Not nearly but exactly: every operation is rounded in both.
        prop_assert_eq!(run(ops::adamw), run(plain::adamw));
    }

    #[test]
    fn adamw_of_moments_in_fewer_bits(count in 1usize..40_000, first in 1u64..1000, key: u64) {
        let device = Device::default();
        let step =
            |step| AdamWStep { beta_1: 0.9, beta_2: 0.95, eps: 1e-8, lr: 1e-3, weight_decay: 0.05, step };
        let gradient = |seed| tensor(seed, [count], &device);
        let of_bf16 = |op: fn(_, _, _, _, &mut Bf16Moments) -> Tensor<1>| {
            let (mut value, mut moments) = (tensor(1, [count], &device), Bf16Moments::zeros(count));
            for index in first..first + 3 {
                value = op(step(index), key ^ index, value, gradient(index), &mut moments);
            }
            (numbers(value), moments)
        };
        // Exactly, too: the rounding knows nothing of parts, threads and vectors.
        prop_assert_eq!(of_bf16(ops::adamw_bf16), of_bf16(plain::adamw_bf16));
        let of_8bit = |op: fn(_, _, _, _, &mut BlockwiseMoments) -> Tensor<1>| {
            let (mut value, mut moments) =
                (tensor(1, [count], &device), BlockwiseMoments::zeros(count));
            for index in first..first + 3 {
                value = op(step(index), key ^ index, value, gradient(index), &mut moments);
            }
            (numbers(value), moments)
        };
        prop_assert_eq!(of_8bit(ops::adamw_8bit), of_8bit(plain::adamw_8bit));
    }
}

#[test]
fn views_with_gaps_are_read_as_they_are_meant() {
    let device = Device::default();
    let x = tensor(1, [3, 8, 5], &device).swap_dims(1, 2).narrow(2, 2, 4);
    let w = tensor(2, [4, 6], &device).transpose();
    let got = numbers(ops::linear(x.clone(), w.clone(), None));
    assert_close("a view", &got, &numbers(plain::linear(x.clone(), w, None)));
    let got = numbers(ops::gelu(x.clone()));
    assert_close("a view", &got, &numbers(plain::gelu(x)));
}

/// Of a batch of no samples: an empty output, empty gradients of what is per sample and gradients of
/// zero of what is shared.
#[track_caller]
fn assert_nothing(what: &str, results: &[Vec<f32>], lengths: &[usize]) {
    assert_eq!(results.iter().map(Vec::len).collect::<Vec<_>>(), lengths, "{what}");
    assert!(results.iter().flatten().all(|value| *value == 0.0), "{what}: {results:?}");
}

#[test]
fn empty_batches_give_empty_outputs_and_gradients_of_zero() {
    let device = Device::default();
    let none = |width| Tensor::<3>::zeros([0, 4, width], &device);
    let maps = |side| Tensor::<4>::zeros([0, 3, side, side], &device);
    let (w, b) = (tensor(1, [5, 3], &device), tensor(2, [5], &device));
    let ones = || Tensor::<1>::ones([3], &device);
    let (x, factor, summand) = (none(3), ones(), ones());
    let linear = |x, w, b| ops::linear::<3>(x, w, Some(b));
    assert_nothing("linear", &run!(linear, x, w, b), &[0, 0, 15, 5]);
    let gelu_linear = |x, w, b| ops::gelu_linear::<3>(x, w, b);
    assert_nothing("GELU and linear", &run!(gelu_linear, x, w, b), &[0, 0, 15, 5]);
    let norm_linear = |x, scale, shift, w, b| ops::norm_linear::<3>(x, (scale, shift, 1e-6), w, b);
    let got = run!(norm_linear, x, factor, summand, w, b);
    assert_nothing("norm and linear", &got, &[0, 0, 3, 3, 15, 5]);
    let norm = |x: Tensor<3>, w, b| ops::layer_norm(x, w, b, 1e-6);
    assert_nothing("norm", &run!(norm, x, factor, summand), &[0, 0, 3, 3]);
    let scale = |x: Tensor<3>, scale, shift| ops::scale_shift(x, scale, shift);
    assert_nothing("scale and shift", &run!(scale, x, factor, summand), &[0, 0, 3, 3]);
    assert_nothing("gelu", &run!(|x: Tensor<3>| ops::gelu(x), x), &[0, 0]);
    let (qkv, q, kv) = (none(12), none(4), none(8));
    assert_nothing("self", &run!(|qkv| ops::self_attention(qkv, 2), qkv), &[0, 0]);
    let cross = |q, kv| ops::cross_attention(q, kv, 2);
    assert_nothing("cross", &run!(cross, q, kv), &[0, 0, 0]);
    // No queries to keys that are there.
    let (q, kv) = (Tensor::<3>::zeros([2, 0, 4], &device), tensor(1, [2, 3, 8], &device));
    assert_nothing("no queries", &run!(cross, q, kv), &[0, 0, 48]);
    for side in [1, 2, 7] {
        // 3 x 3 is by Winograd, the others by GEMMs.
        for kernel in [1, 3, 7] {
            let (x, w) = (maps(side), tensor(1, [5, 3, kernel, kernel], &device));
            let conv = |x, w, b| ops::conv2d(x, w, Some(b), false);
            let count = 15 * kernel * kernel;
            assert_nothing("dense", &run!(conv, x, w, b), &[0, 0, count, 5]);
            let w = tensor(2, [3, 1, kernel, kernel], &device);
            let conv = |x, w| ops::conv2d(x, w, None, true);
            assert_nothing("depthwise", &run!(conv, x, w), &[0, 0, 3 * kernel * kernel]);
        }
    }
    let x = maps(2);
    assert_nothing("swapped axes", &run!(ops::swap_axes, x), &[0, 0]);
    let layer =
        |outputs, inputs| (tensor(1, [outputs, inputs], &device), tensor(2, [outputs], &device));
    let nothing = ops::norm_mlp(none(3), (ones(), ones(), 1e-6), layer(5, 3), layer(2, 5));
    assert_eq!(nothing.dims(), [0, 4, 2]);
    let tap = Tap { left: 0, right: 1, weight: 0.5 };
    let how = Resize { from: [2, 2], rows: vec![tap; 4], columns: vec![tap; 4] };
    let x = maps(2);
    assert_nothing("resize", &run!(|x| ops::resize(x, &how), x), &[0, 0]);
    let empty = Tensor::<1>::zeros([0], &device);
    let step =
        AdamWStep { beta_1: 0.9, beta_2: 0.95, eps: 1e-8, lr: 0.1, weight_decay: 0.0, step: 1 };
    let (value, mean, square) =
        ops::adamw(step, empty.clone(), empty.clone(), empty.clone(), empty);
    assert_nothing("adamw", &[value, mean, square].map(numbers), &[0, 0, 0]);
    let empty = || Tensor::<1>::zeros([0], &device);
    let value = ops::adamw_bf16(step, 1, empty(), empty(), &mut Bf16Moments::zeros(0));
    assert_nothing("adamw in bf16", &[numbers(value)], &[0]);
    let value = ops::adamw_8bit(step, 1, empty(), empty(), &mut BlockwiseMoments::zeros(0));
    assert_nothing("adamw in 8 bits", &[numbers(value)], &[0]);
}

#[test]
fn cross_entropy_of_nothing_is_nothing() {
    let device = Device::default();
    for (batch, pixels) in [(0, 4), (2, 0), (2, 3)] {
        let logits = tensor(1, [batch, 5, pixels], &device);
        let ignored = TensorData::new(vec![255_i64; batch * pixels], [batch, pixels]);
        let labels = || Tensor::<2, Int>::from_data(ignored.clone(), &device);
        let got = run!(|logits| ops::cross_entropy(logits, labels(), 0.1, Some(255)), logits);
        assert_nothing("cross-entropy", &got, &[batch * pixels, batch * 5 * pixels]);
    }
}

#[test]
fn shared_moments_are_not_changed_behind_their_owner() {
    let device = Device::default();
    let step =
        AdamWStep { beta_1: 0.9, beta_2: 0.95, eps: 1e-8, lr: 0.1, weight_decay: 0.0, step: 1 };
    let value = tensor(1, [10], &device);
    let before = numbers(value.clone());
    let kept = value.clone();
    let zeros = Tensor::<1>::zeros([10], &device);
    let (new, _, _) = ops::adamw(step, value, tensor(2, [10], &device), zeros.clone(), zeros);
    assert_eq!(numbers(kept.clone()), before);
    assert_ne!(numbers(new), before);
    let gradient = tensor(2, [10], &device);
    let new = ops::adamw_bf16(step, 1, kept.clone(), gradient, &mut Bf16Moments::zeros(10));
    assert_eq!(numbers(kept), before);
    assert_ne!(numbers(new), before);
}

#[test]
fn a_frozen_weight_has_no_gradient_and_the_input_still_has_one() {
    let device = Device::default().autodiff();
    let x = tensor(1, [2, 3, 4], &device).require_grad();
    let w = tensor(2, [5, 4], &device);
    let b = tensor(3, [5], &device);
    let grads = ops::linear(x.clone(), w.clone(), Some(b)).sum().backward();
    assert!(x.grad(&grads).is_some());
    assert!(w.grad(&grads).is_none());
    // Frozen are the norm and the map; below them a gradient is still asked for.
    let (b, ones) = (tensor(3, [5], &device), Tensor::<1>::ones([4], &device));
    let y = ops::norm_linear(x.clone(), (ones.clone(), ones, 1e-6), w.clone(), b.clone());
    let grads =
        ops::gelu_linear(y, tensor(5, [2, 5], &device), tensor(6, [2], &device)).sum().backward();
    assert!(x.grad(&grads).is_some());
    assert!(w.grad(&grads).is_none() && b.grad(&grads).is_none());
}
